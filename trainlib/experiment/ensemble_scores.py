"""Scores of the members of an ensemble and of their average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import trainlib.metrics as metrics
from trainlib.experiment.balance import labels_of
from trainlib.experiment.task import Task
from trainlib.models import LOGITS_ACTIVATIONS
from trainlib.tools.diversity import ambiguity_decomposition, disagreement, ensemble_gain
from trainlib.tools.weighted_average import example_losses


class Score(NamedTuple):
    """A score of each member and of the ensemble.

    Attributes:
        members: score of each member.
        ensemble: score of the ensemble.
    """

    members: list[float]
    ensemble: float


def likelihood_of(task: Task) -> str | None:
    """Return the loss of `tl.simplex_weights` for a task; None for scores without probabilities."""
    if not task.target.by_class:
        return "squared_error"
    if task.target.activation not in LOGITS_ACTIVATIONS:
        return None
    return "crossentropy" if task.target.activation == "softmax" else "binary_crossentropy"


def scores_of(
    task: Task, members: np.ndarray, ensemble: np.ndarray, y: np.ndarray, weights: Sequence[float]
) -> dict[str, Any]:
    """Return the scores of the members and the ensemble on one part of the data.

    Args:
        task: data of the ensemble, with its loss and targets.
        members: predictions of the members, [M, N, K].
        ensemble: predictions of the ensemble, [N, K].
        y: targets of the part.
        weights: weights of the members.

    Returns:
        Numbers and `Score`s by name.
    """
    loss = likelihood_of(task)
    every = [*members, ensemble]
    found: dict[str, Any] = {}
    if loss is not None:
        name = "squared_error" if loss == "squared_error" else "negative_log_likelihood"
        found[name] = _score([float(example_losses(f, y, loss).mean()) for f in every])
        gain = ensemble_gain(members, ensemble, y, loss)
        found |= {"gain": gain.gain, "gain_standard_error": gain.standard_error}
    if task.target.by_class:
        true, classes = labels_of(y), [f.argmax(-1) for f in every]
        found["error"] = _score([float((c != true).mean()) for c in classes])
        found["disagreement"] = disagreement(classes[:-1])
    if task.target.by_class and loss is not None:
        found["calibration_error"] = _score([_calibration_error(y, f) for f in every])
    if loss is not None:
        found["ambiguity"] = ambiguity_decomposition(members, y, weights).ambiguity
    return found


def _score(values: Sequence[float]) -> Score:
    *members, ensemble = values
    return Score(members, ensemble)


def _calibration_error(y: np.ndarray, p: np.ndarray) -> float:
    metric = metrics.expected_calibration_error()
    return float(metric.compute(metric.from_model_output(y, p)))


def as_json(scores: dict[str, Any]) -> dict[str, Any]:
    """Return scores for a summary, with the mean and the standard deviation over the members."""
    return {name: x if isinstance(x, float) else _described(x) for name, x in scores.items()}


def _described(score: Score) -> dict[str, Any]:
    spread = float(np.std(score.members, ddof=1)) if len(score.members) > 1 else 0.0
    return {
        "members": score.members,
        "mean": float(np.mean(score.members)),
        "std": spread,
        "ensemble": score.ensemble,
    }
