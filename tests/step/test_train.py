"""The training step: its numbers, and that it is a pure function of the state."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS
from helpers.linear import (
    BIAS,
    KERNEL,
    WEIGHTS,
    X,
    Y,
    example_losses,
    l2_on_kernel,
    linear_batch,
    penalized,
    penalized_gradients,
    penalized_loss,
    penalized_state,
)
from helpers.trees import arrays, assert_same_bits

import trainlib as tl
from trainlib.training.functional_model import functional_from_keras


@pytest.mark.parametrize(
    ("execution", "weights"),
    [
        *((execution, "weights") for execution in EXECUTIONS),
        *(("eager", weights) for weights in WEIGHTS if weights != "weights"),
        *(
            pytest.param(execution, weights, marks=pytest.mark.soak)
            for execution in ("graph", "xla")
            for weights in WEIGHTS
            if weights != "weights"
        ),
    ],
)
def test_three_steps_are_those_computed_by_hand(execution, weights):
    optimizer = tl.sgd(0.125, momentum=0.75)
    step = tl.train_step(
        tl.StepConfig(penalized, tl.losses.mean_squared_error, optimizer, regularizer=l2_on_kernel)
    )
    step, state, batch = (
        EXECUTIONS[execution](step),
        penalized_state(optimizer),
        linear_batch(WEIGHTS[weights]),
    )
    w = np.ones(8) if WEIGHTS[weights] is None else WEIGHTS[weights]
    params, velocity = [KERNEL, BIAS], [0.0, 0.0]
    for count in range(1, 4):
        loss = penalized_loss(*params, w)
        state, records = step(state, batch)
        grads = penalized_gradients(*params, w)
        velocity = [0.75 * v - 0.125 * g for v, g in zip(velocity, grads, strict=True)]
        params = [p + v for p, v in zip(params, velocity, strict=True)]
        np.testing.assert_allclose(state.params["kernel"], params[0], rtol=1e-13)
        np.testing.assert_allclose(state.params["bias"], params[1], rtol=1e-13)
        assert records["loss"].compute().numpy() == pytest.approx(loss, rel=1e-13)
        assert (state.step.numpy(), state.model_state["seen"].numpy()) == (count, count)
        assert state.seed.numpy() == 5


def test_a_batch_of_weight_0_moves_the_parameters_by_the_penalties_only():
    optimizer = tl.sgd(0.125)
    step = tl.train_step(tl.StepConfig(penalized, tl.losses.mean_squared_error, optimizer))
    state, records = step(penalized_state(optimizer), linear_batch(np.zeros(8)))
    np.testing.assert_array_equal(state.params["kernel"], KERNEL)
    np.testing.assert_array_equal(state.params["bias"], BIAS - 0.125 * 0.125)
    assert records["loss"].compute().numpy() == 0


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_the_states_of_metrics_that_are_not_means_merge(execution):
    metrics = {"r2": tl.metrics.r2_score(), "mse": tl.metrics.mean_squared_error}
    optimizer = tl.sgd(0.0)
    step = EXECUTIONS[execution](
        tl.train_step(
            tl.StepConfig(penalized, tl.losses.mean_squared_error, optimizer, metrics=metrics)
        )
    )
    state, weight = penalized_state(optimizer), WEIGHTS["some are 0"]
    records = {"loss": tl.Mean.empty(), "mse": tl.Mean.empty(), "r2": metrics["r2"].empty(2)}
    for rows in (slice(0, 3), slice(3, 8)):
        batch = (tf.constant(a[rows]) for a in (X, Y, weight))
        state, new = step(state, tuple(batch))
        records = tl.metrics.merge(records, new)
    y_pred = X @ KERNEL + BIAS
    spread = np.sum(weight[:, None] * (Y - np.average(Y, axis=0, weights=weight)) ** 2, axis=0)
    r2 = np.mean(1 - np.sum(weight[:, None] * (Y - y_pred) ** 2, axis=0) / spread)
    results = tl.metrics.results(metrics, records)
    assert results["r2"].numpy() == pytest.approx(r2, rel=1e-13)
    mse = np.average(example_losses(KERNEL, BIAS), weights=weight)
    assert results["mse"].numpy() == pytest.approx(mse, rel=1e-14)


def keras_model(*layers, features=3, dtype="float32"):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((features,), dtype=dtype), *layers])


def noisy_model(dtype="float32"):
    """Return a model with batch statistics, a dropout seed and penalties of layers."""
    return keras_model(
        keras.layers.Dense(4, "tanh", kernel_regularizer=keras.regularizers.L2(0.0625)),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(2),
        dtype=dtype,
    )


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_the_step_depends_on_its_arguments_only_and_changes_none(execution):
    model, optimizer = noisy_model(), tl.adam()
    apply_fn, params, model_state = functional_from_keras(model)
    state, batch = tl.init_state(params, model_state, optimizer), linear_batch(None, "float32")
    before = [arrays(state), model.get_weights()]
    step = EXECUTIONS[execution](
        tl.train_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer))
    )
    first, second = step(state, batch), step(state, batch)
    assert_same_bits(first, second)
    assert_same_bits([arrays(state), model.get_weights()], before)
    assert all(
        np.any(old.numpy() != new.numpy())
        for group in ("params", "model_state", "opt_state")
        for old, new in zip(
            tf.nest.flatten(getattr(state, group)),
            tf.nest.flatten(getattr(first[0], group)),
            strict=True,
        )
    )


def test_batch_statistics_are_updated_in_the_model_state():
    model = keras_model(keras.layers.BatchNormalization(momentum=0.75, epsilon=2**-10, name="bn"))
    apply_fn, params, model_state = functional_from_keras(model)
    state = tl.init_state(params, model_state, tl.sgd(0.0))
    step = tl.train_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error, tl.sgd(0.0)))
    batch = (tf.constant(X, tf.float32), tf.constant(X, tf.float32))
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(3):
        state, _ = step(state, batch)
        mean = 0.75 * mean + 0.25 * X.mean(axis=0)
        variance = 0.75 * variance + 0.25 * X.var(axis=0)
        names = ("bn/moving_mean", "bn/moving_variance")
        for name, value in zip(names, (mean, variance), strict=True):
            np.testing.assert_allclose(state.model_state[name], value, rtol=1e-6)
    y_pred = tl.predict_step(apply_fn)(state, batch[0])
    np.testing.assert_allclose(y_pred, (X - mean) / np.sqrt(variance + 2**-10), rtol=2e-6)


def masks(steps, state, step, batch):
    """Return which of 64 units each step keeps: those whose weights move."""
    found = []
    for _ in range(steps):
        new, _ = step(state, batch)
        found.append(
            new.params["dense/kernel"].numpy()[0] != state.params["dense/kernel"].numpy()[0]
        )
        state = new
    return found


def dropout_model(rate=0.5):
    return keras_model(
        keras.layers.Dense(64, use_bias=False, kernel_initializer="ones", name="dense"),
        keras.layers.Dropout(rate),
        features=1,
    )


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_dropout_masks_are_a_function_of_the_state(execution):
    optimizer = tl.sgd(2**-6)
    batch = tf.ones([1, 1]), tf.zeros([1, 64])
    apply_fn, params, model_state = functional_from_keras(dropout_model(), seed=3)
    step = EXECUTIONS[execution](
        tl.train_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer))
    )
    state = tl.init_state(params, model_state, optimizer)
    first, second = masks(2, state, step, batch)
    assert 16 < first.sum() < 48
    assert np.any(first != second)
    np.testing.assert_array_equal(masks(2, state, step, batch), [first, second])
    other = state._replace(model_state=functional_from_keras(dropout_model(), seed=4).model_state)
    assert np.any(masks(1, other, step, batch)[0] != first)


def test_inference_applies_no_dropout():
    apply_fn, params, model_state = functional_from_keras(dropout_model())
    state = tl.init_state(params, model_state, tl.sgd())
    np.testing.assert_array_equal(tl.predict_step(apply_fn)(state, tf.ones([2, 1])), 1)
    records = tl.eval_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error))(
        state, (tf.ones([2, 1]), tf.zeros([2, 64]))
    )
    assert records["loss"].compute().numpy() == 1


def test_penalties_of_keras_layers_equal_those_of_the_regularizer():
    optimizer, batch = tl.sgd(0.125), linear_batch(None, "float32")
    plain = keras_model(keras.layers.Dense(2, name="dense"))
    own = keras_model(
        keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.0625), name="dense")
    )
    own.set_weights(plain.get_weights())
    ends = []
    for model, regularizer in (
        (own, None),
        (plain, lambda params: tl.l2(0.0625)(params["dense/kernel"])),
        (plain, None),
    ):
        apply_fn, params, model_state = functional_from_keras(model)
        step = tl.train_step(
            tl.StepConfig(
                apply_fn, tl.losses.mean_squared_error, optimizer, regularizer=regularizer
            )
        )
        state, records = step(tl.init_state(params, model_state, optimizer), batch)
        ends.append((state.params["dense/kernel"].numpy(), records["loss"].compute().numpy()))
    (kernel, loss), (same_kernel, same_loss), (bare_kernel, bare_loss) = ends
    np.testing.assert_allclose(kernel, same_kernel, rtol=1e-6)
    assert loss == pytest.approx(same_loss, rel=1e-7)
    shift = 0.0625 * np.sum(plain.get_weights()[0] ** 2)
    assert loss - bare_loss == pytest.approx(shift, abs=2.5e-7)
    assert np.max(np.abs(kernel - bare_kernel)) > 1e-3


def test_a_float64_model_trains_in_float64():
    model = keras_model(
        keras.layers.Dense(
            2, dtype="float64", kernel_regularizer=keras.regularizers.L2(2**-7), name="dense"
        ),
        dtype="float64",
    )
    model.set_weights([KERNEL, BIAS])
    optimizer = tl.sgd(0.125)
    apply_fn, params, model_state = functional_from_keras(model)
    step = tl.train_step(tl.StepConfig(apply_fn, tl.losses.mean_squared_error, optimizer))
    state, _ = step(tl.init_state(params, model_state, optimizer), linear_batch(None))
    error = (X @ KERNEL + BIAS - Y) / 8
    expected = {
        "dense/kernel": KERNEL - 0.125 * (X.T @ error + 2**-6 * KERNEL),
        "dense/bias": BIAS - 0.125 * np.sum(error, axis=0),
    }
    for name, value in expected.items():
        assert state.params[name].dtype == tf.float64
        # Keras holds the factor of its regularizer in float32, which 2^-7 fits exactly.
        np.testing.assert_allclose(state.params[name], value, rtol=1e-13)
