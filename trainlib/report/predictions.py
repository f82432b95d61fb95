"""What a model predicts of some examples: the errors, the worst of them, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.report import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WRITTEN = 20
"""Classes up to which each cell of a confusion matrix has its number."""
ONE_BY_ONE = 60
"""Classes up to which each has its name at the axes."""
POINT = "#3a8fd0"
"""Of points in a bitmap, which stays as it is on dark paper."""


class Predictions(NamedTuple):
    """Of N examples.

    true: classes or numbers [N]. predicted: the same. scores: of each class [N, K], or None where
    numbers are predicted. losses: of each example [N]. score_name: what the scores are.
    """

    true: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray | None
    losses: np.ndarray
    score_name: str = "confidence"

    @property
    def highest_scores(self) -> np.ndarray:
        """Those of the classes that are predicted, [N]."""
        assert self.scores is not None
        return np.asarray(self.scores.max(axis=1))


class Mistaken(NamedTuple):
    """How often a class was taken for another one; share: of the examples of the true class."""

    true: int
    predicted: int
    times: int
    share: float


def worst(predictions: Predictions, count: int) -> np.ndarray:
    """The places of the examples with the highest loss, the highest first.

    One that is NaN is higher than all others.
    """
    losses = np.nan_to_num(predictions.losses, nan=np.inf, posinf=np.finfo(np.float64).max)
    return np.argsort(-losses, kind="stable")[:count]


def confusion(predictions: Predictions, classes: int) -> np.ndarray:
    """How often each true class (row) was predicted as each class (column)."""
    places = predictions.true.astype(np.int64) * classes + predictions.predicted
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def shares(counts: np.ndarray) -> np.ndarray:
    """The rows divided by their sums; 0 where a class has no examples."""
    sums = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(counts, sums, out=np.zeros(counts.shape), where=sums > 0))


def most_mistaken(counts: np.ndarray, at_most: int) -> list[Mistaken]:
    """The pairs of classes that are taken for one another most often."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:at_most]
    pairs = [divmod(int(place), len(counts)) for place in order]
    parts = shares(counts)
    return [Mistaken(i, j, int(wrong[i, j]), float(parts[i, j])) for i, j in pairs if wrong[i, j]]


def confusion_matrix(counts: np.ndarray, names: Sequence[str], normalized: bool) -> Figure:
    """A confusion matrix, its cells coloured by the share of their row.

    Args:
        counts: of `confusion`.
        names: of the classes.
        normalized: whether the numbers in the cells are shares in percent, or counts.
    """
    from matplotlib.colors import LinearSegmentedColormap

    many = len(names) > WRITTEN
    of = "share of each true class, %" if normalized else "number of test examples"
    figure, axes = plots.picture(f"confusion: {of}", "predicted", "true", size=(5.2, 4.9))
    axes.grid(visible=False)
    parts = shares(counts)
    # From nothing to a colour: what shows through is the paper, light or dark.
    colors = LinearSegmentedColormap.from_list("share", [(0.0, 0.45, 0.7, 0.0), (0.0, 0.45, 0.7)])
    image = axes.imshow(100 * parts, cmap=colors, vmin=0, vmax=100, interpolation="none")
    _name_classes(axes, names)
    if many:
        bar = figure.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label("% of the true class", color=plots.INK)
        bar.ax.tick_params(labelcolor=plots.MUTED, color=plots.LINE)
        bar.outline.set_visible(False)
        return figure
    written = np.round(100 * parts, 1 if len(names) <= 4 else 0) if normalized else counts
    for i, j in zip(*np.nonzero(counts), strict=True):
        color = "white" if parts[i, j] > 0.5 else plots.INK
        text = f"{written[i, j]:g}" if written[i, j] or not normalized else "<1"
        size_of_text = 12 if len(names) <= 4 else 8 if len(names) <= 12 else 6
        axes.text(j, i, text, ha="center", va="center", color=color, fontsize=size_of_text)
    return figure


def residuals(predictions: Predictions) -> Figure:
    """The errors by what was predicted."""
    figure, axes = plots.picture("residuals", "predicted", "true - predicted")
    errors = predictions.true - predictions.predicted
    size = 6 if len(errors) > 1000 else 18
    look = {"s": size, "color": POINT, "alpha": 0.45, "linewidths": 0}
    axes.scatter(predictions.predicted, errors, rasterized=True, **look)
    axes.axhline(0, color=plots.INK, linewidth=1)
    return figure


def residual_histogram(predictions: Predictions) -> Figure:
    """How many errors there are of each size."""
    figure, axes = plots.picture(
        "distribution of the residuals", "true - predicted", "number of test examples"
    )
    errors = predictions.true - predictions.predicted
    errors = errors[np.isfinite(errors)]
    if errors.size:
        bins = min(max(round(errors.size**0.5), 5), 50)
        axes.hist(errors, bins=bins, color=plots.TRAIN, histtype="stepfilled")
        mean, deviation = float(errors.mean()), float(errors.std())
        text = f"mean {mean:.3g}; standard deviation {deviation:.3g}"
        axes.axvline(mean, color=plots.VALIDATION, label=text)
    plots.legend(axes, figure)
    return figure


def _name_classes(axes: Any, names: Sequence[str]) -> None:
    """Names at both axes; of very many classes, some of their numbers."""
    if len(names) > ONE_BY_ONE:
        return
    small = len(names) > WRITTEN
    labels = [name if len(name) <= 16 else f"{name[:15]}…" for name in names]
    look = {"fontsize": 6 if small else 9, "parse_math": False}
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    long = max(map(len, names)) > 2
    axes.set_xticks(range(len(names)), labels, **look, **(slanted if long else {}))
    axes.set_yticks(range(len(names)), labels, **look)
