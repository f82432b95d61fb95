"""Masks of outputs in the loss, its gradient and the metrics, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.step.masks import masked_state

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3, 2))
Y = RNG.normal(size=(4, 3, 2))
MASK = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)
LOSSES = np.mean((2 * X - Y) ** 2, axis=-1)


def model(mask=MASK, penalty=0.0):
    def apply_fn(w, state, x, training):
        return tl.ModelOutput(w * x, state, penalty, mask=mask)

    return apply_fn


def evaluated(apply_fn, loss=tl.losses.mean_squared_error, weight=(), **options):
    state = tl.init_state(tf.constant(2.0, tf.float64), (), None)
    batch = tuple(tf.constant(a) for a in (X, Y, *weight))
    return tl.eval_step(tl.StepConfig(apply_fn, loss, **options))(state, batch)


def test_the_loss_is_the_mean_over_what_the_mask_keeps():
    found = evaluated(model(penalty=0.5), metrics={"mse": tl.losses.mean_squared_error})
    assert float(found["loss"].compute()) == pytest.approx(LOSSES[MASK].mean() + 0.5, rel=1e-14)
    assert float(found["mse"].compute()) == pytest.approx(LOSSES[MASK].mean(), rel=1e-14)
    assert (float(found["loss"].count), float(found["mse"].count)) == (4, MASK.sum() / 3)


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_weights_multiply_the_mask(shape):
    weight = RNG.uniform(0.5, 2, shape)
    spread = np.broadcast_to(weight.reshape(4, -1), (4, 3)) * MASK
    metrics = {"mse": tl.metrics.mean(tl.losses.mean_squared_error)}
    found = evaluated(model(), weight=(weight,), metrics=metrics)
    for name in ("loss", "mse"):
        expected = np.sum(spread * LOSSES) / np.sum(spread)
        assert float(found[name].compute()) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_weights_that_are_not_floating_multiply_the_mask_of_a_metric(dtype):
    weight = np.array([1, 0, 1, 1], dtype)
    metrics = {"mse": tl.metrics.mean(tl.losses.mean_squared_error)}
    found = evaluated(model(), weight=(weight,), metrics=metrics)["mse"]
    counted = MASK & weight.astype(bool)[:, None]
    assert float(found.compute()) == pytest.approx(LOSSES[counted].mean(), rel=1e-14)


def test_the_gradient_is_that_of_the_masked_mean():
    state = tl.init_state(tf.constant(2.0, tf.float64), (), tl.sgd(1.0))
    config = tl.StepConfig(model(), tl.losses.mean_absolute_error, tl.sgd(1.0))
    new, _ = tl.train_step(config)(state, (tf.constant(X), tf.constant(Y)))
    gradient = np.mean((np.sign(2 * X - Y) * X)[MASK])
    assert float(new.params) == pytest.approx(2 - gradient, rel=1e-14)


def test_a_batch_whose_values_are_all_masked_has_loss_0_and_counts():
    found = evaluated(model(np.zeros_like(MASK), penalty=0.5))["loss"]
    assert (float(found.compute()), float(found.count)) == (0.5, 4)


def test_a_loss_of_the_whole_batch_has_no_mask():
    found = evaluated(model(), lambda y_true, y_pred: tf.reduce_max(tf.abs(y_true - y_pred)))
    assert float(found["loss"].compute()) == pytest.approx(np.max(np.abs(2 * X - Y)), rel=1e-14)


def test_a_mask_that_does_not_fit_the_losses_is_refused():
    with pytest.raises(ValueError, match=r"a mask of shape \[4, 3\], and .* of shape \[4\]: "):
        evaluated(model(), lambda y_true, y_pred: tf.reduce_mean(y_pred, [1, 2]))


def test_a_metric_of_the_whole_batch_has_no_value_for_a_part_of_it():
    y, output = tf.zeros([2, 1]), tl.ModelOutput(tf.ones([2, 1]))

    def largest(y_true, y_pred):
        return tf.reduce_max(y_pred - y_true)

    assert float(masked_state(largest, y, output).compute()) == 1
    with pytest.raises(ValueError, match="^it is one number for the whole batch, but each"):
        masked_state(largest, y, output, is_part=True)


def several(params, state, x, training):
    masks = {"a": MASK, "b": None, "c": MASK, "d": ~MASK}
    return tl.ModelOutput({name: params * x for name in masks}, state, mask=masks)


@pytest.mark.parametrize(
    ("outputs", "mask"), [("a", MASK), ("b", np.ones_like(MASK)), ("ac", MASK), ("d", ~MASK)]
)
def test_of_several_outputs_those_that_a_function_uses_are_masked(outputs, mask):
    def loss(y_true, y_pred):
        return sum(tl.losses.mean_squared_error(y_true, y_pred[name]) for name in outputs)

    found = evaluated(several, loss, metrics={"same": loss})
    for name in ("loss", "same"):
        expected = len(outputs) * LOSSES[mask].mean()
        assert float(found[name].compute()) == pytest.approx(expected, rel=1e-14)


def test_outputs_of_different_masks_need_a_loss_that_masks_them():
    def of_both(y_true, y_pred):
        return tl.losses.mean_squared_error(y_true, y_pred["a"] + y_pred["d"])

    with pytest.raises(ValueError, match=r"^the outputs a, d have different masks, .*Masked"):
        evaluated(several, of_both)
    found = evaluated(several, lambda y, p: tl.losses.Masked.where(MASK, of_both(y, p)))
    expected = np.mean((4 * X - Y) ** 2, axis=-1)[MASK].mean()
    assert float(found["loss"].compute()) == pytest.approx(expected, rel=1e-14)


def test_a_loss_of_one_output_is_not_averaged_over_a_list_of_outputs():
    def two(params, state, x, training):
        return tl.ModelOutput([params * x, x], state)

    config = tl.StepConfig(two, lambda y, p: tf.reduce_mean(tf.square(tf.subtract(p, y)), -1))
    state = tl.init_state(tf.constant(2.0, tf.float64), (), None)
    batch = tf.constant(X), [tf.constant(Y), tf.constant(Y)]
    with pytest.raises(ValueError, match=r"values of shape \[2, 4, 3\], whose first axis is not"):
        tl.eval_step(config)(state, batch)
