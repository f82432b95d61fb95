"""Dice and Tversky losses, of examples and of the whole batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib.losses as losses
from trainlib.optimizers import sgd
from trainlib.step import ModelOutput, StepConfig, init_state, train_step

IMAGES = {"axis": (1, 2)}


def regions():
    rng = np.random.default_rng(0)
    return rng.integers(2, size=(3, 4, 4)).astype(float), rng.uniform(size=(3, 4, 4))


@pytest.mark.parametrize("loss", [losses.dice, losses.tversky])
def test_the_loss_is_0_for_the_true_region_and_1_for_a_disjoint_or_two_empty_ones(loss):
    y = np.array([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    p = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]])
    np.testing.assert_allclose(loss(y, p, **IMAGES), [0, 1, 1], atol=1e-7)


@pytest.mark.parametrize("loss", [losses.dice, losses.tversky])
def test_without_an_axis_all_examples_count_as_one(loss):
    y, p = regions()
    found = loss(y, p)
    assert found.shape == ()
    np.testing.assert_array_equal(found, loss(y.reshape(1, -1), p.reshape(1, -1), axis=1)[0])
    np.testing.assert_allclose(found, 1 - 2 * np.sum(y * p) / (y.sum() + p.sum()), rtol=1e-7)


def test_alpha_weighs_falsely_detected_and_beta_missed_pixels():
    missed = [[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]
    false_positive = [[1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0]]
    options = {"alpha": 7.0, "beta": 3.0, "axis": 1}
    np.testing.assert_allclose(losses.tversky(*missed, **options), [1 - 1 / 4], rtol=1e-7)
    np.testing.assert_allclose(losses.tversky(*false_positive, **options), [1 - 1 / 8], rtol=1e-7)
    old = {"alpha": 3.0, "beta": 7.0, "axis": 1, "alpha_weighs": "false_negatives"}
    for region in (missed, false_positive):
        assert losses.tversky(*region, **old) == losses.tversky(*region, **options)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
def test_the_loss_of_a_whole_batch_has_weight_1_and_rejects_sample_weights(reduction):
    loss = losses.dice(*regions())
    assert [float(x) for x in losses.weighted_sum(loss)] == [float(loss), 1.0]
    assert losses.reduce(loss, None, reduction) == loss
    assert losses.reduce(loss, None, "none") == loss
    for call in (losses.weighted_sum, lambda *x: losses.reduce(*x, reduction)):
        with pytest.raises(
            ValueError,
            match="^a loss of the whole .* no sample_weight: .* the model "
            r"outputs of shape \[batch, 1\], to have the loss of each example$",
        ):
            call(loss, tf.ones([3]))


def test_a_training_step_accepts_both_forms_but_weights_only_with_an_axis():
    y, p = regions()

    def apply_fn(params, model_state, x, training):
        return ModelOutput(tf.sigmoid(x * params))

    start = init_state(tf.constant(1.0, tf.float64), (), sgd(0.5))
    step = train_step(StepConfig(apply_fn, losses.dice, sgd(0.5)))
    state, metrics = step(start, (p, y))
    assert state.params > 1.0
    np.testing.assert_allclose(metrics["loss"].compute(), losses.dice(y, tf.sigmoid(p)))
    with pytest.raises(ValueError, match="give the loss an axis"):
        step(start, (p, y, tf.ones([3])))
    of_images = train_step(StepConfig(apply_fn, lambda y, p: losses.dice(y, p, **IMAGES), sgd(0.5)))
    _, metrics = of_images(start, (p, y, tf.constant([0.0, 2.0, 0.0])))
    expected = losses.dice(y, tf.sigmoid(p), **IMAGES)[1]
    np.testing.assert_allclose(metrics["loss"].compute(), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"beta": -1.0}, "beta must be at least 0"),
        ({"alpha_weighs": "fp"}, "unknown alpha_weighs 'fp'"),
        ({"axis": 3}, "axis must be at least -3 and at most 2, got 3"),
        ({"axis": (1, -4)}, "axis must be at least -3 and at most 2, got -4"),
    ],
)
def test_options_out_of_range_are_rejected(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        losses.tversky(*regions(), **options)
