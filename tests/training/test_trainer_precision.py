"""`Trainer` in each precision: parameters, scaled losses, skipped steps, results."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except

import trainlib as tl

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 6)).astype("float32")
Y = np.tanh(X @ RNG.normal(size=(6, 1))).astype("float32")


def trainer_of(precision=None, optimizer=None, **options):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, name="hidden"), keras.layers.BatchNormalization(name="norm")]
    model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(1, name="outputs")])
    options = {"execution": "graph", "precision": precision} | options
    return tl.Trainer(model, "mean_squared_error", optimizer or tl.adam(2**-6), **options)


@pytest.mark.parametrize("execution", [pytest.param("graph", marks=pytest.mark.soak), "xla"])
@pytest.mark.parametrize("precision", soak_except("mixed_float16", names=tl.PRECISIONS))
def test_each_precision_learns_with_parameters_of_its_dtype(precision, execution):
    trainer = trainer_of(precision, execution=execution)
    first, *_, last = trainer.fit((X, Y), epochs=8)
    assert last["loss"] < first["loss"] / 4
    dtype = "float64" if precision == "float64" else "float32"
    state = trainer.state
    assert {w.dtype.name for w in tf.nest.flatten((state.params, state.model_state))} == {dtype}
    assert trainer.predict(X[:3]).dtype == dtype
    assert all(w.dtype == "float32" for w in trainer.model.get_weights())
    np.testing.assert_allclose(
        trainer.model.get_weights()[0], state.params["hidden/kernel"], rtol=1e-7
    )


@pytest.mark.soak
def test_half_precision_is_less_accurate():
    results = {name: trainer_of(name).evaluate((X, Y))["loss"] for name in tl.PRECISIONS}
    exact = results["float64"]
    errors = {name: abs(loss - exact) / exact for name, loss in results.items()}
    assert errors["float32"] < 1e-6 < errors["mixed_float16"] < errors["mixed_bfloat16"] < 1e-2


def test_losses_are_scaled_in_float16_only_by_default():
    for name in ("float32", "mixed_bfloat16", None):
        assert trainer_of(name).state.loss_scale == ()
    assert trainer_of("mixed_float16", loss_scale=None).state.loss_scale == ()
    assert trainer_of("mixed_float16").state.loss_scale.scale == 2**15
    trainer = trainer_of("float32", loss_scale=tl.static_loss_scale(4.0))
    results = trainer.fit((X, Y))[0]
    assert (results["loss_scale"], results["skipped_steps"]) == (4.0, 0)
    assert "overflowed" not in results
    with pytest.raises(TypeError, match="^loss_scale must be None or a LossScale"):
        trainer_of(loss_scale="dynamic")


def test_steps_that_overflow_are_skipped_and_reported():
    trainer = trainer_of("mixed_float16", loss_scale=tl.dynamic_loss_scale(2.0**24))
    *_, results = trainer.fit((X, Y), epochs=3)
    assert results["skipped_steps"] >= 1
    assert results["loss_scale"] == 2.0 ** (24 - results["skipped_steps"])
    assert results["step"] == 24 - results["skipped_steps"]
    assert results["overflowed"] in trainer.state.params
    assert json.loads(json.dumps(results)) == results
    assert all(np.isfinite(w).all() for w in trainer.model.get_weights())


def test_skipped_steps_count_for_the_order_of_examples():
    """With gradients that are never finite an epoch changes only the number of batches seen."""
    scale = tl.dynamic_loss_scale(2.0**24, floor=2.0**24)
    seen = []

    def loss(y_true, y_pred):
        return tl.losses.mean_squared_error(y_true, y_pred) * np.float32("inf")

    trainer = trainer_of()
    trainer = tl.Trainer(
        trainer.model,
        loss,
        tl.sgd(0.1),
        loss_scale=scale,
        execution="graph",
        seed=3,
        nonfinite="none",
    )
    for _ in range(2):
        trainer.fit((X, Y))
        seen.append(trainer.batches_seen)
    assert seen == [8, 16] and int(trainer.state.step) == 0


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="unknown precision 'mixed_float15': did you mean"):
        trainer_of("mixed_float15")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float32"])
def test_a_model_built_in_float16_has_the_loss_scale_of_its_precision(policy):
    layers = [keras.layers.Dense(4, dtype=policy), keras.layers.Dense(1, dtype="float32")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(2**-6))
    (results,) = trainer.fit((X[:32], Y[:32]))
    assert results.get("loss_scale") == (2.0**15 if policy == "mixed_float16" else None)
    plain = tl.Trainer(model, "mean_squared_error", tl.sgd(2**-6), loss_scale=None)
    assert plain.state.loss_scale == ()
