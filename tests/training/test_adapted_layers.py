"""Adapted `Normalization` layers: models compute with the values of their variables."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.training.adapted_layers import set_weights

RNG = np.random.default_rng(0)
X = RNG.normal(50, 10, (32, 3)).astype("float32")
Y = X.sum(1, keepdims=True) / 100


def adapted(*x):
    """A model whose inner model begins with a layer that is adapted to x, or to nothing."""
    norm, hidden = (
        keras.layers.Normalization(name="norm"),
        keras.layers.Dense(4, "tanh", name="hidden"),
    )
    inner = keras.Sequential([keras.Input((3,)), norm, hidden], name="inner")
    for data in x:
        norm.adapt(data)
    return keras.Sequential([keras.Input((3,)), inner, keras.layers.Dense(1, name="outputs")])


def norm_of(model):
    return model.layers[0].layers[0]


def trainer_of(model, **options):
    return tl.Trainer(model, "mean_squared_error", tl.sgd(0.01), seed=1, **options)


def test_a_copy_computes_with_the_statistics_of_its_source():
    model = adapted(X)
    np.testing.assert_array_equal(tl.transfer(model)(X), model(X))
    other = adapted()
    assert not np.allclose(other(X), model(X))
    set_weights(other, model.get_weights())
    np.testing.assert_array_equal(other(X), model(X))


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_a_layer_that_is_adapted_again_is_used_by_programs_that_exist(execution):
    """The layer's own tensors would be constants of the compiled program."""
    model = adapted(X)
    trainer = trainer_of(model, execution=execution)
    before = trainer.predict(X)
    norm_of(model).adapt(2 * X)
    after = trainer.predict(X)
    assert not np.allclose(after, before)
    np.testing.assert_allclose(after, model(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_in_mixed_precision_is_adapted_after_its_trainer_is_made(precision):
    model = adapted()
    trainer = trainer_of(model, precision=precision)
    norm_of(model).adapt(X)
    assert trainer.evaluate((X, Y))["loss"] == pytest.approx(
        float(np.mean((np.asarray(model(X)) - Y) ** 2)), rel=0.05
    )


class EndFirstEpoch(tl.callbacks.Callback):
    def on_epoch_end(self, status):
        return [tl.callbacks.Save(), tl.callbacks.Stop("interrupted", resumable=True)]


def test_a_resumed_run_has_the_statistics_of_its_checkpoint(tmp_path):
    """The new model is not adapted; its trainer and the model itself use those of the run."""
    expected, model, resumed = adapted(X), adapted(X), adapted()
    model.set_weights(expected.get_weights())
    straight = trainer_of(expected)
    history = straight.fit((X, Y), epochs=2)
    trainer_of(model).fit((X, Y), epochs=2, checkpoints=tmp_path, callbacks=[EndFirstEpoch()])
    trainer = trainer_of(resumed)
    rest = trainer.fit((X, Y), epochs=2, checkpoints=tl.Checkpoints(tmp_path, resume=True))
    assert [line["loss"] for line in rest] == [line["loss"] for line in history]
    np.testing.assert_array_equal(trainer.predict(X), straight.predict(X))
    np.testing.assert_array_equal(resumed(X), expected(X))
