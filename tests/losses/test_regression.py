"""Losses of real-valued targets: their bounds and the shapes that they accept."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib.losses as losses


def test_huber_is_quadratic_up_to_delta_and_linear_beyond(execution, loss_by_name):
    delta = 0.75
    e = np.array([0, -0.0, delta, -delta, np.nextafter(delta, 0), np.nextafter(delta, 1), 1e200])
    options = {"delta": delta}
    values, gradients = loss_by_name(
        "huber", np.zeros((len(e), 1)), e[:, np.newaxis], execution, **options
    )
    weights = np.linspace(0.5, 2, len(e))
    expected = np.where(abs(e) <= delta, 0.5 * delta**2, delta * abs(e) - 0.5 * delta**2)
    np.testing.assert_allclose(values[2:], expected[2:], rtol=1e-15)
    assert not values[:2].any()
    np.testing.assert_allclose(gradients[:, 0], weights * np.clip(e, -delta, delta), rtol=1e-15)


ELEMENTWISE = {
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "huber": "Huber",
    "binary_crossentropy": "BinaryCrossentropy",
}


@pytest.mark.parametrize(("shape", "other"), [((6,), (6, 1)), ((6, 1), (6,)), ((6, 1), (6, 1))])
@pytest.mark.parametrize(("name", "peer"), ELEMENTWISE.items())
def test_a_last_axis_of_length_1_may_be_missing(name, peer, shape, other):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.uniform(size=shape), rng.uniform(size=other)
    theirs = getattr(keras.losses, peer)(reduction="none", dtype="float64")(y_true, y_pred)
    ours = getattr(losses, name)(y_true, y_pred)
    assert ours.shape == (6,)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(("shape", "other"), [((6, 3), (6, 3, 1)), ((6, 3, 1), (6, 3))])
def test_a_sequence_without_its_last_axis_has_a_loss_for_each_element(shape, other):
    # Keras takes the last axis away from the other one instead, and returns their mean.
    y_true, y_pred = np.zeros(shape), np.arange(18.0).reshape(other)
    loss = losses.mean_absolute_error(y_true, y_pred)
    np.testing.assert_array_equal(loss, np.arange(18.0).reshape(6, 3))


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_delta_out_of_range_is_rejected(value):
    with pytest.raises(ValueError, match=f"^delta must be .*above 0, got {value}"):
        losses.huber(tf.ones([2, 2]), tf.ones([2, 2]), delta=value)
