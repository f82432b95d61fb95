"""Cases of monitors, compared with the callbacks of Keras and the schedulers of PyTorch and Optax.

The monitors of trainlib run over all histories at once, because their operations are elementwise;
Keras and PyTorch run over one history after another.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.monitors import Monitor, early_stop, reduce_on_plateau
from trainlib.verify.case import FunctionCase
from trainlib.verify.problem import Arrays

HISTORIES, EPOCHS = 24, 60
RATE = 0.1


def histories(dtype: str) -> Arrays:
    """Return results of shape [histories, epochs].

    They are random walks with and without a trend, with all their digits or with few, so that
    values tie; falls by about min_delta; NaN and inf in between.
    """
    rng = np.random.default_rng(0)
    trend = rng.choice([0.0, -0.002, -0.02], (HISTORIES, 1))
    noise = rng.choice([1e-5, 1e-3, 0.02], (HISTORIES, 1))
    walk = 2 + np.cumsum(trend + noise * rng.normal(size=(HISTORIES, EPOCHS)), axis=1)
    kind = np.arange(HISTORIES)[:, None]
    walk = np.where(kind % 4 == 1, np.round(walk, 2), walk)
    walk = np.where(kind % 4 == 2, np.round(walk, 3), walk)
    falls = rng.choice([0.0, 0.99999e-4, 1e-4, 1.00001e-4], (HISTORIES, EPOCHS))
    walk = np.where(kind % 4 == 3, 0.5 - np.cumsum(falls, axis=1), walk)
    broken = (rng.uniform(size=walk.shape) < 0.1) & (kind % 3 == 0)
    broken[:, 0] = False
    odd = np.where(rng.uniform(size=walk.shape) < 0.5, np.nan, np.inf)
    return {"metrics": np.where(broken, odd, walk).astype(dtype)}


def histories_from_nan(dtype: str) -> Arrays:
    """Return the same histories; every other one begins with NaN, inf or -inf."""
    metrics = histories(dtype)["metrics"]
    metrics[::2, 0] = np.resize([np.nan, np.inf, -np.inf], HISTORIES // 2)
    return {"metrics": metrics}


def states(monitor: Monitor, start: Any, metrics: Any) -> Any:
    """Return the states after each epoch: leaves of shape [epochs, histories].

    The parameters of an epoch are its number.
    """
    count, epochs = metrics.shape
    start = tf.nest.map_structure(lambda x: tf.broadcast_to(x, [count]), start)
    numbers = tf.repeat(tf.range(1.0, epochs + 1)[:, None], count, axis=1)

    def update(state: Any, now: Any) -> Any:
        v, number = now
        if hasattr(state, "best_params"):
            return monitor.update(v, state, [number])
        return monitor.update(v, state)

    return tf.scan(update, (tf.transpose(metrics), numbers), start)


def plateau(start: float, **options: Any) -> Callable[..., dict[str, Any]]:
    """Return the rates and states of `reduce_on_plateau` after each epoch."""

    def ours(dtype: str, metrics: Any) -> dict[str, Any]:
        monitor = reduce_on_plateau("metric", **options)
        path = states(monitor, monitor.init(start), metrics)
        seen: dict[str, Any] = path._asdict()
        return seen | {"learning_rate": tf.cast(path.learning_rate, tf.float64)}

    return ours


def stopping(**options: Any) -> Callable[..., dict[str, Any]]:
    """Return the states of `early_stop` after the last epoch, which are those of the stop."""

    def ours(dtype: str, metrics: Any) -> dict[str, Any]:
        monitor = early_stop("metric", **options)
        last = tf.nest.map_structure(
            lambda x: x[-1], states(monitor, monitor.init([tf.constant(0.0)]), metrics)
        )
        found: dict[str, Any] = last._asdict()
        params = found.pop("best_params")
        return found | ({"restored": params[0]} if params else {})

    return ours


def keras_plateau(**options: Any) -> Callable[..., Arrays]:
    """Return the rates and counters of Keras's callback after each epoch."""

    def theirs(dtype: str, metrics: np.ndarray) -> Arrays:
        import keras

        columns = []
        for history in metrics:
            model = types.SimpleNamespace(optimizer=keras.optimizers.SGD(RATE))
            callback = keras.callbacks.ReduceLROnPlateau("metric", **options)
            callback.set_model(model)
            callback.on_train_begin()
            rows = []
            for epoch, value in enumerate(history):
                callback.on_epoch_end(epoch, {"metric": float(value)})
                rate = float(model.optimizer.learning_rate.numpy())
                rows.append((rate, callback.best, callback.wait, callback.cooldown_counter))
            columns.append(rows)
        names = "learning_rate", "best", "wait", "cooldown"
        return _by_epoch(names, columns)

    return theirs


