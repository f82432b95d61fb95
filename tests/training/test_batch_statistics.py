"""Moments of a batch in parts, without a strategy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainlib.training.batch_statistics import (
    ReplicaPart,
    batch_moments,
    has_batch_norm,
    on_replica,
    synchronize,
)


def moments_of(parts, axes=(0,), counted=None, extra=0.0):
    """The moments that each part computes, given the statistics of the others."""
    counted = counted or [None] * len(parts)
    handed = []

    def keep(tree):
        handed.append(tree)
        return tree

    def run(all_reduce):
        return [
            batch_moments(
                tf.constant(x),
                list(axes),
                mask,
                ReplicaPart(i, len(parts), all_reduce, None),
                extra,
            )
            for i, (x, mask) in enumerate(zip(parts, counted, strict=True))
        ]

    run(keep)
    return run(lambda _: tf.add_n(handed))


def test_moments_are_those_of_all_parts_on_each():
    x = np.random.default_rng(0).normal(size=(12, 5))
    for mean, variance in moments_of([x[:1], x[1:3], x[3:]]):
        np.testing.assert_allclose(mean, x.mean(0), rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(variance, x.var(0), rtol=1e-14)


def test_moments_ignore_uncounted_values_and_empty_parts():
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    counted = [np.array([[c], [c], [c], [False]]) for c in (True, True, False)]
    whole = x[:2, :3].reshape(-1, 5)
    for mean, variance in moments_of(list(x), counted=counted):
        np.testing.assert_allclose(mean, whole.mean(0), rtol=1e-13)
        np.testing.assert_allclose(variance, whole.var(0), rtol=1e-13)


def test_a_large_mean_does_not_cancel():
    x = (np.random.default_rng(0).normal(size=(64, 3)) + 4096).astype("float32")
    (_, variance), _ = moments_of([x[:32], x[32:]])
    exact = x.astype("float64").var(0)
    np.testing.assert_allclose(variance, exact, rtol=1e-3)
    assert np.max(np.abs((x**2).mean(0) - x.mean(0) ** 2 - exact)) > 0.1


def test_moments_of_float16_are_taken_in_float32():
    x = np.full((4, 2), 300, "float16")
    (mean, variance), _ = moments_of([x, -x])
    assert mean.dtype == variance.dtype == tf.float16
    np.testing.assert_array_equal(mean, [0, 0])
    assert np.isinf(variance).all()


def test_rows_other_than_those_of_the_batch_are_refused():
    layer = keras.layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((2,)), layer])
    synchronize(model)
    part = ReplicaPart(0, 1, lambda tree: tree, tf.constant([True, False, True]))
    with pytest.raises(ValueError, match="'norm' normalizes 6 rows where the batch has 3"):
        with on_replica(part):
            layer(tf.ones([6, 2]), training=True)


def test_layers_are_unchanged_after_an_error():
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    synchronize(model)
    x = tf.constant([[1.0, 2.0], [3.0, 6.0]])
    before = model(x, training=True).numpy()
    with pytest.raises(ZeroDivisionError), on_replica(ReplicaPart(0, 1, lambda tree: tree, None)):
        raise ZeroDivisionError
    np.testing.assert_array_equal(model(x, training=True), before)


def test_activity_regularizers_are_refused():
    layer = keras.layers.Dense(2, activity_regularizer="l2", name="hidden")
    with pytest.raises(ValueError, match="layer 'hidden': an activity_regularizer sums over"):
        synchronize(keras.Sequential([keras.Input((3,)), layer]))


def test_a_prepared_layer_is_unchanged_outside_replicas():
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    x = tf.reshape(tf.range(12.0), [4, 3])
    before = model(x, training=True).numpy()
    synchronize(model)
    assert (model(x, training=True).numpy() == before).all()
    assert has_batch_norm(model)
    assert not has_batch_norm(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]))
