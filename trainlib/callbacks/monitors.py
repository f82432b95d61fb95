"""Callbacks that follow a result with the state machines of `trainlib.monitors`."""

from __future__ import annotations

import math
import sys
from typing import Any, TextIO

import numpy as np

from trainlib.monitors import EarlyStopState, PlateauState, early_stop, reduce_on_plateau
from trainlib.step.averages import averaged_weights
from trainlib.step.repartition import joined_weights, split_weights
from trainlib.training.callback import (
    Callback,
    Requests,
    Results,
    SetHyperparams,
    SetWeights,
    Stop,
    TrainingStatus,
    check_monitored,
)
from trainlib.transforms.inject import hyperparam


class ReduceLROnPlateau(Callback):
    """Reduces the learning rate when a result has stopped improving, and prints a line about it.

    The optimizer must hold the learning rate in its state, as
    `tl.inject_hyperparams(tl.adam)(1e-3)` does. A schedule cannot be reduced, but a factor on its
    updates can:

        optimizer = tl.chain(tl.adam(schedule), tl.inject_hyperparams(tl.scale)(factor=1.0))
        callback = tl.callbacks.ReduceLROnPlateau("val_loss", hyperparam="factor")

    Args:
        monitor: name of the result. Default: "val_loss".
        hyperparam: hyperparameter in the optimizer's state that is reduced. Default:
            "learning_rate".
        stream: text stream for the line. Default: None, standard output.
        **options: options of `tl.reduce_on_plateau`, such as `patience=5` and `factor=0.5`.

    Attributes:
        state: the `PlateauState`; each run starts with a new one, a resumed run with the saved one.

    Raises:
        ValueError: an option is out of range; at the start of a run, if the optimizer's state lacks
            the hyperparameter, or if no epoch will have such a result; after an epoch, if something
            else changed the hyperparameter.

    Example:
        >>> model = tl.FunctionalModel(
        ...     lambda params, state, x, training: tl.ModelOutput(x * params["w"], state),
        ...     {"w": tf.zeros([1])})
        >>> optimizer = tl.inject_hyperparams(tl.sgd)(0.25)
        >>> trainer = tl.Trainer(model, "mean_squared_error", optimizer)
        >>> data = np.ones([8, 1], "float32"), np.ones([8, 1], "float32")
        >>> plateau = tl.callbacks.ReduceLROnPlateau("loss", mode="max", patience=1, factor=0.5)
        >>> history = trainer.fit(data, epochs=2, callbacks=[plateau])
        epoch 2: learning rate 0.25 -> 0.125
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        hyperparam: str = "learning_rate",
        stream: TextIO | None = None,
        **options: Any,
    ) -> None:
        self.monitor = reduce_on_plateau(monitor, **options)
        self.monitored = (monitor,)
        self.hyperparam = hyperparam
        self.stream = stream
        self.state: PlateauState

    def on_train_begin(self, status: TrainingStatus) -> None:
        try:
            rate = hyperparam(status.state().opt_state, self.hyperparam)
        except ValueError as error:
            raise ValueError(
                f"ReduceLROnPlateau needs one {self.hyperparam} in the optimizer's state, as in "
                f"tl.inject_hyperparams(tl.adam)(learning_rate=0.001): {error}"
            ) from None
        self.state = self.monitor.init(rate)

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        if of_skipped_validation(status, self.monitor.monitor):
            return None
        metric = monitored_value(self, self.monitor.monitor, status.results)
        old = self.state.learning_rate
        self._check_unchanged(status)
        self.state = self.monitor.update(metric, self.state)
        new = self.state.learning_rate
        if new == old:
            return None
        name = self.hyperparam.replace("_", " ")
        _print_line(f"epoch {status.epoch}: {name} {float(old):.4g} -> {float(new):.4g}", self)
        return SetHyperparams({self.hyperparam: float(new)})

    def _check_unchanged(self, status: TrainingStatus) -> None:
        """Raise if the rate is not the one that was set, since reducing it would have no effect."""
        rate = hyperparam(status.state().opt_state, self.hyperparam)
        expected = self.state.learning_rate
        if expected != self.monitor.init(rate).learning_rate:
            raise ValueError(
                f"ReduceLROnPlateau: {self.hyperparam} is {rate:g}, not {float(expected):g}: a "
                "schedule or another callback changes it too; for a schedule, reduce the factor "
                "of tl.chain(optimizer, tl.inject_hyperparams(tl.scale)(factor=1.0)), with "
                "hyperparam='factor'"
            )


class EarlyStopping(Callback):
    """Ends a run when a result has stopped improving, and prints a line about it.

    With `restore_best_weights` the run ends with the parameters and the other state of the model,
    such as batch statistics, of the best epoch, whether it was stopped or reached its last epoch;
    not if an error or the user ended it. The optimizer's state is kept.

    Args:
        monitor: name of the result. Default: "val_loss".
        restore_best_weights: whether to end with the parameters of the best epoch. Default: False.
        stream: text stream for the line. Default: None, standard output.
        **options: options of `tl.early_stop`, such as `patience=5` and `min_delta=1e-3`.

    Attributes:
        state: the `EarlyStopState`; each run starts with a new one, a resumed run with the saved
            one.

    Raises:
        ValueError: an option is out of range; at the start of a run, if no epoch will have such a
            result.

    Example:
        >>> model = tl.FunctionalModel(
        ...     lambda params, state, x, training: tl.ModelOutput(x * params["w"], state),
        ...     {"w": tf.zeros([1])})
        >>> trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.25))
        >>> data = np.ones([8, 1], "float32"), np.ones([8, 1], "float32")
        >>> stopping = tl.callbacks.EarlyStopping("loss", mode="max", patience=1)
        >>> history = trainer.fit(data, epochs=9, callbacks=[stopping])
        stopped after epoch 2: loss has not improved on 1 (epoch 1) for 1 epoch
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        restore_best_weights: bool = False,
        stream: TextIO | None = None,
        **options: Any,
    ) -> None:
        self.monitor = early_stop(monitor, **options)  # this callback stores the best parameters
        self.monitored = (monitor,)
        self.restore_best_weights = restore_best_weights
        self.baseline: float | None = options.get("baseline")
        self.stream = stream
        self.state: EarlyStopState

    def on_train_begin(self, status: TrainingStatus) -> None:
        self.state = self.monitor.init()._replace(best_params=self._weights(status))

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        if of_skipped_validation(status, self.monitor.monitor):
            return None
        metric = monitored_value(self, self.monitor.monitor, status.results)
        old = _of_numpy(self.state)
        with np.errstate(over="ignore", invalid="ignore"):
            new = self.monitor.update(metric, old._replace(best_params=()))
        kept = old.best_params if new.best_epoch == old.best_epoch else self._weights(status)
        self.state = new._replace(best_params=kept)
        return Stop(self._reason(status)) if self.state.stop else None

    def on_train_end(self, status: TrainingStatus) -> Requests:
        if not status.finished:
            return None
        parts = [self._reason(status)] if self.state.stop else []
        best_epoch = self._epoch(status, int(self.state.best_epoch))
        restored = self.restore_best_weights and 0 < best_epoch < status.epoch
        if restored:
            parts.append(f"parameters of epoch {best_epoch} restored")
        if parts:
            _print_line("; ".join(parts), self)
        if not restored:
            return None
        return SetWeights(*split_weights(self.state.best_params, status.state()))

    def _epoch(self, status: TrainingStatus, number: int) -> int:
        """Return the epoch of the run whose result was the monitor's n-th."""
        epochs = [r["epoch"] for r in status.history if self.monitor.monitor in r and "epoch" in r]
        return int(epochs[number - 1]) if 0 < number <= len(epochs) else number

    def _reason(self, status: TrainingStatus) -> str:
        """Return why the run is stopped, on one line."""
        wait, best = int(self.state.wait), float(self.state.best)
        best_epoch = self._epoch(status, int(self.state.best_epoch))
        also = "" if self.baseline is None else f" and the baseline {self.baseline:.4g}"
        improved_on = f"not improved on {best:.4g} (epoch {best_epoch}){also}"
        return (
            f"stopped after epoch {self._epoch(status, int(self.state.epoch))}: "
            f"{self.monitor.monitor} has {'had no value' if math.isnan(best) else improved_on} "
            f"for {wait} epoch{'s' if wait > 1 else ''}"
        )

    def _weights(self, status: TrainingStatus) -> Any:
        """Return the parameters and the model's other state; () unless they are to be restored."""
        if not self.restore_best_weights:
            return ()
        return joined_weights(*averaged_weights(status.state()))


def _of_numpy(state: EarlyStopState) -> EarlyStopState:
    """Return a state whose scalars are those of NumPy, which are updated without kernels."""
    scalars = {k: np.asarray(x)[()] for k, x in state._asdict().items() if k != "best_params"}
    return state._replace(**scalars)


def of_skipped_validation(status: TrainingStatus, name: str) -> bool:
    """Return whether an epoch has no such result because `validation_freq` leaves it out."""
    return status.skips_validation and name.startswith("val_") and name not in status.results


def monitored_value(callback: Callback, name: str, results: Results) -> float:
    """Return the result of that name as a float."""
    arrays = [key for key, value in results.items() if not isinstance(value, (int, float))]
    check_monitored([callback], list(results), arrays)
    return float(results[name])


def _print_line(line: str, callback: ReduceLROnPlateau | EarlyStopping) -> None:
    """Print a line to the callback's stream, by default standard output."""
    print(line, file=callback.stream or sys.stdout, flush=True)
