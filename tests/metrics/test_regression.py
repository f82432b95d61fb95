"""The root mean squared error and R^2 agree with NumPy, also in special cases."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.metrics import value

import trainlib as tl

SIZE, D = 60, 3
RNG = np.random.default_rng(0)
Y = RNG.normal(size=(SIZE, D)) * [1, 5, 0.1] + [0, 100, 3]
P = Y + RNG.normal(size=(SIZE, D)) * [0.5, 1, 0.2]
W = RNG.choice([0, 0.5, 2], SIZE)
rmse, r2 = tl.metrics.root_mean_squared_error, tl.metrics.r2_score


def numpy_r2(w):
    mean = np.average(Y, axis=0, weights=w)
    spread = np.sum(w[:, None] * (Y - mean) ** 2, axis=0)
    return 1 - np.sum(w[:, None] * (Y - P) ** 2, axis=0) / spread, spread


@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weights"])
def test_metrics_follow_their_equations(weight):
    w = np.ones(SIZE) if weight is None else weight
    score, spread = numpy_r2(w)
    squares = np.sum(w[:, None] * (Y - P) ** 2) / (D * w.sum())
    assert value(rmse(), Y, P, weight) == pytest.approx(np.sqrt(squares), rel=1e-14)
    np.testing.assert_allclose(value(r2("none"), Y, P, weight), score, rtol=1e-11)
    assert value(r2(), Y, P, weight) == pytest.approx(score.mean(), rel=1e-11)
    by_variance = np.sum(spread * score) / np.sum(spread)
    assert value(r2("variance_weighted_average"), Y, P, weight) == pytest.approx(
        by_variance, rel=1e-11
    )


@pytest.mark.parametrize("shape", [(SIZE,), (SIZE, 1)])
def test_a_last_axis_of_length_1_may_be_missing_in_either(shape):
    for metric in (rmse(), r2()):
        whole = value(metric, Y[:, 0], P[:, 0], W)
        assert value(metric, Y[:, :1], P[:, 0].reshape(shape), W) == whole
        assert value(metric, Y[:, 0].reshape(shape), P[:, :1], W) == whole
        assert metric.empty(1)[0].shape in ([], [1])


def test_r2_of_sequences_pools_their_steps():
    parts = Y.reshape(20, 3, D), P.reshape(20, 3, D)
    np.testing.assert_allclose(value(r2("none"), *parts), numpy_r2(np.ones(SIZE))[0], rtol=1e-11)


@pytest.mark.parametrize(
    ("counted", "n"), [("examples", W.sum()), ("targets", D * np.count_nonzero(W))]
)
def test_adjusted_r2_counts_examples_by_their_weights_or_targets(counted, n):
    plain = value(r2(), Y, P, W)
    expected = 1 - (1 - plain) * (n - 1) / (n - 4 - 1)
    found = value(r2(num_regressors=4, counted=counted), Y, P, W)
    assert found == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("num_regressors", [3, 4, 100])
def test_too_few_targets_are_not_adjusted(num_regressors):
    y, p = Y[:4, 0], P[:4, 0]
    assert value(r2(num_regressors=num_regressors), y, p) == value(r2(), y, p)
    assert value(r2(num_regressors=2), y, p) != value(r2(), y, p)


@pytest.mark.parametrize("target", [0.0, 0.1, 1e6 / 3, -7e-9])
@pytest.mark.parametrize("error", [0.0, 0.5])
def test_equal_targets_score_1_if_they_are_predicted_exactly_else_0(target, error):
    y = np.full(1001, target)
    for aggregation in ("uniform_average", "variance_weighted_average", "none"):
        assert value(r2(aggregation), y, y + error) == (error == 0)


def test_a_constant_output_does_not_change_the_others():
    y, p = Y.copy(), P
    y[:, 1] = 0.1
    expected = numpy_r2(np.ones(SIZE))[0] * [1, 0, 1]
    np.testing.assert_allclose(value(r2("none"), y, p), expected, rtol=1e-11)


def test_a_small_variance_with_a_large_mean_is_resolved():
    y = 1e4 + Y[:, 0]
    assert value(r2(), y, y) == 1
    assert value(r2(), y, y + P[:, 0] - Y[:, 0]) == pytest.approx(
        numpy_r2(np.ones(SIZE))[0][0], rel=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"class_aggregation": "mean"}, ValueError, "unknown class_aggregation 'mean'"),
        ({"class_aggregation": None}, ValueError, "unknown class_aggregation None"),
        ({"num_regressors": -1}, ValueError, "num_regressors must be at least 0"),
        ({"counted": "rows"}, ValueError, "unknown counted 'rows': choose from examples"),
        ({"num_regressors": 0.5}, TypeError, "num_regressors must be an integer"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        r2(**arguments)


@pytest.mark.parametrize("shapes", [((4,), (5,)), ((4, 2), (4, 3)), ((4, 2), (4,)), ((), (4,))])
def test_shapes_that_do_not_match_are_rejected(shapes):
    for metric in (rmse(), r2()):
        with pytest.raises(ValueError, match="^y_true and y_pred must have one shape"):
            metric.from_model_output(*(np.zeros(shape) for shape in shapes))
