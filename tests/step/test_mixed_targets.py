"""Targets of mixed examples: their weights, their losses and their metrics."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.step.mixed_targets import MixedTargets, mix_targets, takes_mixed_targets

FIRST, SECOND = tf.constant([0, 1, 2]), tf.constant([1, 1, 0])
SHARE = tf.constant([1.0, 0.75, 0.25])
LOGITS = tf.constant([[2.0, 0, 0], [0, 1, 0], [0, 0, 3]])
crossentropy = tl.registry.lookup("loss", "sparse_categorical_crossentropy")


def config(loss, **metrics):
    model = lambda params, state, x, training: tl.ModelOutput(x)  # noqa: E731
    return takes_mixed_targets(tl.StepConfig(model, loss, metrics=metrics))


def test_weights_count_for_both_targets():
    w, other = np.array([[1.0, 0.0, 2.0], [3.0, 5.0, 0.0]], "f4")
    mixed, weight = mix_targets((FIRST, w), (SECOND, other), SHARE)
    share = SHARE.numpy()
    np.testing.assert_allclose(weight, share * w + (1 - share) * other)
    # weight * loss is the sum of the weighted losses of both targets.
    np.testing.assert_allclose(weight * mixed.share, share * w)
    (alone,) = mix_targets((FIRST,), (SECOND,), SHARE)
    np.testing.assert_array_equal(alone.share, share)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_weights_that_are_not_floating_do_not_round_the_share(dtype):
    w, other = np.array([1, 0, 1], dtype), np.array([1, 1, 1], dtype)
    mixed, weight = mix_targets((FIRST, w), (SECOND, other), SHARE)
    np.testing.assert_array_equal(weight, [1, 0.25, 1])
    np.testing.assert_array_equal(mixed.share, [1, 0, 0.25])


def test_weights_of_the_steps_of_a_sequence():
    w, other = np.ones((3, 4), "f4"), np.zeros((3, 4), "f4")
    mixed, weight = mix_targets((FIRST, w), (SECOND, other), SHARE)
    np.testing.assert_allclose(weight, np.broadcast_to(SHARE[:, None], (3, 4)))
    np.testing.assert_allclose(mixed.share, np.ones((3, 4)))


def test_the_loss_is_that_of_soft_targets():
    def loss(y, p):
        return crossentropy(y, p, from_logits=True)

    mixed = config(loss).loss_fn(MixedTargets(FIRST, SECOND, SHARE), LOGITS)
    s = SHARE.numpy()[:, None]
    soft = s * np.eye(3)[FIRST.numpy()] + (1 - s) * np.eye(3)[SECOND.numpy()]
    expected = tl.losses.categorical_crossentropy(soft, LOGITS, from_logits=True)
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)
    np.testing.assert_array_equal(config(loss).loss_fn(FIRST, LOGITS), loss(FIRST, LOGITS))


def test_metrics_are_those_of_the_target_with_the_larger_share():
    def is_zero(y_true, y_pred):
        return tf.cast(y_true == 0, tf.float32)

    f1 = tl.metrics.f1_score()
    metrics = config(crossentropy, zero=is_zero, f1=f1).metrics
    targets = MixedTargets(FIRST, SECOND, SHARE)
    np.testing.assert_array_equal(metrics["zero"](targets, LOGITS), [1, 0, 1])
    found, expected = (
        f1.compute(metric.from_model_output(y, LOGITS))
        for metric, y in ((metrics["f1"], targets), (f1, tf.constant([0, 1, 0])))
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "loss",
    [
        lambda y, p: tf.reduce_mean(p),
        lambda y, p: crossentropy(y, p, from_logits=True, ignore_class=2),
    ],
)
def test_losses_that_cannot_be_mixed_are_refused(loss):
    with pytest.raises(ValueError, match="augment: examples cannot be mixed under a loss"):
        config(loss).loss_fn(MixedTargets(FIRST, SECOND, SHARE), LOGITS)
