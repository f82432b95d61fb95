"""A trainer with an average: training is as without, what is evaluated and saved is averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.trainers import TrainerPool

import trainlib as tl
from trainlib.callbacks import Callback, EarlyStopping, SetTrainable, StopAfter, Unfreeze
from trainlib.training.callback import Requests, TrainingStatus

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype("float32")
Y = X @ np.float32([[1.0], [-2.0], [0.5]]) + 1
BATCH = 8  # 8, 8 and 4 examples
EPOCH = 3
AVERAGES = {"swa": tl.swa(2 * EPOCH, EPOCH), "ema": tl.ema(0.9, debias=False), "none": None}


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="hidden"),
            keras.layers.BatchNormalization(momentum=0.8, name="norm"),
            keras.layers.ReLU(),
            keras.layers.Dense(1, name="outputs"),
        ]
    )


def new_trainer(average: str) -> tl.Trainer:
    return tl.Trainer(
        net(), "mean_squared_error", tl.sgd(0.05), average=AVERAGES[average], execution="graph"
    )


POOL = TrainerPool(new_trainer)


@pytest.fixture
def make() -> Any:
    with POOL.lending() as make:
        yield make


def fit(trainer: tl.Trainer, epochs: int = 4, callbacks: Any = (), **options: Any) -> Any:
    return trainer.fit(
        (X, Y),
        batch_size=BATCH,
        epochs=epochs,
        validation_data=(X, Y),
        callbacks=callbacks,
        verbose=0,
        **options,
    )


def states_of(trainer: tl.Trainer, **options: Any) -> list[Any]:
    """Return the parameters after each epoch."""
    found: list[Any] = []
    fit(trainer, callbacks=[lambda status: found.append(status.state().params)], **options)
    return found


def loss_of(model: Any) -> float:
    return float(np.mean((model(X).numpy() - Y) ** 2))


def test_training_has_the_same_bits_with_an_average(make: Any) -> None:
    plain, swa, ema = (states_of(make(name)) for name in ("none", "swa", "ema"))
    for other in (swa, ema):
        for a, b in zip(tf.nest.flatten(plain), tf.nest.flatten(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_swa_is_the_mean_of_the_states_of_the_last_epochs(make: Any) -> None:
    trainer = make("swa")
    states = states_of(trainer)
    for path, w in trainer.weights[0].items():
        expected = np.mean([x[path] for x in states[1:]], 0)
        np.testing.assert_allclose(w, expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(trainer.state.params[path], states[-1][path])


def test_all_that_is_evaluated_and_assigned_to_the_model_is_averaged(make: Any) -> None:
    for name in ("swa", "ema"):
        trainer = make(name)
        history = fit(trainer)
        expected = pytest.approx(loss_of(trainer.model), rel=1e-5)
        assert history[-1]["val_loss"] == expected
        assert trainer.evaluate((X, Y))["loss"] == expected
        np.testing.assert_allclose(trainer.predict(X), trainer.model(X), rtol=1e-5, atol=1e-6)
        for variable in trainer.model.trainable_variables:
            path = variable.path.removeprefix(f"{trainer.model.name}/")
            np.testing.assert_array_equal(variable, trainer.weights[0][path])


def test_the_statistics_of_swa_are_those_of_its_model_over_the_batches(make: Any) -> None:
    """As `update_bn` of PyTorch computes them, weighted by the examples of a batch."""
    trainer = make("swa")
    fit(trainer, shuffle=False)
    params, state = trainer.weights
    hidden = X @ params["hidden/kernel"].numpy() + params["hidden/bias"].numpy()
    parts = np.split(hidden, [8, 16])
    for name, found in (("moving_mean", np.mean), ("moving_variance", np.var)):
        expected = sum(len(h) * found(h, 0) for h in parts) / len(X)
        np.testing.assert_allclose(state[f"norm/{name}"], expected, rtol=2e-5, atol=1e-6)
        own = trainer.state.model_state[f"norm/{name}"].numpy()
        assert np.max(np.abs(own - expected)) > 1e-3


def test_ema_follows_the_trajectory_of_keras(make: Any) -> None:
    model = net()
    optimizer = keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, "mse")
    # It assigns the averages at its end.
    model.fit(X, Y, batch_size=BATCH, epochs=3, shuffle=False, verbose=0)
    trainer = make("ema")
    fit(trainer, epochs=3, shuffle=False)
    for ours, theirs in zip(
        trainer.model.trainable_variables, model.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["swa", "ema"])
def test_a_resumed_run_ends_in_the_same_bits(make: Any, name: str, tmp_path: Path) -> None:
    trainer = make(name)
    start = trainer.state
    history, end = fit(trainer), trainer.state
    trainer.state = start
    fit(trainer, callbacks=[StopAfter(3 * EPOCH - 1)], checkpoints=tmp_path)
    trainer.state = start
    resumed = fit(trainer, checkpoints=tl.Checkpoints(tmp_path, resume=True))
    for a, b in zip(*map(tf.nest.flatten, (trainer.state, end)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [x["val_loss"] for x in history] == [x["val_loss"] for x in resumed]


def test_values_that_are_assigned_replace_the_average(make: Any) -> None:
    trainer = make("swa")
    fit(trainer)
    weights = trainer.weights
    trainer.model.set_weights([np.zeros_like(w) for w in trainer.model.get_weights()])
    assert trainer.evaluate((X, Y))["loss"] == pytest.approx(float(np.mean(Y**2)), rel=1e-5)
    trainer.weights = weights
    np.testing.assert_array_equal(
        trainer.weights[0]["hidden/kernel"], trainer.state.params["hidden/kernel"]
    )


def test_early_stopping_restores_the_average_of_the_best_epoch(make: Any) -> None:
    trainer, found = make("ema"), []
    stop = EarlyStopping("val_loss", mode="max", patience=2, restore_best_weights=True)
    keep = [stop, lambda status: found.append(tl.averaged_weights(status.state()))]
    history = fit(trainer, callbacks=keep)
    assert len(history) == 3  # the first was the best
    for a, b in zip(*map(tf.nest.flatten, (found[0], trainer.weights)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_swa_of_batch_normalization_needs_arrays(make: Any) -> None:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)
    with pytest.raises(ValueError, match=r"give arrays, or use tl\.ema"):
        make("swa").fit(data, epochs=4, verbose=0)


class Thaw(Callback):
    """Trains the batch normalization from the second epoch on, without saying so before."""

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        return SetTrainable("norm") if status.epoch == 1 else None


@pytest.mark.parametrize(
    ("callback", "epochs"), [(Unfreeze({2: "norm"}), 0), (Thaw(), 1)], ids=["announced", "not"]
)
def test_batch_normalization_is_not_unfrozen_over_a_stream(callback: Callback, epochs: int) -> None:
    model, data = net(), tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)
    model.get_layer("norm").trainable = model.get_layer("hidden").trainable = False
    trainer = tl.Trainer(
        model, "mean_squared_error", tl.sgd(0.05), average=AVERAGES["swa"], execution="graph"
    )
    with pytest.raises(ValueError, match=r"give arrays, or use tl\.ema"):
        trainer.fit(data, epochs=4, verbose=0, callbacks=[callback])
    assert trainer.state.step == epochs * EPOCH
    trainer.fit(data, epochs=2, verbose=0, callbacks=[Unfreeze({1: "hidden"})])
    assert "hidden/kernel" in trainer.state.params


def test_what_is_no_average_is_refused() -> None:
    with pytest.raises(TypeError, match="average must be an Optimizer"):
        tl.Trainer(net(), "mean_squared_error", tl.sgd(0.1), average="ema")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"average must be tl\.ema\(...\) or tl\.swa\(...\)"):
        tl.Trainer(net(), "mean_squared_error", tl.sgd(0.1), average=tl.adam())
