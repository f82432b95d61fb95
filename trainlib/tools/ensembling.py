"""Averages of the predictions of several models, and the weights of the models in them.

    probabilities   f = sum of w_i f_i
    logits          f = softmax(sum of w_i log f_i), the normalized geometric mean

w: weights of the models, at least 0, whose sum is 1. `average_predictions` computes f,
`simplex_weights` and `greedy_selection` fit w to data that no model was trained on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from trainlib.core.checks import check_integer
from trainlib.tools.weighted_average import (
    average_form,
    average_problem,
    averaged,
    checked_predictions,
    normalized_weights,
)

STEPS = 2000
TOLERANCE = 1e-9


class SimplexWeights(NamedTuple):
    """Weights of the models of an ensemble.

    Attributes:
        weights: w, [M], at least 0, with sum 1.
        loss: mean loss of the weighted average on the data of the fit.
        equal_loss: mean loss of the average with equal weights.

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
        loss: with average="logits", the activation whose inverse gives the logits:
            "crossentropy" for a softmax, "binary_crossentropy" for a sigmoid. Default:
            "crossentropy".

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
    f = checked_predictions(predictions)
    w = normalized_weights(weights, len(f))
    return averaged(f, w, average_form(average, loss))


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
        average: as for `average_predictions`. Default: "probabilities".
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
    problem = average_problem(predictions, y_true, average, loss)
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
        predictions: as for `simplex_weights`.
        y_true: as for `simplex_weights`.
        rounds: number of rounds, at least 1. Default: 50.
        average: as for `average_predictions`. Default: "probabilities".
        loss: as for `simplex_weights`. Default: "crossentropy".

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
    problem = average_problem(predictions, y_true, average, loss)
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
