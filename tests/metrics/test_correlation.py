"""Correlations over outputs and over examples agree with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.metrics import value

import trainlib as tl

SIZE, D = 40, 3
RNG = np.random.default_rng(0)
Y = RNG.normal(size=(SIZE, D)) * [1, 5, 0.1] + [0, 100, 3]
P = Y + RNG.normal(size=(SIZE, D)) * [0.5, 1, 0.2]
W = RNG.choice([0, 0.5, 2], SIZE)
pearson, concordance = tl.metrics.pearson_correlation, tl.metrics.concordance_correlation


def numpy_correlations(y, p, w):
    """Pearson's and the concordance correlation of weighted numbers."""
    covariance = np.cov(y, p, aweights=w, ddof=0)
    distance = (np.average(y, weights=w) - np.average(p, weights=w)) ** 2
    concordance = 2 * covariance[0, 1] / (np.trace(covariance) + distance)
    return covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), concordance


@pytest.mark.parametrize("weights", [None, W], ids=["plain", "weights"])
def test_correlations_over_the_examples_are_those_of_numpy(weights):
    w = np.ones(SIZE) if weights is None else weights
    expected = np.mean([numpy_correlations(Y[:, i], P[:, i], w) for i in range(D)], axis=0)
    for metric, right in zip((pearson, concordance), expected, strict=True):
        assert value(metric(axis=0), Y, P, weights) == pytest.approx(right, rel=1e-6)
    one = value(pearson(axis=0), Y[:, 0], P[:, :1], weights)
    assert one == pytest.approx(numpy_correlations(Y[:, 0], P[:, 0], w)[0], rel=1e-12)


def test_correlations_over_the_outputs_are_averaged_over_the_examples():
    found = [numpy_correlations(y, p, np.ones(D)) for y, p in zip(Y, P, strict=True)]
    expected = np.average(found, axis=0, weights=W)
    for metric, right in zip((pearson, concordance), expected, strict=True):
        assert value(metric(), Y, P, W) == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3])
def test_a_constant_has_no_correlation(constant):
    for metric in (pearson(axis=0), concordance(axis=0)):
        assert value(metric, Y[:, 0], np.full(SIZE, constant)) == pytest.approx(0, abs=1e-12)
    assert value(pearson(), Y, np.full((SIZE, D), 0.25)) == 0


@pytest.mark.parametrize("outputs", [2, 3, 7, 1000])
def test_examples_in_which_nothing_varies_have_no_correlation(outputs):
    constants = RNG.normal(size=(2, SIZE, 1)) * [[[1e-6]], [[1e9]]]
    y, p = np.repeat(constants, outputs, axis=-1)
    assert value(pearson(), y, p) == 0
    varies = np.arange(outputs)[None] * 1e-9
    assert value(pearson(), 1 + varies, 3 + varies) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("axis", [-1, 0])
def test_a_prediction_that_is_not_a_number_shows_in_the_correlation(axis):
    p = P.copy()
    p[2, 1] = np.nan
    assert np.isnan(value(pearson(axis), Y, p))


def test_one_output_needs_the_axis_of_the_examples():
    for metric in (pearson(), concordance()):
        with pytest.raises(ValueError, match="_correlation over the outputs .* give axis=0"):
            metric.from_model_output(Y[:, 0], P[:, :1])
    with pytest.raises(ValueError, match="^axis must be at least -1 and at most 0, got 1"):
        pearson(axis=1)


def test_the_cosine_similarity_is_the_negative_of_the_loss():
    np.testing.assert_array_equal(
        tl.metrics.cosine_similarity(Y, P), -tl.losses.cosine_similarity(Y, P)
    )
