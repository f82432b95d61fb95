"""Statistics of a cross-validation: means with errors, and bias and variance of predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainlib.tools.paired_tests import t_quantile


class FoldScore(NamedTuple):
    """A result over the folds.

    Attributes:
        mean: mean over the folds.
        std: standard deviation over the folds; NaN for one fold.
        standard_error: std / sqrt(folds), which assumes independent folds.
        low: lower end of the confidence interval of the mean.
        high: upper end of the confidence interval of the mean.
    """

    mean: float
    std: float
    standard_error: float
    low: float
    high: float


class BiasVariance(NamedTuple):
    """Squared error of predictions, in two parts.

    Attributes:
        error: mean squared error of a single model; for classes the Brier score.
        bias: squared error of the mean prediction of many models; includes the noise of the
            targets.
        variance: variance of the prediction for an example over models.
    """

    error: float
    bias: float
    variance: float


def fold_score(
    values: Sequence[float], held_out_ratio: float, confidence: float = 0.95
) -> FoldScore:
    """Return the mean of a result over folds, with its confidence interval.

        mean +- t sqrt(1 / n + r) s,    r = held-out examples / training examples

    Folds share most of their training examples, so that their results are correlated. The interval
    uses the corrected variance of Nadeau and Bengio, and is wider than t standard errors.

    Args:
        values: the result of each of n folds.
        held_out_ratio: held-out examples of a fold, divided by its training examples.
        confidence: confidence of the interval, in (0, 1). Default: 0.95.

    Raises:
        ValueError: there are no values.

    Example:
        >>> from trainlib.tools.fold_scores import fold_score
        >>> score = fold_score([0.8, 0.9, 0.85], held_out_ratio=0.5)
        >>> round(score.mean, 2), round(score.standard_error, 4)
        (0.85, 0.0289)
        >>> round(score.low, 3), round(score.high, 3)
        (0.654, 1.046)

    References:
        - Nadeau and Bengio (2003), Inference for the generalization error, Machine Learning 52.
    """
    n = len(values)
    if not n:
        raise ValueError("values must have the result of at least one fold")
    mean = float(np.mean(values))
    if n == 1:
        return FoldScore(mean, *[math.nan] * 4)
    std = float(np.std(values, ddof=1))
    half = t_quantile(confidence, n - 1) * math.sqrt(1 / n + held_out_ratio) * std
    return FoldScore(mean, std, std / math.sqrt(n), mean - half, mean + half)


def bias_and_variance(predictions: np.ndarray, targets: np.ndarray) -> BiasVariance:
    """Return the parts of the squared error of several models' predictions of the same examples.

        variance = mean of 1 / (R - 1) sum_r (p_r - p)^2,    p the mean over the R models
        bias = mean of (p - y)^2 - variance / R

    Their sum is the mean squared error, and both estimates are unbiased.

    Args:
        predictions: predictions [R, N] or [R, N, K] of R models, at least 2.
        targets: targets [N] or [N, K]; for classes one-hot rows.

    Raises:
        ValueError: there is one model only.

    Example:
        >>> from trainlib.tools.fold_scores import bias_and_variance
        >>> bias_and_variance(np.array([[1.0], [3.0]]), np.array([0.0]))
        BiasVariance(error=5.0, bias=3.0, variance=2.0)
    """
    models = len(predictions)
    if models < 2:
        raise ValueError("bias and variance need the predictions of at least two models")
    flat = np.asarray(predictions, np.float64).reshape(models, len(targets), -1)
    y = np.asarray(targets, np.float64).reshape(len(targets), -1)
    error = float(np.mean(np.sum((flat - y) ** 2, axis=-1)))
    variance = float(np.mean(np.sum(np.var(flat, axis=0, ddof=1), axis=-1)))
    return BiasVariance(error, error - variance, variance)
