"""Precision, recall, F1 and the confusion matrix agree with NumPy, also in special cases."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS
from helpers.metrics import CLASSES, ROWS, SCORES, WEIGHTS, confusion_counts, value

import trainlib as tl

precision, recall = tl.metrics.precision, tl.metrics.recall
f1, matrix = tl.metrics.f1_score, tl.metrics.confusion_matrix
FACTORIES = [precision, recall, f1, matrix]


def weighted_fraction(chosen, among, w):
    w = np.broadcast_to(w[:, None], among.shape)
    return np.sum(w * (chosen & among)) / np.sum(w * among)


def test_precision_and_recall_are_fractions_of_predictions_and_of_labels():
    true = ROWS == 1
    for threshold in (0.0, 0.25, 0.5):
        predicted = SCORES > threshold
        for y in (ROWS, CLASSES, CLASSES[:, None], ROWS.astype(bool)):
            assert value(precision(threshold), y, SCORES, WEIGHTS) == pytest.approx(
                weighted_fraction(true, predicted, WEIGHTS), rel=1e-14
            )
            assert value(recall(threshold), y, SCORES, WEIGHTS) == pytest.approx(
                weighted_fraction(predicted, true, WEIGHTS), rel=1e-14
            )


def test_several_thresholds_give_a_vector_and_one_gives_a_scalar():
    levels = [0.0, 0.3, 0.5]
    for metric in (precision, recall):
        several = value(metric(levels), ROWS, SCORES)
        assert several.tolist() == [value(metric(x), ROWS, SCORES) for x in levels]
        assert value(metric([0.3]), ROWS, SCORES).shape == ()
        assert value(metric(np.array(levels)), ROWS, SCORES).tolist() == several.tolist()
        assert value(metric(), ROWS, SCORES) == value(metric(0.5), ROWS, SCORES)


def test_a_score_at_the_threshold_is_negative():
    above = np.nextafter(np.float32(0.3), np.float32(1))
    y_pred = tf.constant([0.3, above], tf.float32)
    assert value(precision(0.3), [1, 1], y_pred) == 1
    assert value(recall(0.3), [1, 1], y_pred) == 0.5
    assert value(recall(0.3), [1, 1], [0.3, 0.4]) == 0.5


@pytest.mark.parametrize("execution", ["eager", "xla"])
def test_top_k_takes_the_first_of_equal_scores(execution):
    y_pred = tf.constant([[0.5, 0.5, 0.5], [0.0, 0.5, 0.0]])

    def counts(k, y_true):
        state = EXECUTIONS[execution](precision(top_k=k).from_model_output)(
            tf.constant(y_true), y_pred
        )
        return [x.numpy().tolist() for x in state]

    assert counts(1, [[1] * 3] * 2) == [[2], [0], [4], [0]]
    assert counts(2, [[1] * 3] * 2) == [[4], [0], [2], [0]]
    # The second row: its 0.5, and of the zeros the first.
    assert counts(2, [0, 2]) == [[1], [3], [1], [1]]
    assert counts(2, [0, 0]) == [[2], [2], [0], [2]]


def test_class_id_selects_one_column():
    for metric in (precision, recall):
        alone = value(metric(0.25, class_id=2), CLASSES, SCORES, WEIGHTS)
        assert alone == value(metric(0.25), CLASSES == 2, SCORES[:, 2], WEIGHTS)
        with pytest.raises(ValueError, match="^class_id must be .* at most 3, got 4"):
            metric(class_id=4).from_model_output(CLASSES, SCORES)
        with pytest.raises(ValueError, match="^top_k must be .* at most 4, got 5"):
            metric(top_k=5).from_model_output(CLASSES, SCORES)


def test_f1_follows_from_the_confusion_matrix():
    counts = confusion_counts(WEIGHTS)
    tp, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    scores = 2 * tp / (true + predicted)
    # The 1e-7 in its denominators are seen where scores are small.
    np.testing.assert_allclose(value(f1("none"), CLASSES, SCORES, WEIGHTS), scores, rtol=2e-6)
    by_average = {
        "macro": scores.mean(),
        "weighted": np.average(scores, weights=true),
        "micro": tp.sum() / true.sum(),
    }
    for average, expected in by_average.items():
        assert value(f1(average), CLASSES, SCORES, WEIGHTS) == pytest.approx(expected, rel=1e-6)
    assert value(f1(), CLASSES, SCORES, WEIGHTS) == value(f1("macro"), CLASSES, SCORES, WEIGHTS)


def test_f1_without_a_threshold_takes_all_largest_scores_but_no_zeros():
    y_pred = [[0.5, 0.5, 0.25], [0.0, 0.0, 0.0]]
    state = f1().from_model_output(np.ones([2, 3]), y_pred)
    assert state.tp.numpy().tolist() == [1, 1, 0]
    assert state.fn.numpy().tolist() == [1, 1, 2]


def test_f1_of_a_single_score_has_threshold_one_half():
    y_true, y_pred = [1, 1, 0, 0, 1], [0.75, 0.25, 0.75, 0.25, 0.5]
    for p in (y_pred, np.reshape(y_pred, (5, 1))):
        state = f1().from_model_output(y_true, p)
        assert [float(x[0]) for x in state] == [1, 1, 2, 1]
        assert value(f1(), y_true, p) == value(f1(threshold=0.5), y_true, p)


@pytest.mark.parametrize("factory", [precision, recall, f1])
def test_no_positive_predictions_or_labels_score_0(factory):
    assert value(factory(), [0, 0, 0], [0.0, 0.25, 0.5]) == 0
    assert value(factory(), [1, 1, 1], [0.75, 0.75, 1.0]) == pytest.approx(1, abs=2e-7)


@pytest.mark.parametrize("execution", ["eager", "xla"])
def test_a_nan_score_is_negative(execution):
    for metric in (precision(), recall([0.0, 0.5]), f1("none")):
        for nan in (tf.fill([3], np.nan), tf.fill([3, 3], np.nan)):
            state = EXECUTIONS[execution](metric.from_model_output)(tf.constant([0, 1, 1]), nan)
            assert not np.any(state.tp)
            assert not np.any(state.fp)
            assert np.all(metric.compute(state) == 0)
            assert np.any(state.fn)


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
def test_invalid_arguments_are_rejected(factory, arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        factory(**arguments)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("shapes", [((3,), (4, 3)), ((4, 2), (4, 3)), ((5,), (4,)), ((4,), ())])
def test_shapes_that_do_not_match_are_rejected(factory, shapes):
    with pytest.raises(ValueError, match="y_true and y_pred must have|needs y_pred of shape"):
        factory().from_model_output(*(np.zeros(shape) for shape in shapes))
