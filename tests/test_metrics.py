"""Metrics are those of Keras, and the records of parts merge into the record of the whole."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

BATCHES, BATCH, K = 100, 8, 5
RUNS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f),
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def scores(seed=0):
    """Classes and scores of 100 batches; the scores are of few values, so that many are ties."""
    rng = np.random.default_rng(seed)
    return rng.integers(K, size=(BATCHES, BATCH)), rng.integers(4, size=(BATCHES, BATCH, K)) / 4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("run", RUNS)
def test_accuracy_is_that_of_keras_for_classes_and_one_hot_rows(run, dtype):
    classes, y_pred = scores()
    y_pred = y_pred.astype(dtype)
    rows = np.eye(K, dtype=dtype)[classes]
    accuracy = RUNS[run](tl.metrics.accuracy)
    expected = keras.metrics.sparse_categorical_accuracy(classes, y_pred).numpy()
    assert 0 < expected.mean() < 1
    by_class = accuracy(tf.constant(classes), tf.constant(y_pred))
    assert by_class.dtype == tf.float32
    np.testing.assert_array_equal(by_class, expected)
    np.testing.assert_array_equal(
        accuracy(tf.constant(rows), tf.constant(y_pred)),
        keras.metrics.categorical_accuracy(rows, y_pred),
    )


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_classes_may_be_of_any_dtype_and_with_or_without_a_last_axis(shape, dtype):
    y_true = np.array([0, 1, 2, 2, 1, 0], dtype).reshape(shape)
    y_pred = np.eye(3)[[0, 1, 2, 0, 0, 2]]
    assert tl.metrics.accuracy(y_true, y_pred).numpy().tolist() == [1, 1, 1, 0, 0, 0]


def test_of_equal_scores_the_first_is_the_largest():
    assert tl.metrics.accuracy([0, 1], [[0.5, 0.5], [0.5, 0.5]]).numpy().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [
        ((3,), (4, 3)),
        ((1,), (4, 3)),
        ((4, 2), (4, 3)),
        ((4, 3, 1), (4, 3)),
        ((4,), (4, 1)),
        ((4, 1), (4, 1)),
        ((4,), (4,)),
        ((), ()),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(y_true, y_pred):
    with pytest.raises(ValueError, match="accuracy needs y_pred of shape"):
        tl.metrics.accuracy(np.zeros(y_true), np.zeros(y_pred))


def test_shapes_may_be_unknown_while_a_graph_is_traced():
    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None, None])])
    def accuracy(y_true, y_pred):
        return tl.metrics.accuracy(y_true, y_pred)

    assert accuracy([0.0, 1.0], [[2.0, 1.0], [2.0, 1.0]]).numpy().tolist() == [1, 0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("run", RUNS)
def test_merged_means_are_those_of_keras_after_every_batch(run, weighted):
    classes, y_pred = scores()
    weight = np.random.default_rng(1).choice([0, 0.5, 3], size=(BATCHES, BATCH))
    weight[0] = 0
    peer = keras.metrics.SparseCategoricalAccuracy(dtype="float64")

    @RUNS[run]
    def add(mean, y, p, w):
        values = tl.metrics.accuracy(y, p)
        return mean.merge(tl.Mean.of(values, w if weighted else None))

    mean = tl.Mean.empty()
    for y, p, w in zip(classes, y_pred, weight, strict=True):
        mean = add(mean, tf.constant(y), tf.constant(p), tf.constant(w))
        peer.update_state(y, p, w if weighted else None)
        np.testing.assert_allclose(mean.result(), peer.result(), rtol=1e-12)
    assert isinstance(mean, tl.Mean)
    assert float(mean.count) == (weight.sum() if weighted else classes.size)


def test_unequal_parts_merge_in_any_order_into_the_record_of_the_whole():
    rng = np.random.default_rng(0)
    values, weight = rng.normal(size=100), rng.choice([0, 1, 3.5], size=100)
    parts = [
        tl.Mean.of(v, w)
        for v, w in zip(np.split(values, [1, 40, 97]), np.split(weight, [1, 40, 97]), strict=True)
    ]
    a, b, c, d = parts
    for mean in (a.merge(b).merge(c).merge(d), d.merge(b.merge(a)).merge(c)):
        np.testing.assert_allclose(mean, tl.Mean.of(values, weight), rtol=1e-12)
    expected = np.average(values, weights=weight)
    np.testing.assert_allclose(tl.Mean.of(values, weight).result(), expected, rtol=1e-12)


def test_a_record_of_nothing_changes_nothing_and_has_the_result_0():
    empty, mean = tl.Mean.empty(), tl.Mean.of([1.0, 4.0])
    assert [float(x) for x in empty.merge(mean)] == [float(x) for x in mean] == [5, 2]
    assert empty.result() == 0
    assert tl.Mean.of(tf.zeros([0])).result() == 0
    assert tl.Mean.of([1.0, 2.0], [0.0, 0.0]).result() == 0


def test_the_weight_of_an_example_is_that_of_each_of_its_values():
    mean = tl.Mean.of([[1.0, 3.0], [5.0, 7.0]], [1.0, 3.0])
    assert (float(mean.total), float(mean.count)) == (40, 8)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int32", "bool"])
def test_a_record_is_float64_whatever_the_values(dtype):
    # In bfloat16 a sum of ones stops at 256; an integer dtype would cut the weights to 0.
    mean = tl.Mean.of(tf.cast(tf.ones([1000]), dtype), tf.fill([1000], 0.5))
    assert (mean.total.dtype, mean.count.dtype) == (tf.float64, tf.float64)
    assert (float(mean.total), float(mean.count)) == (500, 500)


def test_counts_go_on_beyond_the_integers_of_float32():
    mean = tl.Mean(tf.constant(2.0**24, tf.float64), tf.constant(2.0**24, tf.float64))
    merged = mean.merge(tl.Mean.of([1.0]))
    assert (float(merged.total), float(merged.count)) == (2**24 + 1, 2**24 + 1)


@pytest.mark.parametrize(
    ("name", "peer"),
    [("mean_squared_error", "MeanSquaredError"), ("mean_absolute_error", "MeanAbsoluteError")],
)
def test_error_metrics_are_those_of_keras(name, peer):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=(2, BATCHES, BATCH, K))
    weight = rng.choice([0, 0.5, 3], size=(BATCHES, BATCH))
    peer, mean = getattr(keras.metrics, peer)(dtype="float64"), tl.Mean.empty()
    for y, p, w in zip(y_true, y_pred, weight, strict=True):
        peer.update_state(y, p, w)
        mean = mean.merge(tl.Mean.of(getattr(tl.metrics, name)(y, p), w))
        np.testing.assert_allclose(mean.result(), peer.result(), rtol=1e-12)
