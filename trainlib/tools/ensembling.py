"""Averages of the predictions of several models, and the weights of the models in them.

    probabilities   f = sum of w_i f_i
    logits          f = softmax(sum of w_i log f_i), the normalized geometric mean

w: weights of the models, at least 0, whose sum is 1. `average_predictions` computes f,
`simplex_weights` and `greedy_selection` fit w to data that no model was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from trainlib.core.checks import check_choice, check_integer

AVERAGES = ("probabilities", "logits")
LOSSES = ("crossentropy", "binary_crossentropy", "squared_error")
SMALLEST = 1e-37
"""Probability that stands for smaller ones, so that its logarithm is finite in float32."""
ONE = 1 - 2.0**-24
"""Largest probability of a sigmoid, so that its logit is finite."""
STEPS = 2000
TOLERANCE = 1e-9


class SimplexWeights(NamedTuple):
    """Weights of the models of an ensemble.

    Attributes:
        weights: w, [M], at least 0, with sum 1.
        loss: mean loss of the weighted average on the data of the fit.
        equal_loss: that of the average with equal weights.

    Example:
        >>> fit = tl.greedy_selection([[[0.9, 0.1]], [[0.6, 0.4]]], [0], rounds=1)
        >>> fit.weights.tolist(), round(fit.loss, 4), round(fit.equal_loss, 4)
        ([1.0, 0.0], 0.1054, 0.2877)
    """

    weights: np.ndarray
    loss: float
    equal_loss: float


def average_predictions(
    predictions: Any,
    weights: Any = None,
    *,
    average: str = "probabilities",
    loss: str = "crossentropy",
) -> np.ndarray:
    """Return the weighted average of the predictions of several models.

    Args:
        predictions: probabilities, or numbers, of M models for N examples, [M, N, K].
        weights: w, [M], at least 0, divided by their sum. Default: None, all equal.
        average: "probabilities", the weighted mean; or "logits": the predictions are probabilities,
            and their logits are averaged. Default: "probabilities".
        loss: "crossentropy", "binary_crossentropy" or "squared_error": whether probabilities are of
            a softmax or of a sigmoid, of which the logits are formed. Default: "crossentropy".

    Returns:
        f, [N, K], float64.

    Raises:
        ValueError: an argument has another shape or value.

    Example:
        >>> p = [[[0.9, 0.1]], [[0.5, 0.5]]]
        >>> tl.average_predictions(p).tolist()
        [[0.7, 0.3]]
        >>> tl.average_predictions(p, average="logits").round(6).tolist()  # 3 to 1
        [[0.75, 0.25]]
    """
    f = _checked(predictions)
    w = normalized_weights(weights, len(f))
    return _averaged(f, w, _form(average, loss))


def simplex_weights(
    predictions: Any,
    y_true: Any,
    *,
    average: str = "probabilities",
    loss: str = "crossentropy",
) -> SimplexWeights:
    """Return the weights on the simplex whose average has the smallest mean loss.

        min over w of (1/N) sum of L(y_n, f_n(w)),   w_i >= 0,   sum of w_i = 1

    The problem is convex. Projected gradient steps with a line search stop where the duality gap
    g w - min(g), which bounds the distance to the optimum, is below 1e-9.

    Args:
        predictions: predictions of M models on data that none was trained on, [M, N, K].
        y_true: class indices [N], one-hot rows or numbers [N, K].
        average: as of `average_predictions`. Default: "probabilities".
        loss: "crossentropy", "binary_crossentropy" or "squared_error". Default: "crossentropy".

    Returns:
        A `SimplexWeights`.

    Raises:
        ValueError: an argument has another shape or value.

    Example:
        >>> fit = tl.simplex_weights([[[1.0], [3.0]], [[3.0], [1.0]]], [[1.5], [2.5]],
        ...                          loss="squared_error")
        >>> fit.weights.round(6).tolist()
        [0.75, 0.25]

    References:
        Breiman 1996, "Stacked Regressions"; Duchi et al. 2008, "Efficient Projections onto the
        l1-Ball for Learning in High Dimensions"; Jaggi 2013, "Revisiting Frank-Wolfe" (the gap).
    """
    problem = _problem(predictions, y_true, average, loss)
    w = np.full(problem.members, 1 / problem.members)
    value, slope = problem.loss_and_gradient(w)
    equal, step = value, 1.0
    for _ in range(STEPS):
        if slope @ w - slope.min() <= TOLERANCE * (1 + abs(value)):
            break
        while True:
            new = project_onto_simplex(w - step * slope)
            found, next_slope = problem.loss_and_gradient(new)
            moved = new - w
            bound = value + slope @ moved + moved @ moved / (2 * step)
            if found <= bound + 1e-15 * abs(value) or step < 1e-12:
                break
            step *= 0.5
        w, value, slope, step = new, found, next_slope, 1.5 * step
    return SimplexWeights(w, value, equal)


def greedy_selection(
    predictions: Any,
    y_true: Any,
    *,
    rounds: int = 50,
    average: str = "probabilities",
    loss: str = "crossentropy",
) -> SimplexWeights:
    """Return weights by greedy forward selection of models, with replacement.

    Each round adds the model, possibly again, with which the average of those chosen so far has the
    smallest mean loss. The weights are the shares of the models among those of the best round.

    Args:
        predictions: as of `simplex_weights`.
        y_true: as of `simplex_weights`.
        rounds: number of rounds, at least 1. Default: 50.
        average: as of `average_predictions`. Default: "probabilities".
        loss: as of `simplex_weights`. Default: "crossentropy".

    Returns:
        A `SimplexWeights`.

    Raises:
        ValueError: an argument has another shape or value.

    Example:
        >>> fit = tl.greedy_selection([[[1.0], [3.0]], [[3.0], [1.0]]], [[1.5], [2.5]],
        ...                           rounds=4, loss="squared_error")
        >>> fit.weights.tolist()
        [0.75, 0.25]

    References:
        Caruana et al. 2004, "Ensemble Selection from Libraries of Models".
    """
    check_integer("rounds", rounds, at_least=1)
    problem = _problem(predictions, y_true, average, loss)
    one = np.eye(problem.members)
    counts = np.zeros(problem.members)
    best, best_loss = counts, np.inf
    for k in range(1, rounds + 1):
        losses = [problem.loss((counts + e) / k) for e in one]
        counts = counts + one[int(np.argmin(losses))]
        if min(losses) < best_loss:
            best, best_loss = counts / k, min(losses)
    equal = problem.loss(np.full(problem.members, 1 / problem.members))
    return SimplexWeights(best, float(best_loss), equal)


def project_onto_simplex(v: np.ndarray) -> np.ndarray:
    """Return the point of the simplex that is nearest to a vector, in float64.

    References:
        Duchi et al. 2008, figure 1.
    """
    u = np.sort(v)[::-1]
    excess = (u.cumsum() - 1) / np.arange(1, len(v) + 1)
    return np.asarray(np.maximum(v - excess[np.nonzero(u > excess)[0][-1]], 0))


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
        loss: as of `example_losses`.

    Raises:
        ValueError: they have another shape, or are no classes.
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


class _Problem(NamedTuple):
    """The mean loss of an average as a function of the weights.

    Attributes:
        terms: what the weights average, [M, N, K]: predictions, or their logits.
        y: targets [N, K].
        form: what is averaged: "mean", or the logits of a "softmax" or a "sigmoid".
        name: name of the loss.
        gradient: function of (y, predictions) that returns the derivative of the losses by the
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
        """Return the average with some weights."""
        return _from_terms(np.tensordot(w, self.terms, 1), self.form)

    def loss(self, w: np.ndarray) -> float:
        """Return the mean loss at some weights."""
        return float(_losses(self.predictions(w), self.y, self.name).mean())

    def loss_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean loss at some weights, and its gradient."""
        f = self.predictions(w)
        slope = self.gradient(self.y, f) / len(f)
        gradient = np.tensordot(self.terms, slope, ([1, 2], [0, 1]))
        return float(_losses(f, self.y, self.name).mean()), gradient


def _problem(predictions: Any, y_true: Any, average: str, loss: str) -> _Problem:
    f, form = _checked(predictions), _form(average, loss)
    y = targets_like(y_true, f.shape[1:], loss)
    if form != "mean":
        gradient = _by_logits
    else:
        gradient = {
            "crossentropy": _by_probabilities,
            "binary_crossentropy": _by_binary_probabilities,
            "squared_error": _by_numbers,
        }[loss]
    return _Problem(_terms(f, form), y, form, loss, gradient)


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


def _form(average: str, loss: str) -> str:
    """Return what is averaged: "mean", or the logits of a "softmax" or a "sigmoid"."""
    check_choice("average", average, AVERAGES)
    check_choice("loss", loss, LOSSES)
    if average == "probabilities":
        return "mean"
    if loss == "squared_error":
        raise ValueError("average is logits, but the models predict numbers: use probabilities")
    return "softmax" if loss == "crossentropy" else "sigmoid"


def _terms(f: np.ndarray, form: str) -> np.ndarray:
    """Return what is averaged of the predictions."""
    if form == "mean":
        return f
    if form == "softmax":
        return np.asarray(np.log(np.maximum(f, SMALLEST)))
    p = np.clip(f, SMALLEST, ONE)
    return np.asarray(np.log(p) - np.log1p(-p))


def _from_terms(z: np.ndarray, form: str) -> np.ndarray:
    """Return the predictions of averaged terms."""
    if form == "mean":
        return z
    if form == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * z)))
    e = np.exp(z - z.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _averaged(f: np.ndarray, w: np.ndarray, form: str) -> np.ndarray:
    return _from_terms(np.tensordot(w, _terms(f, form), 1), form)


def _checked(predictions: Any) -> np.ndarray:
    """Return predictions as [M, N, K], float64."""
    f = np.asarray(predictions, np.float64)
    if f.ndim != 3 or not f.size:
        raise ValueError(f"predictions must have shape [M, N, K], got {list(f.shape)}")
    if not np.isfinite(f).all():
        bad = [i for i, x in enumerate(f) if not np.isfinite(x).all()]
        raise ValueError(f"predictions must be finite; those of model {bad[0]} are not")
    return f


def normalized_weights(weights: Any, members: int) -> np.ndarray:
    """Return the weights of M models divided by their sum; None: all equal.

    Raises:
        ValueError: they are not M numbers of at least 0, not all 0.
    """
    w = np.ones(members) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (members,) or not (w >= 0).all() or not 0 < w.sum() < np.inf:
        raise ValueError(
            f"weights must be {members} numbers of at least 0, not all 0, got {weights!r}"
        )
    return np.asarray(w / w.sum())
