"""The weighted average of predictions, its loss, and the gradient of the loss by the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from trainlib.core.checks import check_choice

AVERAGES = ("probabilities", "logits")
LOSSES = ("crossentropy", "binary_crossentropy", "squared_error")
SMALLEST = 1e-37
"""Lower bound of probabilities, whose logarithm is finite in float32."""
ONE = 1 - 2.0**-24
"""Upper bound of the probabilities of a sigmoid, whose logit is finite."""


def example_losses(predictions: Any, y_true: Any, loss: str = "crossentropy") -> np.ndarray:
    """Return the loss of each example, [..., N]: its sum over K, or the mean of squared errors.

    Args:
        predictions: probabilities or numbers, [..., N, K].
        y_true: class indices [N], one-hot rows or numbers [N, K].
        loss: "crossentropy", "binary_crossentropy" or "squared_error". Default: "crossentropy".
    """
    check_choice("loss", loss, LOSSES)
    f = np.asarray(predictions, np.float64)
    return _losses(f, targets_like(y_true, f.shape[-2:], loss), loss)


def targets_like(y_true: Any, shape: tuple[int, ...], loss: str) -> np.ndarray:
    """Return targets [N, K], float64: class indices as one-hot rows, others reshaped.

    Args:
        y_true: class indices [N], one-hot rows or numbers [N, K].
        shape: (N, K).
        loss: as for `example_losses`.

    Raises:
        ValueError: the shape does not match, or an index is not a class.
    """
    y = np.asarray(y_true)
    if y.size == np.prod(shape):
        return y.reshape(shape).astype(np.float64)
    if y.size != shape[0] or loss == "squared_error":
        raise ValueError(f"y_true must have shape [{shape[0]}, {shape[1]}], got {list(y.shape)}")
    index = y.reshape(-1).astype(np.int64)
    if len(index) and not 0 <= index.min() <= index.max() < shape[1]:
        raise ValueError(f"y_true must be classes from 0 to {shape[1] - 1}")
    return np.eye(shape[1])[index]


class AverageProblem(NamedTuple):
    """The mean loss of an average as a function of the weights.

    Attributes:
        terms: the predictions of the M models or their logits, which are averaged, [M, N, K].
        y: targets [N, K].
        form: "mean" if predictions are averaged; "softmax" or "sigmoid" if logits are.
        name: name of the loss.
        gradient: function `(y, predictions)` that returns the derivative of the losses by the
            weighted sum, [N, K].
    """

    terms: np.ndarray
    y: np.ndarray
    form: str
    name: str
    gradient: Callable[[np.ndarray, np.ndarray], np.ndarray]

    @property
    def members(self) -> int:
        """Number of models."""
        return len(self.terms)

    def predictions(self, w: np.ndarray) -> np.ndarray:
        """Return the predictions of the average with weights w."""
        return _from_terms(np.tensordot(w, self.terms, 1), self.form)

    def loss(self, w: np.ndarray) -> float:
        """Return the mean loss with weights w."""
        return float(_losses(self.predictions(w), self.y, self.name).mean())

    def loss_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean loss with weights w, and its gradient by w."""
        f = self.predictions(w)
        slope = self.gradient(self.y, f) / len(f)
        gradient = np.tensordot(self.terms, slope, ([1, 2], [0, 1]))
        return float(_losses(f, self.y, self.name).mean()), gradient


def average_problem(predictions: Any, y_true: Any, average: str, loss: str) -> AverageProblem:
    """Return the mean loss of an average as a function of the weights; arguments checked.

    Args:
        predictions: predictions of the models, [M, N, K].
        y_true: class indices [N], one-hot rows or numbers [N, K].
        average: "probabilities" or "logits".
        loss: "crossentropy", "binary_crossentropy" or "squared_error".
    """
    f, form = checked_predictions(predictions), average_form(average, loss)
    y = targets_like(y_true, f.shape[1:], loss)
    if form != "mean":
        gradient = _by_logits
    else:
        gradient = {
            "crossentropy": _by_probabilities,
            "binary_crossentropy": _by_binary_probabilities,
            "squared_error": _by_numbers,
        }[loss]
    return AverageProblem(_terms(f, form), y, form, loss, gradient)