class Stub:
    """A model for EarlyStopping; its weights are the number of the epoch."""

    def __init__(self) -> None:
        self.stop_training = False
        self.weights = [0.0]

    def get_weights(self) -> list[float]:
        return list(self.weights)

    def set_weights(self, weights: list[float]) -> None:
        self.weights = weights


def keras_stopping(**options: Any) -> Callable[..., Arrays]:
    """Return where Keras stops, and the epoch of the weights at the end."""

    def theirs(dtype: str, metrics: np.ndarray) -> Arrays:
        import keras

        rows = []
        for history in metrics:
            model = Stub()
            callback = keras.callbacks.EarlyStopping("metric", **options)
            callback.set_model(model)
            callback.on_train_begin()
            for epoch, value in enumerate(history, start=1):
                model.weights = [float(epoch)]
                callback.on_epoch_end(epoch - 1, {"metric": float(value)})
                if model.stop_training:
                    break
            callback.on_train_end()
            seen = callback.best is not None
            best = callback.best if seen else np.nan
            best_epoch = callback.best_epoch + 1 if seen else 0
            row = epoch, model.stop_training, best, best_epoch, callback.wait, *model.weights
            rows.append(row)
        names = ["epoch", "stop", "best", "best_epoch", "wait", "restored"]
        found = dict(zip(names, np.array(rows, "float64").T, strict=True))
        if not options.get("restore_best_weights"):
            del found["restored"]
        return found

    return theirs


def torch_plateau(**options: Any) -> Callable[..., Arrays]:
    """Return PyTorch's rates after each epoch; its counters continue at the lowest rate."""

    def theirs(dtype: str, metrics: np.ndarray) -> Arrays:
        import torch

        columns = []
        for history in metrics:
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
            rows = []
            for value in history:
                scheduler.step(float(value))
                rows.append((optimizer.param_groups[0]["lr"], scheduler.best))
            columns.append(rows)
        return _by_epoch(("learning_rate", "best"), columns)

    return theirs


def optax_plateau(**options: Any) -> Callable[..., Arrays]:
    """Return Optax's scales after each epoch, in float64; its counters continue at min_scale."""

    def theirs(dtype: str, metrics: np.ndarray) -> Arrays:
        import jax
        import optax

        with jax.enable_x64(True):
            tx = optax.contrib.reduce_on_plateau(**options)
            one = jax.numpy.ones([], "float64")

            def step(state: Any, value: Any) -> Any:
                state = tx.update(one, state, value=value)[1]
                return state, {"learning_rate": state.scale, "best": state.best_value}

            def over(history: Any) -> Any:
                return jax.lax.scan(step, tx.init(one), history)[1]

            found = jax.jit(jax.vmap(over))(jax.numpy.asarray(metrics, "float64"))
            return {name: np.asarray(x).T for name, x in found.items()}

    return theirs


def _by_epoch(names: tuple[str, ...], columns: list[list[Any]]) -> Arrays:
    """Return arrays [epochs, histories] by name from the rows of each history."""
    table = np.array(columns, "float64")
    return {name: table[:, :, i].T for i, name in enumerate(names)}


