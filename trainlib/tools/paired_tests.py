"""Paired tests of the differences between two methods that ran with the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

_STEPS = 200
"""Number of bisection steps for a quantile, more than the binary digits of float64."""


class PairedDifference(NamedTuple):
    """The mean difference of paired values, and the result of a paired t-test.

    Attributes:
        pairs: number of pairs.
        mean: mean of the differences; NaN without pairs.
        low: lower end of the confidence interval of the mean; NaN with fewer than two pairs.
        high: upper end of the confidence interval; NaN with fewer than two pairs.
        effect: effect size, the mean divided by the standard deviation of the differences.
        p_value: probability of a mean at least as far from 0 if there is no difference; NaN with
            fewer than two pairs.
    """

    pairs: int
    mean: float
    low: float
    high: float
    effect: float
    p_value: float


def paired_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> PairedDifference:
    """Return the mean of `first - second`, with a paired t-test.

        t = mean / (s / sqrt(n)),    s the standard deviation of the differences, n - 1 degrees

    The test assumes normally distributed differences. With few pairs it detects only differences
    that are large compared with their spread: for p < 0.05 the effect must be above 9 for 2 pairs,
    2.5 for 3, 1.2 for 5, 0.72 for 10.

    Args:
        first: values of the first method, one for each seed.
        second: values of the second method for the same seeds.
        confidence: confidence level of the interval, in (0, 1). Default: 0.95.

    Returns:
        A `PairedDifference`. If all differences are equal and not 0, the spread cannot be
        estimated: the p-value is that of a sign test, 2 ** (1 - pairs), and the interval is NaN.

    Raises:
        ValueError: different numbers of values, or a confidence out of range.

    Example:
        >>> from trainlib.tools.paired_tests import paired_difference
        >>> found = paired_difference([3.0, 4.0, 5.0], [2.0, 2.0, 2.0])
        >>> found.mean, found.effect, round(found.p_value, 4)
        (2.0, 2.0, 0.0742)
        >>> round(found.low, 3), round(found.high, 3)
        (-0.484, 4.484)

    References:
        - Student (1908), The probable error of a mean, Biometrika 6.
    """
    if len(first) != len(second):
        raise ValueError(f"pairs need as many values, got {len(first)} and {len(second)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    pairs = len(differences)
    mean = float(differences.mean()) if pairs else math.nan
    if pairs < 2:
        return PairedDifference(pairs, mean, math.nan, math.nan, math.nan, math.nan)
    spread = float(differences.std(ddof=1))
    if spread <= 1e-12 * abs(mean):
        p_value = 2.0 ** (1 - pairs) if mean else 1.0
        bound = math.nan if mean else 0.0
        effect = math.copysign(math.inf, mean) if mean else 0.0
        return PairedDifference(pairs, mean, bound, bound, effect, p_value)
    error = spread / math.sqrt(pairs)
    half = t_quantile(confidence, pairs - 1) * error
    p_value = t_p_value(mean / error, pairs - 1)
    return PairedDifference(pairs, mean, mean - half, mean + half, mean / spread, p_value)


def t_p_value(t: float, degrees: int) -> float:
    """Return the probability that a Student's t variable is at least as far from 0 as t.

        p = I(n / (n + t^2); n / 2, 1 / 2)    with the regularized incomplete beta function

    Args:
        t: the statistic.
        degrees: degrees of freedom n, at least 1.

    Example:
        >>> from trainlib.tools.paired_tests import t_p_value
        >>> round(t_p_value(1.0, 1), 6)
        0.5
    """
    n = tf.constant(degrees, tf.float64)
    t2 = tf.constant(t, tf.float64) ** 2
    return float(tf.math.betainc(n / 2, tf.constant(0.5, tf.float64), n / (n + t2)))


def t_quantile(confidence: float, degrees: int) -> float:
    """Return the two-sided quantile of Student's t distribution: P(|t| <= value) = confidence.

    Args:
        confidence: the probability, in (0, 1).
        degrees: degrees of freedom, at least 1.

    Example:
        >>> from trainlib.tools.paired_tests import t_quantile
        >>> round(t_quantile(0.95, 4), 4)
        2.7764
    """
    low, high = 0.0, 1.0
    while t_p_value(high, degrees) > 1 - confidence:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if t_p_value(middle, degrees) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's method.

    The smallest of m p-values is multiplied by m, the next one by m - 1, and so on; the results are
    made non-decreasing and at most 1. If every result below 0.05 is called a difference, the
    probability of at least one mistake is below 0.05.

    Args:
        p_values: p-values of all tests; NaN for a test that was not made, which stays NaN.

    Example:
        >>> from trainlib.tools.paired_tests import holm
        >>> [round(p, 4) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]

    References:
        - Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6.
    """
    made = sorted((p, k) for k, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, k) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * p))
        corrected[k] = largest
    return corrected