def _by_logits(y: np.ndarray, f: np.ndarray) -> np.ndarray:
    return np.asarray(f - y)


def _by_probabilities(y: np.ndarray, f: np.ndarray) -> np.ndarray:
    return np.asarray(-y / np.maximum(f, SMALLEST))


def _by_binary_probabilities(y: np.ndarray, f: np.ndarray) -> np.ndarray:
    p = np.clip(f, SMALLEST, ONE)
    return np.asarray((p - y) / (p * (1 - p)))


def _by_numbers(y: np.ndarray, f: np.ndarray) -> np.ndarray:
    return np.asarray(2 * (f - y) / f.shape[1])


def _losses(f: np.ndarray, y: np.ndarray, loss: str) -> np.ndarray:
    if loss == "squared_error":
        return np.asarray(((f - y) ** 2).mean(-1))
    if loss == "crossentropy":
        return np.asarray(-(y * np.log(np.maximum(f, SMALLEST))).sum(-1))
    p = np.clip(f, SMALLEST, ONE)
    return np.asarray(-(y * np.log(p) + (1 - y) * np.log1p(-p)).sum(-1))


def average_form(average: str, loss: str) -> str:
    """Return the form of an average: "mean", or "softmax" or "sigmoid" for an average of logits.

    Raises:
        ValueError: an unknown name, or an average of logits for numbers.
    """
    check_choice("average", average, AVERAGES)
    check_choice("loss", loss, LOSSES)
    if average == "probabilities":
        return "mean"
    if loss == "squared_error":
        raise ValueError(
            "average is logits, but the models predict numbers: use average='probabilities'"
        )
    return "softmax" if loss == "crossentropy" else "sigmoid"


def _terms(f: np.ndarray, form: str) -> np.ndarray:
    """Return the terms that are averaged: the predictions, or their logits."""
    if form == "mean":
        return f
    if form == "softmax":
        return np.asarray(np.log(np.maximum(f, SMALLEST)))
    p = np.clip(f, SMALLEST, ONE)
    return np.asarray(np.log(p) - np.log1p(-p))


def _from_terms(z: np.ndarray, form: str) -> np.ndarray:
    """Return the predictions for averaged terms."""
    if form == "mean":
        return z
    if form == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * z)))
    e = np.exp(z - z.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def averaged(f: np.ndarray, w: np.ndarray, form: str) -> np.ndarray:
    """Return the average of predictions [M, N, K] with weights [M], in a form of `average_form`."""
    return _from_terms(np.tensordot(w, _terms(f, form), 1), form)


def checked_predictions(predictions: Any) -> np.ndarray:
    """Return predictions as [M, N, K], float64."""
    f = np.asarray(predictions, np.float64)
    if f.ndim != 3 or not f.size:
        raise ValueError(f"predictions must have shape [M, N, K], got {list(f.shape)}")
    if not np.isfinite(f).all():
        bad = [i for i, x in enumerate(f) if not np.isfinite(x).all()]
        raise ValueError(f"predictions must be finite; those of model {bad[0]} are not")
    return f


def normalized_weights(weights: Any, members: int) -> np.ndarray:
    """Return the weights of M models divided by their sum; equal weights for None.

    Raises:
        ValueError: the weights are not M numbers of at least 0, or all are 0.
    """
    w = np.ones(members) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (members,) or not (w >= 0).all() or not 0 < w.sum() < np.inf:
        raise ValueError(
            f"weights must be {members} numbers of at least 0, not all 0, got {weights!r}"
        )
    return np.asarray(w / w.sum())
