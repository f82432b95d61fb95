"""Paired tests: by hand, by tables of Student's t, and beside SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainlib.tools.paired_tests import holm, paired_difference, t_p_value, t_quantile


def test_a_difference_by_hand():
    # differences 1, 2, 3, 4: mean 2.5, s^2 = 5/3, t = 2.5 / sqrt(5/12) = sqrt(15)
    found = paired_difference([2.0, 4.0, 6.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert found.pairs == 4 and found.mean == 2.5
    assert found.effect == pytest.approx(2.5 / math.sqrt(5 / 3))
    half = 3.182446305 * math.sqrt(5 / 12)  # t of 3 degrees, 97.5 %
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half), abs=1e-8)
    assert found.p_value == pytest.approx(t_p_value(math.sqrt(15), 3))


@pytest.mark.parametrize(
    ("degrees", "confidence", "expected"),
    [(1, 0.95, 12.7062047), (2, 0.95, 4.30265273), (4, 0.95, 2.77644511), (9, 0.99, 3.24983554)],
)
def test_quantiles_are_those_of_the_tables(degrees, confidence, expected):
    assert t_quantile(confidence, degrees) == pytest.approx(expected, abs=1e-7)
    assert t_p_value(expected, degrees) == pytest.approx(1 - confidence, abs=1e-8)


@pytest.mark.parametrize("t", [0.0, 0.3, -1.0, 5.0])
def test_one_degree_of_freedom_is_the_cauchy_distribution(t):
    assert t_p_value(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(abs(t)), abs=1e-12)


def test_the_test_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    first, second = np.random.default_rng(0).normal(size=(2, 7))
    found, expected = paired_difference(first, second, 0.9), stats.ttest_rel(first, second)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-12)
    interval = expected.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-10)


def test_swapped_methods_have_the_opposite_difference():
    first, second = [1.0, 3.0, 2.0], [2.0, 2.5, 4.0]
    found, swapped = paired_difference(first, second), paired_difference(second, first)
    assert swapped.mean == -found.mean and swapped.effect == -found.effect
    assert (swapped.low, swapped.high) == (-found.high, -found.low)
    assert swapped.p_value == found.p_value


def test_equal_values_do_not_differ():
    found = paired_difference([1.0, 2.0], [1.0, 2.0])
    assert (found.mean, found.low, found.high, found.effect, found.p_value) == (0, 0, 0, 0, 1)


def test_differences_without_a_spread_have_the_p_value_of_their_signs():
    found = paired_difference([1.1, 2.1, 3.1], [1.0, 2.0, 3.0])
    assert found.p_value == 0.25  # all of one sign: 2 of 8
    assert math.isnan(found.low) and math.isnan(found.high) and found.effect == math.inf


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_pair_is_not_tested(values):
    found = paired_difference(values, values)
    assert found.pairs == len(values) and math.isnan(found.p_value) and math.isnan(found.low)


def test_holm_by_hand():
    # 0.005 * 4 = 0.02; 0.01 * 3 = 0.03; 0.03 * 2 = 0.06; 0.04 * 1 is below the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_count_tests_that_were_not_made():
    corrected = holm([0.01, math.nan, 0.02])
    assert corrected[0] == 0.02 and corrected[2] == 0.02 and math.isnan(corrected[1])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="as many values, got 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="confidence"):
        paired_difference([1.0], [1.0], 1.0)
