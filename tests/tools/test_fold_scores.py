"""Means over folds with their intervals, and bias and variance of predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainlib.tools.fold_scores import bias_and_variance, fold_score


def test_the_interval_is_wider_than_that_of_independent_folds():
    """Five folds: t of 4 degrees is 2.776; a fifth of the data is held out, a ratio of 1/4."""
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    score = fold_score(values, held_out_ratio=0.25)
    std = math.sqrt(0.025)
    assert score.mean == pytest.approx(0.3)
    assert score.std == pytest.approx(std)
    assert score.standard_error == pytest.approx(std / math.sqrt(5))
    half = 2.7764451052 * math.sqrt(1 / 5 + 1 / 4) * std
    assert (score.low, score.high) == pytest.approx((0.3 - half, 0.3 + half))
    independent = fold_score(values, held_out_ratio=0)
    assert independent.high - 0.3 == pytest.approx(2.7764451052 * score.standard_error)


def test_one_fold_has_a_mean_only():
    score = fold_score([0.5], 0.25)
    assert score.mean == 0.5 and all(math.isnan(x) for x in score[1:])
    with pytest.raises(ValueError, match="at least one fold"):
        fold_score([], 0.25)


def test_bias_and_variance_are_those_of_the_distribution_of_predictions():
    """Predictions of mean y + 0.5 and standard deviation 2, in many examples."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=20_000)
    found = bias_and_variance(y + 0.5 + 2 * rng.normal(size=(3, 20_000)), y)
    assert found.variance == pytest.approx(4, rel=0.03)
    assert found.bias == pytest.approx(0.25, abs=0.05)
    assert found.error == pytest.approx(found.bias + found.variance)


def test_of_classes_the_error_is_the_brier_score():
    p = np.array([[[0.5, 0.5]], [[0.9, 0.1]]])
    found = bias_and_variance(p, np.array([[1.0, 0.0]]))
    assert found.error == pytest.approx((0.5 + 0.02) / 2)
    with pytest.raises(ValueError, match="at least two models"):
        bias_and_variance(p[:1], np.array([[1.0, 0.0]]))
