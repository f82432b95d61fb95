"""The area under a curve: buckets, exact values and special cases."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS
from helpers.metrics import value

import trainlib as tl

SIZE = 300
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, SIZE)
P = np.clip(RNG.normal(0.4 + 0.2 * Y, 0.25), 0, 1)
W = RNG.choice([0, 0.5, 2], SIZE)
auc = tl.metrics.auc


def rank_statistic(y, p, w):
    """The weight of the pairs of a positive and a negative in which the positive is above."""
    above = (p[y == 1][:, None] > p[y == 0]) + 0.5 * (p[y == 1][:, None] == p[y == 0])
    pairs = w[y == 1][:, None] * w[y == 0]
    return np.sum(above * pairs) / np.sum(pairs)


def test_scores_in_separate_buckets_have_the_area_of_their_ranks():
    p = RNG.permutation(SIZE) / SIZE + 1e-4
    p[:40] = p[40:80]
    expected = rank_statistic(Y, p, W)
    assert value(auc(SIZE + 1), Y, p, W) == pytest.approx(expected, rel=1e-13)
    assert abs(value(auc(11), Y, p, W) - expected) > 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("execution", ["eager", "xla"])
@pytest.mark.parametrize("num_thresholds", [2, 3, 50, 200])
def test_buckets_hold_the_scores_between_their_thresholds(num_thresholds, execution, dtype):
    p = P.astype(dtype)
    state = EXECUTIONS[execution](auc(num_thresholds).from_model_output)(
        tf.constant(Y), tf.constant(p), tf.constant(W)
    )
    levels = np.arange(num_thresholds) / (num_thresholds - 1)
    levels[0], levels[-1] = -1, 2
    for y, sums in zip((1, 0), state, strict=True):
        above = np.sum(W * ((p > levels[:, None]) & (y == Y)), axis=1)
        np.testing.assert_allclose(np.cumsum(sums[::-1, 0])[::-1][1:], above, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("execution", ["eager", "xla"])
def test_scores_at_the_thresholds_fall_into_the_buckets_of_keras(execution, dtype):
    p = (np.arange(200) / 199).astype(dtype)
    y = np.arange(200) % 2
    floatx = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        peer = keras.metrics.AUC(dtype=dtype)
        peer.update_state(y, p)
        theirs = np.asarray(peer.true_positives), np.asarray(peer.false_positives)
    finally:
        keras.config.set_floatx(floatx)
    state = EXECUTIONS[execution](auc().from_model_output)(tf.constant(y), tf.constant(p))
    for ours, sums in zip(state, theirs, strict=True):
        np.testing.assert_array_equal(np.cumsum(ours[::-1, 0])[::-1][1:], sums)


@pytest.mark.parametrize("curve", ["ROC", "PR"])
def test_an_interpolated_area_is_between_those_of_smaller_and_larger_ends(curve):
    small, middle, large = (
        value(auc(20, curve, method), Y, P, W)
        for method in ("minoring", "interpolation", "majoring")
    )
    assert small < middle < large


@pytest.mark.parametrize(("p", "expected"), [(Y * 1.0, 1.0), (1.0 - Y, 0.0), (Y * 0 + 0.3, 0.5)])
def test_correct_wrong_and_equal_scores_have_the_areas_1_0_and_one_half(p, expected):
    assert value(auc(), Y, p, W) == pytest.approx(expected, abs=1e-15)


def test_the_precision_of_equal_scores_is_the_fraction_of_positives():
    fraction = np.sum(W * Y) / np.sum(W)
    for method in ("interpolation", "minoring"):
        ours = value(auc(curve="PR", summation_method=method), Y, Y * 0 + 0.3, W)
        assert ours == pytest.approx(fraction if method == "interpolation" else 0, rel=1e-14)


@pytest.mark.parametrize("curve", ["ROC", "PR"])
def test_the_scale_of_the_weights_does_not_matter(curve):
    for method in ("interpolation", "minoring", "majoring"):
        metric = auc(curve=curve, summation_method=method)
        assert value(metric, Y, P, 8 * W) == pytest.approx(value(metric, Y, P, W), rel=1e-14)


@pytest.mark.parametrize(("label", "of_roc", "of_pr"), [(0, 0, 0), (1, 0, 1)])
def test_a_single_label_has_no_area_under_the_roc_curve(label, of_roc, of_pr):
    y = np.full(SIZE, label)
    assert value(auc(), y, P) == of_roc
    assert value(auc(curve="PR"), y, P) == pytest.approx(of_pr, rel=1e-14)


def test_multi_label_averages_the_columns_and_otherwise_they_are_pooled():
    y = np.stack([Y, Y[::-1], 1 - Y], axis=1)
    p = np.stack([P, P, P**2], axis=1)
    for curve in ("ROC", "PR"):
        columns = [value(auc(curve=curve), y[:, i], p[:, i], W) for i in range(3)]
        ours = value(auc(curve=curve, multi_label=True), y, p, W)
        assert ours == pytest.approx(np.mean(columns), rel=1e-14)
        flat = value(auc(curve=curve), y.ravel(), p.ravel(), np.repeat(W, 3))
        assert value(auc(curve=curve), y, p, W) == pytest.approx(flat, rel=1e-14)


def test_class_indices_count_as_one_hot_rows():
    classes, p = RNG.integers(0, 3, SIZE), RNG.random((SIZE, 3))
    rows = np.eye(3)[classes]
    assert value(auc(), classes, p, W) == value(auc(), rows, p, W)
    assert value(auc(), classes[:, None], p, W) == value(auc(), rows, p, W)


@pytest.mark.parametrize("execution", ["eager", "xla"])
def test_scores_outside_0_and_1_count_as_the_ends(execution):
    p = tf.constant([-3.0, 7.0, np.inf, -np.inf, np.nan])
    state = EXECUTIONS[execution](auc(3).from_model_output)(tf.ones([5], tf.int64), p)
    assert state.positives[:, 0].numpy().tolist() == [0, 3, 2, 0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_thresholds": 1}, ValueError, "num_thresholds must be at least 2"),
        ({"num_thresholds": 2.5}, TypeError, "num_thresholds must be an integer"),
        ({"thresholds": [0.5, 1.5]}, ValueError, "thresholds must be .* at most 1, got 1.5"),
        ({"label_weights": [-1.0]}, ValueError, "label_weights must be at least 0"),
        ({"curve": "RoC"}, ValueError, "unknown curve 'RoC': did you mean 'ROC'"),
        ({"summation_method": "minor"}, ValueError, "unknown summation_method 'minor': did you"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        auc(**arguments)