def _form(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {x}" for name, x in options.items())


def _plateau_case(
    peer: str,
    ours: dict[str, Any],
    theirs: Callable[..., Arrays],
    form: str = "",
    inputs: Callable[[str], Arrays] = histories,
) -> FunctionCase:
    """Make a case of `reduce_on_plateau` in the convention of a peer; Optax's rate is relative."""
    given = {"mode": "min", "convention": peer} | ours
    function = plateau(1.0 if peer == "optax" else RATE, **given)
    title = ", ".join([peer] * (peer != "keras") + [form or _form(ours)] * bool(form or ours))
    needs = {"optax": "optax.contrib.reduce_on_plateau"} if peer == "optax" else {}
    return FunctionCase(
        "monitor", "reduce_on_plateau", title, inputs, function, {peer: theirs}, needs
    )


KERAS_PLATEAUS: list[dict[str, Any]] = [
    {},
    {"mode": "max", "patience": 3, "min_delta": 0.01},
    {"patience": 0, "factor": 0.7, "min_lr": 0.001},
    {"patience": 1, "cooldown": 1, "factor": 0.6, "min_delta": 0.0},
    {"patience": 2, "cooldown": 3, "factor": 0.5},
    {"patience": 4, "cooldown": 2, "factor": 0.9, "mode": "max"},
]
TORCH_PLATEAUS: list[dict[str, Any]] = [
    {},
    {"mode": "max", "patience": 3, "threshold": 0.01},
    {"patience": 0, "factor": 0.7, "min_lr": 0.001},
    {"patience": 1, "cooldown": 1, "threshold_mode": "abs"},
    {"patience": 2, "cooldown": 3, "factor": 0.5, "threshold": 0.0},
    {"patience": 0, "factor": 0.3, "eps": 0.002, "mode": "max", "threshold_mode": "abs"},
]
OPTAX_PLATEAUS: list[dict[str, Any]] = [
    {},
    {"patience": 1, "factor": 0.7, "min_scale": 0.01},
    {"patience": 1, "cooldown": 1, "rtol": 0.0, "atol": 1e-4},
    {"patience": 2, "cooldown": 3, "factor": 0.5, "rtol": 1e-3, "atol": 1e-3},
]
STOPS: list[dict[str, Any]] = [
    {},
    {"patience": 3, "min_delta": 1e-4},
    {"patience": 3, "mode": "max", "restore_best_weights": True},
    {"patience": 5, "min_delta": 0.001, "baseline": 1.95},
    {"patience": 4, "baseline": 2.05, "mode": "max", "restore_best_weights": True},
    # The first epoch that is looked at is a NaN in one of the histories.
    {"patience": 2, "start_from_epoch": 7, "first": "any", "restore_best_weights": True},
    {"patience": 20, "restore_best_weights": True},
    {"start_from_epoch": EPOCHS},
]


def _in_torch(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of trainlib for those of PyTorch."""
    left = {name: x for name, x in options.items() if not name.startswith("threshold")}
    threshold = options.get("threshold", 1e-4)
    if options.get("threshold_mode") == "abs":
        return left | {"min_delta": threshold, "rel_delta": 0.0}
    return left | {"rel_delta": threshold}


def _in_optax(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of trainlib for those of Optax."""
    names = {"rtol": "rel_delta", "atol": "min_delta", "min_scale": "min_lr"}
    return {names.get(name, name): x for name, x in options.items()}


def _stop_case(
    options: dict[str, Any], inputs: Callable[[str], Arrays] = histories
) -> FunctionCase:
    given = {"mode": "min"} | options
    theirs = {name: x for name, x in given.items() if name != "first"}
    return FunctionCase(
        "monitor",
        "early_stop",
        _form(options),
        inputs,
        stopping(**given),
        {"keras": keras_stopping(**theirs)},
    )


FROM_NAN: dict[str, Any] = {"patience": 3, "first": "any"}
CASES = [
    *(_plateau_case("keras", o, keras_plateau(**{"mode": "min"} | o)) for o in KERAS_PLATEAUS),
    _plateau_case(
        "keras", FROM_NAN, keras_plateau(mode="min", patience=3), inputs=histories_from_nan
    ),
    *(_plateau_case("torch", _in_torch(o), torch_plateau(**o), _form(o)) for o in TORCH_PLATEAUS),
    _plateau_case("torch", {}, torch_plateau(), "from NaN", histories_from_nan),
    *(_plateau_case("optax", _in_optax(o), optax_plateau(**o), _form(o)) for o in OPTAX_PLATEAUS),
    _plateau_case("optax", {}, optax_plateau(), "from NaN", histories_from_nan),
    *(_stop_case(options) for options in STOPS),
    _stop_case(FROM_NAN | {"restore_best_weights": True}, histories_from_nan),
]
