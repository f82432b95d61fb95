"""Predictions of a model and their errors: counts of confusions, residuals, the worst examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.report import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_WRITTEN = 20
"""Number of classes up to which each cell of a confusion matrix shows its number."""
MOST_NAMED = 60
"""Number of classes up to which each has its name at the axes."""
POINT = "#3a8fd0"
"""Color of points in a bitmap, which is the same on light and on dark pages."""


CONFIDENCE = "confidence"
"""Name of scores that are probabilities."""


class Predictions(NamedTuple):
    """Predictions of N examples.

    Attributes:
        true: true classes or numbers, [N].
        predicted: predicted classes or numbers, [N].
        scores: scores of the K classes, [N, K]; None for numbers.
        losses: loss of each example, [N].
        score_name: what the scores are. Default: "confidence".
    """

    true: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray | None
    losses: np.ndarray
    score_name: str = CONFIDENCE

    @property
    def highest_scores(self) -> np.ndarray:
        """Scores of the predicted classes, [N]."""
        assert self.scores is not None
        return np.asarray(self.scores.max(axis=1))


class Confusion(NamedTuple):
    """How often a class was predicted in place of the true one.

    Attributes:
        true: index of the true class.
        predicted: index of the predicted class.
        examples: number of examples.
        fraction: that number, divided by the number of examples of the true class.
    """

    true: int
    predicted: int
    examples: int
    fraction: float


def worst_indices(predictions: Predictions, count: int) -> np.ndarray:
    """Return the indices of the examples with the highest loss, the highest first.

    A loss that is NaN counts as the highest.
    """
    losses = np.nan_to_num(predictions.losses, nan=np.inf, posinf=np.finfo(np.float64).max)
    return np.argsort(-losses, kind="stable")[:count]


def confusion_counts(predictions: Predictions, classes: int) -> np.ndarray:
    """Return how often each true class (row) was predicted as each class (column)."""
    cells = predictions.true.astype(np.int64) * classes + predictions.predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def row_fractions(counts: np.ndarray) -> np.ndarray:
    """Return the rows divided by their sums; 0 for classes without examples."""
    sums = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(counts, sums, out=np.zeros(counts.shape), where=sums > 0))


def most_frequent_confusions(counts: np.ndarray, at_most: int) -> list[Confusion]:
    """Return the pairs of classes that are confused most often, the most frequent first."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:at_most]
    pairs = [divmod(int(cell), len(counts)) for cell in order]
    fractions = row_fractions(counts)
    return [
        Confusion(i, j, int(wrong[i, j]), float(fractions[i, j])) for i, j in pairs if wrong[i, j]
    ]


def confusion_matrix_figure(counts: np.ndarray, names: Sequence[str], normalized: bool) -> Figure:
    """Return a figure of a confusion matrix, its cells colored by their fraction of the row.

    Args:
        counts: result of `confusion_counts`.
        names: names of the classes.
        normalized: whether cells show their percentage of the row, or counts.
    """
    from matplotlib.colors import LinearSegmentedColormap

    unit = "percentage of each true class" if normalized else "number of test examples"
    figure, axes = figures.new_figure(f"confusion: {unit}", "predicted", "true", size=(5.2, 4.9))
    axes.grid(visible=False)
    fractions = row_fractions(counts)
    # From transparent to a color: the page shows through, light or dark.
    colors = LinearSegmentedColormap.from_list("blues", [(0.0, 0.45, 0.7, 0.0), (0.0, 0.45, 0.7)])
    image = axes.imshow(100 * fractions, cmap=colors, vmin=0, vmax=100, interpolation="none")
    _label_classes(axes, names)
    if len(names) > MOST_WRITTEN:
        bar = figure.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label("% of the true class", color=figures.INK)
        bar.ax.tick_params(labelcolor=figures.MUTED, color=figures.LINE)
        bar.outline.set_visible(False)
    else:
        _write_cells(axes, counts, fractions, normalized)
    return figure


def residual_figure(predictions: Predictions) -> Figure:
    """Return a figure of the residuals by prediction."""
    figure, axes = figures.new_figure("residuals", "predicted", "true - predicted")
    errors = predictions.true - predictions.predicted
    size = 6 if len(errors) > 1000 else 18
    look = {"s": size, "color": POINT, "alpha": 0.45, "linewidths": 0}
    axes.scatter(predictions.predicted, errors, rasterized=True, **look)
    axes.axhline(0, color=figures.INK, linewidth=1)
    return figure


def residual_histogram(predictions: Predictions) -> Figure:
    """Return a histogram of the residuals."""
    figure, axes = figures.new_figure(
        "distribution of the residuals", "true - predicted", "number of test examples"
    )
    errors = predictions.true - predictions.predicted
    errors = errors[np.isfinite(errors)]
    if errors.size:
        bins = min(max(round(errors.size**0.5), 5), 50)
        axes.hist(errors, bins=bins, color=figures.TRAIN, histtype="stepfilled")
        mean, deviation = float(errors.mean()), float(errors.std())
        text = f"mean {mean:.3g}; standard deviation {deviation:.3g}"
        axes.axvline(mean, color=figures.VALIDATION, label=text)
    figures.add_legend(axes, figure)
    return figure


def _write_cells(axes: Any, counts: np.ndarray, fractions: np.ndarray, normalized: bool) -> None:
    """Write the number of each cell that is not empty into it."""
    classes = len(counts)
    percentages = np.round(100 * fractions, 1 if classes <= 4 else 0)
    written = percentages if normalized else counts
    fontsize = 12 if classes <= 4 else 8 if classes <= 12 else 6
    for i, j in zip(*np.nonzero(counts), strict=True):
        color = "white" if fractions[i, j] > 0.5 else figures.INK
        text = f"{written[i, j]:g}" if written[i, j] or not normalized else "<1"
        axes.text(j, i, text, ha="center", va="center", color=color, fontsize=fontsize)


def _label_classes(axes: Any, names: Sequence[str]) -> None:
    """Write the names of the classes at both axes; of very many classes, some numbers."""
    if len(names) > MOST_NAMED:
        return
    small = len(names) > MOST_WRITTEN
    labels = [name if len(name) <= 16 else f"{name[:15]}…" for name in names]
    look = {"fontsize": 6 if small else 9, "parse_math": False}
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    long = max(map(len, names)) > 2
    axes.set_xticks(range(len(names)), labels, **look, **(slanted if long else {}))
    axes.set_yticks(range(len(names)), labels, **look)
