"""Precision and recall of each class, as a table and as curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainlib.report import figures, page, tables
from trainlib.report.predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = 8
"""Largest number of classes with a curve: those with the lowest average precision."""


class ClassScores(NamedTuple):
    """Scores of the K classes, [K] each; NaN where a fraction is 0 / 0.

    Attributes:
        precision: fraction of the examples predicted as the class that belong to it.
        recall: fraction of the examples of the class that are predicted as such.
        f1: harmonic mean of both.
        examples: number of examples of the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    examples: np.ndarray


class PrecisionRecall(NamedTuple):
    """Precision and recall of one class, for every threshold of its score.

    Attributes:
        recall: recall from 0 to 1, [M].
        precision: precision at these recalls, [M].
        average: average precision: the mean of the precision, weighted by the steps of the recall.
    """

    recall: np.ndarray
    precision: np.ndarray
    average: float


def class_scores(counts: np.ndarray) -> ClassScores:
    """Return precision, recall and F1 of each class.

    Args:
        counts: result of `confusion_counts`.
    """
    hits, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return ClassScores(
            np.asarray(hits / predicted),
            np.asarray(hits / true),
            np.asarray(2 * hits / (true + predicted)),
            true,
        )


def precision_recall(is_class: np.ndarray, scores: np.ndarray) -> PrecisionRecall | None:
    """Return the curve of one class against all others; None without examples of the class.

    Args:
        is_class: whether each example belongs to the class, [N].
        scores: score of the class for each example, [N].
    """
    positives = int(is_class.sum())
    if not positives:
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_class[order])
    ranked = scores[order]
    ends = np.r_[np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1]  # of equal scores
    recall = np.r_[0.0, hits[ends] / positives]
    precision = hits[ends] / (ends + 1)
    average = float((np.diff(recall) * precision).sum())
    return PrecisionRecall(recall, np.r_[precision[0], precision], average)


def class_table(
    counts: np.ndarray, curves: Sequence[PrecisionRecall | None], names: Sequence[str]
) -> str:
    """Return a table of the scores of each class, and of their means over the classes.

    Args:
        counts: result of `confusion_counts`.
        curves: result of `class_curves`.
        names: names of the classes.
    """
    scores = class_scores(counts)
    averages = [np.nan if curve is None else curve.average for curve in curves]
    columns = [scores.precision, scores.recall, scores.f1, np.array(averages)]
    rows: list[list[object]] = [
        [name, *(_cell(column[k]) for column in columns), int(scores.examples[k])]
        for k, name in enumerate(names)
    ]
    means = [np.nan if np.isnan(x).all() else float(np.nanmean(x)) for x in columns]
    rows.append(["mean of the classes", *map(_cell, means), int(scores.examples.sum())])
    headers = ["class", "precision", "recall", "F1", "average precision", "examples"]
    return page.subsection("Precision and recall of each class", tables.table(headers, rows))


def precision_recall_figure(
    curves: Sequence[PrecisionRecall | None], names: Sequence[str]
) -> Figure:
    """Return a figure of the precision-recall curves of the classes with the lowest averages."""
    ranked = sorted((curve.average, k) for k, curve in enumerate(curves) if curve is not None)
    title = "precision and recall of each class"
    if len(ranked) > CURVES:
        title = f"precision and recall of {CURVES} classes"
    figure, axes = figures.new_figure(title, "recall", "precision", figures.SQUARE)
    for color, (average, k) in zip(figures.LINE_COLORS, ranked[:CURVES], strict=False):
        curve = curves[k]
        assert curve is not None
        label = f"{names[k]}: {average:.3g}"
        axes.step(curve.recall, curve.precision, where="pre", color=color, label=label)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    figures.add_legend(axes, title="average precision, the lowest first")
    return figure


def class_curves(found: Predictions, classes: int) -> list[PrecisionRecall | None]:
    """Return the curve of each class."""
    assert found.scores is not None
    return [precision_recall(found.true == k, found.scores[:, k]) for k in range(classes)]


def _cell(value: float) -> object:
    """Return a number for a table, or a dash for NaN."""
    return "-" if np.isnan(value) else float(value)
