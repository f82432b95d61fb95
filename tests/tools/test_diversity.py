"""Measures of diversity and the gain of an ensemble, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

import trainlib as tl

RNG = np.random.default_rng(1)


def test_disagreement_is_the_mean_over_pairs():
    # pairs: 1 of 4, 2 of 4, 3 of 4
    classes = [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]]
    assert tl.disagreement(classes) == pytest.approx((1 + 2 + 3) / 12)


def test_one_model_does_not_disagree():
    assert tl.disagreement([[0, 1, 2]]) == 0


def test_the_error_is_the_mean_error_minus_the_ambiguity():
    f, y, w = RNG.normal(size=(3, 50, 2)), RNG.normal(size=(50, 2)), [1, 2, 5]
    found = tl.ambiguity_decomposition(f, y, w)
    mean = np.tensordot(np.array(w) / 8, f, 1)
    assert found.error == pytest.approx(((mean - y) ** 2).sum(1).mean())
    assert found.error == pytest.approx(found.mean_error - found.ambiguity)
    assert found.ambiguity > 0


def test_equal_models_have_no_ambiguity():
    f = np.tile(RNG.normal(size=(1, 9, 1)), (4, 1, 1))
    assert tl.ambiguity_decomposition(f, np.zeros(9)).ambiguity == pytest.approx(0)


def test_the_error_of_probabilities_is_the_brier_score():
    p = RNG.dirichlet(np.ones(3), (2, 40))
    y = RNG.integers(0, 3, 40)
    expected = float(np.mean(tl.metrics.brier_score(y, p.mean(0))))
    assert tl.ambiguity_decomposition(p, y).error == pytest.approx(expected, rel=1e-6)


def test_the_gain_is_that_of_the_pairs_of_losses():
    p = np.array([[[0.5, 0.5], [0.25, 0.75]], [[0.5, 0.5], [0.75, 0.25]]])
    found = tl.ensemble_gain(p, p.mean(0), [0, 0])
    first, second = 0.0, -0.5 * np.log(0.25 * 0.75) + np.log(0.5)
    assert found.gain == pytest.approx((first + second) / 2)
    assert found.standard_error == pytest.approx(second / 2)  # std of two numbers / sqrt 2
