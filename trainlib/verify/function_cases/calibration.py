"""Cases of the metrics of probabilities: merged states of uneven parts, beside their equations."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

import trainlib.registry as registry
from trainlib.verify.case import EQUATION, FunctionCase
from trainlib.verify.function_cases.metric_data import (
    CLASSES,
    CUTS,
    Data,
    column,
    distributions,
    fine_binary,
    probabilities,
)
from trainlib.verify.function_cases.metric_peers import inputs_of, results_in_parts
from trainlib.verify.problem import Arrays

Equation = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
"""`(y, p, weight) -> result`, with the rows of the classes of K columns, or labels of one."""


def _rows(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities as columns, one or K."""
    p = y_pred.reshape(len(y_pred), -1).astype(np.float64)
    if p.shape[1] > 1 and y_true.ndim == 1:
        y_true = np.eye(CLASSES)[y_true]
    return y_true.reshape(p.shape).astype(np.float64), p


def _calibration_error(y: np.ndarray, p: np.ndarray, w: np.ndarray, num_bins: int = 15) -> float:
    """Return the sum over the bins of weight times |accuracy - confidence|."""
    one = p.shape[1] == 1
    confidence = p[:, 0] if one else p.max(1)
    correct = y[:, 0] if one else y.argmax(1) == p.argmax(1)
    total = 0.0
    for m in range(num_bins):
        low, high = m / num_bins, (m + 1) / num_bins
        inside = (confidence <= high) & ((confidence > low) | (m == 0))
        total += abs(float((w * (correct - confidence))[inside].sum()))
    return total / float(w.sum())


def _brier_score(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    return float((w * ((p - y) ** 2).sum(1)).sum() / w.sum())


def _log_loss(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    losses = np.where(y > 0, -y * np.log(np.where(y > 0, p, 1)), 0)
    if p.shape[1] == 1:
        losses += np.where(y < 1, -(1 - y) * np.log(np.where(y < 1, 1 - p, 1)), 0)
    return float((w * losses.sum(1)).sum() / w.sum())


def _by_hand(
    equation: Equation, dtype: str, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray
) -> Arrays:
    """Return the results of an equation without and with weights."""
    rows = _rows(y_true, y_pred)
    ones = np.ones(len(weight))
    return {
        "result": np.asarray(equation(*rows, ones)),
        "weighted": np.asarray(equation(*rows, weight.astype(np.float64))),
    }


def _inner(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels and probabilities that are neither 0 nor 1, of shape [batch, 1]."""
    y, p = column(rng, dtype)
    return y, np.clip(p, 0.0625, 0.9375)


def _case(name: str, form: str, data: Data, equation: Equation, **options: int) -> FunctionCase:
    ours = functools.partial(registry.make_metric, name, **options)
    by_hand = functools.partial(_by_hand, functools.partial(equation, **options))
    return FunctionCase(
        "metric",
        name,
        form,
        inputs_of(data),
        functools.partial(results_in_parts, ours, CUTS),
        {EQUATION: by_hand},
    )


CASES: list[FunctionCase] = [
    _case("expected_calibration_error", "", probabilities, _calibration_error),
    _case(
        "expected_calibration_error", "num_bins=4", probabilities, _calibration_error, num_bins=4
    ),
    _case("expected_calibration_error", "binary", fine_binary, _calibration_error),
    _case("brier_score", "", probabilities, _brier_score),
    _case("brier_score", "one column", column, _brier_score),
    _case("log_loss", "", probabilities, _log_loss),
    _case("log_loss", "distributions", distributions, _log_loss),
    _case("log_loss", "one column", _inner, _log_loss),
]
