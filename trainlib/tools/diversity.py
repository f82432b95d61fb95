"""Diversity of the models of an ensemble, and the gain of the ensemble."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from trainlib.tools.ensembling import average_predictions
from trainlib.tools.weighted_average import example_losses, targets_like


class Ambiguity(NamedTuple):
    """Squared error of an ensemble, as the mean error of its models minus their ambiguity.

    Attributes:
        error: squared error of the ensemble.
        mean_error: weighted mean of the squared errors of the models.
        ambiguity: weighted mean of the squared distances of the models from the ensemble.

    Example:
        >>> tl.ambiguity_decomposition([[[0.0]], [[1.0]]], [[0.0]], weights=[3, 1]).ambiguity
        0.1875
    """

    error: float
    mean_error: float
    ambiguity: float


class Gain(NamedTuple):
    """Gain of an ensemble over its models, on average.

    Attributes:
        gain: mean loss of the models minus the loss of the ensemble; above 0 if the ensemble is
            better.
        standard_error: standard error of the gain over the examples.

    Example:
        >>> p = np.array([[[0.75, 0.25]], [[0.25, 0.75]]])
        >>> round(tl.ensemble_gain(p, p.mean(0), [0]).gain, 4)
        0.1438
    """

    gain: float
    standard_error: float


def disagreement(classes: Any) -> float:
    """Return the fraction of the examples to which two models assign different classes.

    Args:
        classes: predicted classes of M models for N examples, [M, N].

    Returns:
        The mean over all pairs of models; 0 for one model.

    Example:
        >>> tl.disagreement([[0, 1, 2, 2], [0, 1, 1, 1]])
        0.5

    References:
        Skalak 1996; Kuncheva and Whitaker 2003, "Measures of Diversity in Classifier Ensembles".
    """
    found = np.asarray(classes)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"classes must have shape [M, N], got {list(found.shape)}")
    pairs = [float((a != b).mean()) for a, b in itertools.combinations(found, 2)]
    return sum(pairs) / len(pairs) if pairs else 0.0


def ambiguity_decomposition(predictions: Any, y_true: Any, weights: Any = None) -> Ambiguity:
    """Return the parts of the squared error of a weighted mean of predictions.

        (f - y)^2 = sum of w_i (f_i - y)^2 - sum of w_i (f_i - f)^2,   f = sum of w_i f_i

    averaged over the examples and summed over the K outputs. For probabilities of classes the error
    is the Brier score.

    Args:
        predictions: f_i, [M, N, K].
        y_true: class indices [N], one-hot rows or numbers [N, K].
        weights: w, [M], divided by their sum. Default: None, all equal.

    Returns:
        An `Ambiguity`, whose error is the mean error minus the ambiguity.

    Raises:
        ValueError: an argument has another shape or value.

    Example:
        >>> tl.ambiguity_decomposition([[[1.0]], [[3.0]]], [[1.0]])
        Ambiguity(error=1.0, mean_error=2.0, ambiguity=1.0)

    References:
        Krogh and Vedelsby 1995, "Neural Network Ensembles, Cross Validation, and Active Learning".
    """
    f = np.asarray(predictions, np.float64)
    mean = average_predictions(f, weights)
    w = np.ones(len(f)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    kind = "squared_error" if np.asarray(y_true).size == mean.size else "crossentropy"
    y = targets_like(y_true, mean.shape, kind)
    mean_error = float(w @ ((f - y) ** 2).sum(2).mean(1))
    ambiguity = float(w @ ((f - mean) ** 2).sum(2).mean(1))
    return Ambiguity(float(((mean - y) ** 2).sum(1).mean()), mean_error, ambiguity)


def ensemble_gain(predictions: Any, ensemble: Any, y_true: Any, loss: str = "crossentropy") -> Gain:
    """Return how much smaller the loss of an ensemble is than the mean loss of its models.

    The losses are compared example by example, so that the difficulty of an example cancels.

    Args:
        predictions: probabilities or numbers of the M models, [M, N, K].
        ensemble: probabilities or numbers of the ensemble, [N, K].
        y_true: class indices [N], one-hot rows or numbers [N, K].
        loss: "crossentropy", "binary_crossentropy" or "squared_error". Default: "crossentropy".

    Returns:
        A `Gain`.

    Example:
        >>> gain = tl.ensemble_gain([[[1.0], [1.0]], [[3.0], [2.0]]], [[2.0], [1.5]],
        ...                         [[1.0], [1.5]], loss="squared_error")
        >>> print(f"{gain.gain:.3f} {gain.standard_error:.3f}")
        0.625 0.375
    """
    losses = example_losses(predictions, y_true, loss)
    each = losses.mean(0) - example_losses(ensemble, y_true, loss)
    spread = float(each.std(ddof=1)) if len(each) > 1 else float("nan")
    return Gain(float(each.mean()), spread / len(each) ** 0.5)
