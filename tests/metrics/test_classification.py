"""Precision, recall, F1 and the confusion matrix, beside NumPy and at their edges."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

SIZE, K = 80, 4
RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, K, SIZE)
ROWS = np.eye(K)[CLASSES]
SCORES = RNG.permuted(np.tile(np.arange(K) / K, (SIZE, 1)), axis=1)
"""Of each row every score is another, and 0.5 is among them."""
W = RNG.choice([0, 0.5, 2], SIZE)
precision, recall = tl.metrics.precision, tl.metrics.recall
f1, matrix = tl.metrics.f1_score, tl.metrics.confusion_matrix
FACTORIES = [precision, recall, f1, matrix]
RUNS = {"eager": lambda f: f, "xla": functools.partial(tf.function, jit_compile=True)}


def value(metric, *arrays):
    return metric.compute(metric.from_model_output(*arrays)).numpy()


def share(chosen, among, w):
    w = np.broadcast_to(w[:, None], among.shape)
    return np.sum(w * (chosen & among)) / np.sum(w * among)


def test_precision_and_recall_are_shares_of_what_is_predicted_and_of_what_is_true():
    true = ROWS == 1
    for threshold in (0.0, 0.25, 0.5):
        predicted = SCORES > threshold
        for y in (ROWS, CLASSES, CLASSES[:, None], ROWS.astype(bool)):
            assert value(precision(threshold), y, SCORES, W) == pytest.approx(
                share(true, predicted, W), rel=1e-14
            )
            assert value(recall(threshold), y, SCORES, W) == pytest.approx(
                share(predicted, true, W), rel=1e-14
            )


def test_several_thresholds_give_a_value_each_and_one_gives_a_number():
    levels = [0.0, 0.3, 0.5]
    for metric in (precision, recall):
        several = value(metric(levels), ROWS, SCORES)
        assert several.tolist() == [value(metric(x), ROWS, SCORES) for x in levels]
        assert value(metric([0.3]), ROWS, SCORES).shape == ()
        assert value(metric(np.array(levels)), ROWS, SCORES).tolist() == several.tolist()
        assert value(metric(), ROWS, SCORES) == value(metric(0.5), ROWS, SCORES)


def test_a_score_at_the_threshold_is_not_predicted():
    above = np.nextafter(np.float32(0.3), np.float32(1))
    y_pred = tf.constant([0.3, above], tf.float32)
    assert value(precision(0.3), [1, 1], y_pred) == 1
    assert value(recall(0.3), [1, 1], y_pred) == 0.5
    assert value(recall(0.3), [1, 1], [0.3, 0.4]) == 0.5


@pytest.mark.parametrize("run", RUNS)
def test_of_the_k_largest_scores_equal_ones_count_from_the_first(run):
    y_pred = tf.constant([[0.5, 0.5, 0.5], [0.0, 0.5, 0.0]])

    def counts(k, y_true):
        record = RUNS[run](precision(top_k=k).from_model_output)(tf.constant(y_true), y_pred)
        return [x.numpy().tolist() for x in record]

    assert counts(1, [[1] * 3] * 2) == [[2], [0], [4]]
    assert counts(2, [[1] * 3] * 2) == [[4], [0], [2]]
    # The second row: its 0.5, and of the zeros the first.
    assert counts(2, [0, 2]) == [[1], [3], [1]]
    assert counts(2, [0, 0]) == [[2], [2], [0]]


def test_a_class_alone_is_a_binary_matter():
    for metric in (precision, recall):
        alone = value(metric(0.25, class_id=2), CLASSES, SCORES, W)
        assert alone == value(metric(0.25), CLASSES == 2, SCORES[:, 2], W)
        with pytest.raises(ValueError, match="^class_id must be .* at most 3, got 4"):
            metric(class_id=4).from_model_output(CLASSES, SCORES)
        with pytest.raises(ValueError, match="^top_k must be .* at most 4, got 5"):
            metric(top_k=5).from_model_output(CLASSES, SCORES)


def numpy_matrix(w):
    counts = np.zeros((K, K))
    np.add.at(counts, (CLASSES, np.argmax(SCORES, axis=-1)), w)
    return counts


def test_the_confusion_matrix_has_true_classes_in_rows():
    for y in (CLASSES, CLASSES[:, None], ROWS):
        np.testing.assert_allclose(value(matrix(), y, SCORES, W), numpy_matrix(W), rtol=1e-14)
    np.testing.assert_array_equal(value(matrix(), CLASSES, SCORES), numpy_matrix(np.ones(SIZE)))


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_of_one_score_the_matrix_is_that_of_no_and_yes(shape):
    y_pred = np.array([0.75, 0.5, 0.25, 0.75]).reshape(shape)
    counts = value(matrix(), [1, 1, 0, 0], y_pred)
    assert counts.tolist() == [[1, 1], [1, 1]]
    assert value(matrix(0.25), [1, 1, 0, 0], y_pred).tolist() == [[1, 1], [0, 2]]
    assert matrix().empty(1).weights.shape == [2, 2]


@pytest.mark.parametrize("run", RUNS)
def test_an_example_of_no_class_is_left_out(run):
    y_true = tf.constant([-1, K, 0, 2**40])
    y_pred = tf.constant(np.eye(K)[[1, 1, 1, 1]])
    counts = RUNS[run](lambda y, p: matrix().from_model_output(y, p).weights)(
        y_true, y_pred
    ).numpy()
    assert counts.tolist() == [[0, 1, 0, 0]] + [[0] * K] * 3
    binary = RUNS[run](lambda y, p: matrix().from_model_output(y, p).weights)(
        y_true, y_pred[:, 1]
    ).numpy()
    assert binary.tolist() == [[0, 1], [0, 0]]


def test_f1_comes_of_the_confusion_matrix():
    counts = numpy_matrix(W)
    tp, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    scores = 2 * tp / (true + predicted)
    # The 1e-7 in its denominators are seen where scores are small.
    np.testing.assert_allclose(value(f1("none"), CLASSES, SCORES, W), scores, rtol=2e-6)
    by_average = {
        "macro": scores.mean(),
        "weighted": np.average(scores, weights=true),
        "micro": tp.sum() / true.sum(),
    }
    for average, expected in by_average.items():
        assert value(f1(average), CLASSES, SCORES, W) == pytest.approx(expected, rel=1e-6)
    assert value(f1(), CLASSES, SCORES, W) == value(f1("macro"), CLASSES, SCORES, W)


def test_f1_without_a_threshold_takes_all_of_the_largest_and_nothing_of_zeros():
    y_pred = [[0.5, 0.5, 0.25], [0.0, 0.0, 0.0]]
    record = f1().from_model_output(np.ones([2, 3]), y_pred)
    assert record.tp.numpy().tolist() == [1, 1, 0]
    assert record.fn.numpy().tolist() == [1, 1, 2]


def test_f1_of_one_score_has_the_threshold_one_half():
    y_true, y_pred = [1, 1, 0, 0, 1], [0.75, 0.25, 0.75, 0.25, 0.5]
    for p in (y_pred, np.reshape(y_pred, (5, 1))):
        record = f1().from_model_output(y_true, p)
        assert [float(x[0]) for x in record] == [1, 1, 2]
        assert value(f1(), y_true, p) == value(f1(threshold=0.5), y_true, p)


@pytest.mark.parametrize("factory", [precision, recall, f1])
def test_what_is_never_predicted_nor_true_scores_0(factory):
    assert value(factory(), [0, 0, 0], [0.0, 0.25, 0.5]) == 0
    assert value(factory(), [1, 1, 1], [0.75, 0.75, 1.0]) == pytest.approx(1, abs=2e-7)


@pytest.mark.parametrize("run", RUNS)
def test_a_score_that_is_no_number_is_not_predicted(run):
    for metric in (precision(), recall([0.0, 0.5]), f1("none")):
        for nan in (tf.fill([3], np.nan), tf.fill([3, 3], np.nan)):
            record = RUNS[run](metric.from_model_output)(tf.constant([0, 1, 1]), nan)
            assert not np.any(record.tp)
            assert not np.any(record.fp)
            assert np.all(metric.compute(record) == 0)
            assert np.any(record.fn)


@pytest.mark.parametrize(
    ("factory", "arguments", "error", "message"),
    [
        (precision, {"thresholds": 1.5}, ValueError, "thresholds must be .* at most 1, got 1.5"),
        (recall, {"thresholds": [0.5, -0.1]}, ValueError, "thresholds must be at least 0"),
        (recall, {"thresholds": []}, ValueError, "thresholds must be one number or more"),
        (precision, {"thresholds": "0.5"}, TypeError, "thresholds must be a number, got '0'"),
        (precision, {"thresholds": ["a"]}, TypeError, "thresholds must be a number, got 'a'"),
        (precision, {"top_k": 0}, ValueError, "top_k must be at least 1"),
        (precision, {"class_id": -1}, ValueError, "class_id must be at least 0"),
        (f1, {"average": "macros"}, ValueError, "unknown average 'macros': did you mean 'macro'"),
        (f1, {"average": None}, ValueError, "unknown average None"),
        (f1, {"threshold": 0.0}, ValueError, "threshold must be above 0"),
        (matrix, {"threshold": float("nan")}, ValueError, "threshold must be finite"),
    ],
)
def test_wrong_arguments_are_refused(factory, arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        factory(**arguments)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("shapes", [((3,), (4, 3)), ((4, 2), (4, 3)), ((5,), (4,)), ((4,), ())])
def test_shapes_that_do_not_go_together_are_refused(factory, shapes):
    with pytest.raises(ValueError, match="y_true and y_pred must have|needs y_pred of shape"):
        factory().from_model_output(*(np.zeros(shape) for shape in shapes))
