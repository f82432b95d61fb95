"""Per-example accuracies equal those of Keras and reject other shapes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, WITHOUT_XLA

import trainlib as tl

BATCHES, BATCH, K = 40, 8, 5


def scores(seed=0):
    """Classes and scores of batches; the scores are of few values, so that many are ties."""
    rng = np.random.default_rng(seed)
    return rng.integers(K, size=(BATCHES, BATCH)), rng.integers(4, size=(BATCHES, BATCH, K)) / 4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_accuracy_equals_that_of_keras_for_classes_and_one_hot_rows(execution, dtype):
    classes, y_pred = scores()
    y_pred = y_pred.astype(dtype)
    rows = np.eye(K, dtype=dtype)[classes]
    accuracy = EXECUTIONS[execution](tl.metrics.accuracy)
    expected = keras.metrics.sparse_categorical_accuracy(classes, y_pred).numpy()
    assert 0 < expected.mean() < 1
    by_class = accuracy(tf.constant(classes), tf.constant(y_pred))
    assert by_class.dtype == tf.float32
    np.testing.assert_array_equal(by_class, expected)
    np.testing.assert_array_equal(
        accuracy(tf.constant(rows), tf.constant(y_pred)),
        keras.metrics.categorical_accuracy(rows, y_pred),
    )
    np.testing.assert_array_equal(tl.metrics.categorical_accuracy(rows, y_pred), expected)
    np.testing.assert_array_equal(tl.metrics.sparse_categorical_accuracy(classes, y_pred), expected)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_class_indices_may_have_any_dtype_and_a_last_axis(shape, dtype):
    y_true = np.array([0, 1, 2, 2, 1, 0], dtype).reshape(shape)
    y_pred = np.eye(3)[[0, 1, 2, 0, 0, 2]]
    for accuracy in (tl.metrics.accuracy, tl.metrics.sparse_categorical_accuracy):
        assert accuracy(y_true, y_pred).numpy().tolist() == [1, 1, 1, 0, 0, 0]


def test_the_first_of_equal_scores_is_the_largest():
    assert tl.metrics.accuracy([0, 1], [[0.5, 0.5], [0.5, 0.5]]).numpy().tolist() == [1, 0]


@pytest.mark.parametrize("k", range(1, K + 2))
@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_equal_scores_share_a_rank_as_in_keras(execution, k):
    classes, y_pred = scores(1)
    y_pred = y_pred.astype("float32")
    expected = keras.metrics.sparse_top_k_categorical_accuracy(classes, y_pred, k=k).numpy()
    assert expected.all() if k >= K else 0 < expected.mean() < 1
    sparse = EXECUTIONS[execution](
        lambda y, p: tl.metrics.sparse_top_k_categorical_accuracy(y, p, k)
    )
    dense = EXECUTIONS[execution](lambda y, p: tl.metrics.top_k_categorical_accuracy(y, p, k))
    for p in (y_pred, y_pred.astype("float64")):
        np.testing.assert_array_equal(sparse(tf.constant(classes), tf.constant(p)), expected)
        rows = tf.constant(np.eye(K)[classes])
        np.testing.assert_array_equal(dense(rows, tf.constant(p)), expected)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_an_unknown_class_or_a_score_that_is_not_finite_is_never_among_the_first_k(execution):
    y_true = np.array([-1, 3, 0, 1, 1, 1])
    y_pred = np.array([[1, 2, 3]] * 3 + [[1, np.nan, 2], [np.inf, 2, 1], [1, 2, -np.inf]])
    top_2 = EXECUTIONS[execution](
        lambda y, p: tl.metrics.sparse_top_k_categorical_accuracy(y, p, 2)
    )
    assert top_2(y_true, y_pred.astype("float32")).numpy().tolist() == [0] * 6
    peer = keras.metrics.sparse_top_k_categorical_accuracy(y_true, y_pred.astype("float32"), 2)
    assert peer.numpy().tolist() == [0] * 6


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_k_must_be_a_positive_integer(k):
    with pytest.raises((TypeError, ValueError), match="^k must be"):
        tl.metrics.sparse_top_k_categorical_accuracy([0], [[0.5, 0.25]], k)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (3, 2), (1, 3, 2)])
@pytest.mark.parametrize("threshold", [0.5, 0.25, 0.0])
def test_binary_accuracy_equals_that_of_keras_in_the_shape_of_the_scores(shape, threshold):
    y_true = np.array([1, 0, 1, 0, 1, 0]).reshape(shape)
    y_pred = np.array([0.5, 0.5, 0.75, 0.75, 0.25, 0]).reshape(shape)
    ours = tl.metrics.binary_accuracy(y_true, y_pred, threshold)
    peer = keras.metrics.binary_accuracy(y_true, y_pred, threshold)
    assert ours.dtype == tf.float32
    np.testing.assert_array_equal(ours, peer)
    assert ours.shape == shape


def test_binary_accuracy_accepts_labels_without_a_last_axis_and_class_indices():
    by_column = tl.metrics.binary_accuracy([1, 0, 1], [[0.75], [0.75], [0.25]])
    assert by_column.numpy().tolist() == [[1], [0], [0]]
    by_class = tl.metrics.binary_accuracy([1, 0], [[0.75, 0.75], [0.75, 0.25]])
    assert by_class.numpy().tolist() == [[0, 1], [1, 1]]
    # A label between 0 and 1 is never met, as in Keras.
    assert tl.metrics.binary_accuracy([0.5, 0.5], [0.75, 0.25]).numpy().tolist() == [0, 0]


BAD_SHAPES = [
    ((3,), (4, 3)),
    ((1,), (4, 3)),
    ((4, 2), (4, 3)),
    ((4, 3, 1), (4, 3)),
    ((4,), (4, 1)),
    ((4, 1), (4, 1)),
    ((4,), (4,)),
    ((), ()),
]


@pytest.mark.parametrize(("y_true", "y_pred"), BAD_SHAPES)
@pytest.mark.parametrize("name", ["accuracy", "top_k_categorical_accuracy"])
def test_shapes_that_do_not_match_are_rejected(name, y_true, y_pred):
    with pytest.raises(ValueError, match=f"^{name} needs y_pred of shape"):
        getattr(tl.metrics, name)(np.zeros(y_true), np.zeros(y_pred))


def test_targets_of_another_form_are_rejected():
    rows, classes, y_pred = np.eye(3), np.arange(3), np.eye(3)
    for prefix in ("", "top_k_"):
        with pytest.raises(ValueError, match=r"y_true of shape \[batch, ..., K\]; got"):
            getattr(tl.metrics, f"{prefix}categorical_accuracy")(classes, y_pred)
        with pytest.raises(ValueError, match=r"\[batch, ..., 1\]; got .* y_true of \[3, 3\]"):
            getattr(tl.metrics, f"sparse_{prefix}categorical_accuracy")(rows, y_pred)


def test_shapes_may_be_unknown_in_a_graph():
    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None, None])])
    def accuracy(y_true, y_pred):
        return tl.metrics.accuracy(y_true, y_pred)

    assert accuracy([0.0, 1.0], [[2.0, 1.0], [2.0, 1.0]]).numpy().tolist() == [1, 0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_merged_means_equal_those_of_keras_after_every_batch(execution, weighted):
    classes, y_pred = scores()
    weight = np.random.default_rng(1).choice([0, 0.5, 3], size=(BATCHES, BATCH))
    weight[0] = 0
    peer = keras.metrics.SparseCategoricalAccuracy(dtype="float64")

    @EXECUTIONS[execution]
    def add(mean, y, p, w):
        values = tl.metrics.accuracy(y, p)
        return mean.merge(tl.Mean.from_model_output(values, w if weighted else None))

    mean = tl.Mean.empty()
    for y, p, w in zip(classes, y_pred, weight, strict=True):
        mean = add(mean, tf.constant(y), tf.constant(p), tf.constant(w))
        peer.update_state(y, p, w if weighted else None)
        np.testing.assert_allclose(mean.compute(), peer.result(), rtol=1e-12)
    assert isinstance(mean, tl.Mean)
    assert float(mean.count) == (weight.sum() if weighted else classes.size)
