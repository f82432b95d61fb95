"""Predictions of a model and their errors: confusion matrices, residuals, the worst examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.report import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_WRITTEN = 20
"""Number of classes up to which each cell of a confusion matrix shows its number."""
MOST_NARROW = 12
"""Number of classes up to which a confusion matrix is as wide as other figures."""
LARGE_SIDE = 9.0
"""Width and height of a confusion matrix of more classes, in inches."""
MOST_NAMED = 60
"""Number of classes up to which all names are written at the axes."""
BLUE, DARKEST = (0.0, 0.45, 0.7), 0.55
"""Color of a confusion matrix, and its opacity where a class has all of its examples."""
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


def confusion_matrix_figure(counts: np.ndarray, names: Sequence[str], part: str = "test") -> Figure:
    """Return a figure of a confusion matrix: numbers of examples, colored by row.

    Args:
        counts: result of `confusion_counts`.
        names: names of the classes.
        part: which examples are counted. Default: "test".
    """
    from matplotlib.colors import LinearSegmentedColormap

    side = figures.WIDTH if len(names) <= MOST_NARROW else LARGE_SIDE
    title = f"confusion matrix: number of {part} examples"
    figure, axes = figures.new_figure(title, "predicted", "true", (side, side))
    axes.grid(visible=False)
    percentages = 100 * row_fractions(counts)
    # From transparent to a color: the page shows through, light or dark, and so light that the
    # numbers can be read on it in both.
    colors = LinearSegmentedColormap.from_list("blues", [(*BLUE, 0.0), (*BLUE, DARKEST)])
    image = axes.imshow(percentages, cmap=colors, vmin=0, vmax=100, interpolation="none")
    _label_classes(axes, names)
    if len(names) > MOST_WRITTEN:
        bar = figure.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label("% of the true class", color=figures.INK)
        bar.ax.tick_params(labelcolor=figures.MUTED, color=figures.LINE)
        bar.outline.set_visible(False)
    else:
        for i, j in zip(*np.nonzero(counts), strict=True):
            look = {"ha": "center", "va": "center", "fontsize": figures.SMALL_FONT}
            axes.text(j, i, f"{counts[i, j]}", color=figures.INK, **look)
    return figure


def residual_figure(predictions: Predictions) -> Figure:
    """Return a figure of the residuals by prediction."""
    figure, axes = figures.new_figure("residuals", "predicted", "true - predicted")
    errors = _errors(predictions)
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
    errors = _errors(predictions)
    errors = errors[np.isfinite(errors)]
    if errors.size:
        figures.draw_histogram(axes, errors)
        mean, deviation = float(errors.mean()), float(errors.std())
        text = f"mean {mean:.3g} (standard deviation {deviation:.3g})"
        axes.axvline(mean, color=figures.VALIDATION, label=text)
    figures.add_legend(axes)
    return figure


def _errors(predictions: Predictions) -> np.ndarray:
    """Return the errors of predicted numbers, true - predicted, float64 [N]."""
    return np.asarray(predictions.true - predictions.predicted.astype(np.float64))


def _label_classes(axes: Any, names: Sequence[str]) -> None:
    """Write the names of the classes at both axes, or some of their numbers if there are many."""
    if len(names) > MOST_NAMED:
        return
    labels = [name if len(name) <= 16 else f"{name[:15]}…" for name in names]
    look = {"fontsize": figures.SMALL_FONT, "parse_math": False}
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    long = max(map(len, names)) > 2
    axes.set_xticks(range(len(names)), labels, **look, **(slanted if long else {}))
    axes.set_yticks(range(len(names)), labels, **look)
