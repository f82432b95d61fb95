"""The CTC loss is -log of the sum over all alignments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers.gradients import with_gradient

import trainlib.losses as losses

LABELS = np.array([[1, 2], [1, 1], [2, 0], [0, 0]])


def by_enumeration(labels, z):
    """-log of the sum of the probabilities of all paths that collapse to the labels."""
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(z.shape[-1]), repeat=len(z)):
        collapsed = [k for k, _ in itertools.groupby(path) if k != 0]
        if collapsed == [k for k in labels if k != 0]:
            total += np.prod([p[t, k] for t, k in enumerate(path)])
    return -np.log(total)


def test_the_loss_sums_over_every_alignment(execution):
    z = np.random.default_rng(0).normal(size=(4, 5, 3))
    loss, gradient = with_gradient(losses.ctc, execution)(tf.constant(LABELS), tf.constant(z))
    expected = [by_enumeration(y, x) for y, x in zip(LABELS, z, strict=True)]
    np.testing.assert_allclose(loss, expected, rtol=1e-13)
    # Each step's probabilities sum to 1 before and after, so that its gradients sum to 0.
    np.testing.assert_allclose(tf.reduce_sum(gradient, -1), np.zeros([4, 5]), atol=1e-14)
    moved = z.copy()
    moved[1, 2, 1] += 1e-6
    numeric = (by_enumeration(LABELS[1], moved[1]) - expected[1]) / 1e-6
    np.testing.assert_allclose(gradient[1, 2, 1], numeric, rtol=1e-4)


def test_too_few_time_steps_give_an_infinite_loss_and_a_zero_gradient(execution):
    z = tf.constant(np.random.default_rng(0).normal(size=(2, 2, 3)), tf.float32)
    # Between two labels of one class there has to be a blank.
    loss, gradient = with_gradient(losses.ctc, execution)(tf.constant([[1, 1], [1, 2]]), z)
    assert np.isposinf(loss[0])
    assert np.isfinite(loss[1])
    assert not gradient[0].numpy().any()
    assert gradient[1].numpy().all()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_large_logits_have_finite_losses_and_gradients(execution, dtype):
    z = tf.constant(np.random.default_rng(0).choice([-800.0, 0, 800], size=(4, 5, 3)), dtype)
    loss, gradient = with_gradient(losses.ctc, execution)(tf.constant(LABELS), z)
    assert loss.dtype == (tf.float64 if dtype == "float64" else tf.float32)
    assert gradient.dtype == dtype
    assert np.isfinite(loss.numpy()).all()
    assert np.isfinite(tf.cast(gradient, tf.float32).numpy()).all()


def test_the_number_of_time_steps_may_be_unknown_in_a_graph():
    z = np.random.default_rng(0).normal(size=(4, 5, 3))
    spec = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None, None, 3], tf.float64)]
    loss = tf.function(losses.ctc, input_signature=spec)(LABELS, z)
    np.testing.assert_allclose(loss, losses.ctc(LABELS, z), rtol=1e-14)


@pytest.mark.parametrize(("y", "z"), [([3], [3, 4, 2]), ([2, 1], [3, 4, 2]), ([3, 1], [3, 4])])
def test_shapes_that_do_not_match_are_rejected(y, z):
    with pytest.raises(ValueError, match="^ctc needs y_pred of shape"):
        losses.ctc(tf.ones(y, tf.int32), tf.ones(z))
