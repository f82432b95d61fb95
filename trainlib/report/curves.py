"""Figures of a run's history: results, learning rate and norms by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainlib.report import columns, figures
from trainlib.report.columns import LEARNING_RATE, VALIDATION_PREFIX, History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_SCALE_FROM = 100.0
"""Ratio of the largest to the smallest value above which an axis is logarithmic."""
MOST_MARKERS = 30
"""Number of epochs up to which each epoch has a marker."""
MARKERS = ("o", "s", "^", "D")
"""Markers that distinguish runs once all line colors are used."""


def learning_curve(history: History, name: str, title: str = "") -> Figure:
    """Return a figure of a result on training and validation data, with the best epoch marked.

    Args:
        history: history of the run.
        name: name of the result, without `val_`.
        title: title of the figure. Default: "", the name.
    """
    title = title or as_words(name)
    figure, axes = figure_by_epoch(title, as_words(name), columns.epochs(history))
    parts = {
        "train": (name, figures.TRAIN),
        "validation": (VALIDATION_PREFIX + name, figures.VALIDATION),
    }
    present = {part: x for part, x in parts.items() if columns.has_column(history, x[0])}
    for part, (key, color) in present.items():
        _plot_column(axes, history, key, color, part)
    if present:
        key, _ = list(present.values())[-1]  # that on validation data, if there is one
        _mark_best(axes, columns.best_epoch(history, key))
    scale_axis(axes, [columns.column(history, key) for key, _ in present.values()])
    figures.add_legend(axes)
    return figure


def learning_rate_curve(
    history: History, schedule: tuple[np.ndarray, np.ndarray] | None = None
) -> Figure:
    """Return a figure of the learning rate at the end of each epoch, and of its schedule.

    Args:
        history: history of the run.
        schedule: positions in epochs, from 0, and the learning rates there. Default: None, for a
            learning rate that is not a function of the step.
    """
    title = as_words(LEARNING_RATE)
    figure, axes = figure_by_epoch(title, title, columns.epochs(history))
    if schedule is not None:
        axes.plot(*schedule, color=figures.TRAIN, linewidth=1.6, label="schedule")
    look = {"linestyle": "-" if schedule is None else "", "marker": "o"}
    _plot_column(axes, history, LEARNING_RATE, figures.TRAIN, "end of an epoch", **look)
    rates = [columns.column(history, LEARNING_RATE), *([] if schedule is None else [schedule[1]])]
    axes.set_ylim(0, 1.12 * _largest(rates))
    figures.add_legend(axes)
    return figure


def validation_ratio_curve(history: History) -> Figure:
    """Return a figure of the validation loss divided by the training loss."""
    title = "validation loss / training loss"
    figure, axes = figure_by_epoch(title, title, columns.epochs(history))
    ratio = columns.validation_ratio(history)
    axes.plot(columns.epochs(history), ratio, color=figures.TRAIN, marker="o", markersize=3)
    axes.axhline(1, color=figures.INK, linewidth=1, linestyle="--")
    scale_axis(axes, [ratio])
    return figure


def plain_curve(history: History, name: str) -> Figure:
    """Return a figure of a column without a direction, such as the loss scale."""
    figure, axes = figure_by_epoch(as_words(name), as_words(name), columns.epochs(history))
    _plot_column(axes, history, name, figures.TRAIN, None)
    scale_axis(axes, [columns.column(history, name)])
    return figure


def norm_curves(history: History) -> Figure:
    """Return a figure of the norms of gradients and updates.

    Args:
        history: history of a run, with columns whose names end in `_norm`.
    """
    ylabel = "global norm, mean of the steps"
    figure, axes = figure_by_epoch("norms", ylabel, columns.epochs(history))
    names = columns.norm_names(history)
    for k, name in enumerate(names):
        color = figures.LINE_COLORS[k % len(figures.LINE_COLORS)]
        label = as_words(name.removesuffix(columns.NORM_SUFFIX))
        _plot_column(axes, history, name, color, label)
    scale_axis(axes, [columns.column(history, name) for name in names])
    figures.add_legend(axes)
    return figure


def comparison_curves(histories: Mapping[str, History], name: str) -> Figure:
    """Return a figure of a result of several runs: validation solid, training dotted.

    Args:
        histories: histories by the name of the run.
        name: name of the result, without `val_`.
    """
    longest = max((columns.epochs(history) for history in histories.values()), key=len)
    title = as_words(name)
    size = figures.WIDTH, figures.HEIGHT + 0.18 * len(histories)  # the legend names each run
    figure, axes = figure_by_epoch(title, title, longest, size=size)
    drawn = []
    for k, (run, history) in enumerate(histories.items()):
        marker, color = divmod(k, len(figures.LINE_COLORS))
        label: str | None = f"./{run}" if run.startswith("_") else run  # "_..." hides a label
        for key, style in ((VALIDATION_PREFIX + name, "-"), (name, ":")):
            if columns.has_column(history, key):
                look: dict[str, Any] = {"linestyle": style}
                look["marker"] = MARKERS[marker % len(MARKERS)]
                look["markevery"] = -(-len(history) // MOST_MARKERS)
                _plot_column(axes, history, key, figures.LINE_COLORS[color], label, **look)
                drawn.append(columns.column(history, key))
                label = None
    axes.plot([], [], color=figures.MUTED, linestyle="-", label="validation")
    axes.plot([], [], color=figures.MUTED, linestyle=":", label="train")
    scale_axis(axes, drawn)
    figures.add_legend(axes)
    return figure


def as_words(name: str) -> str:
    """Return the name of a result with spaces for underscores."""
    return name.replace("_", " ")


def figure_by_epoch(
    title: str, ylabel: str, epochs: np.ndarray, **options: Any
) -> tuple[Figure, Any]:
    """Return an empty figure whose x axis is epochs."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = figures.new_figure(title, "epoch", ylabel, **options)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure, axes


def _plot_column(
    axes: Any, history: History, key: str, color: str, label: str | None, **style: Any
) -> None:
    """Plot a column by epoch, with a cross at the top for values that are not finite."""
    epochs, values = columns.epochs(history), columns.column(history, key)
    present = np.array([columns.has_column([results], key) for results in history])
    finite = np.isfinite(values)
    style = {"marker": "o" if len(epochs) <= MOST_MARKERS else "", "linewidth": 1.6} | style
    shown = np.where(finite, values, np.nan)
    axes.plot(epochs, shown, color=color, markersize=3.5, label=label, **style)
    nonfinite = epochs[present & ~finite]
    if nonfinite.size:
        rows = sum(line.get_marker() == "x" for line in axes.lines)
        axes.plot(
            nonfinite,
            np.full(nonfinite.size, 0.97 - 0.06 * rows),
            color=color,
            marker="x",
            linestyle="",
            transform=axes.get_xaxis_transform(),
            label=f"{label} not finite" if label else None,
        )


def _mark_best(axes: Any, best: columns.BestEpoch | None) -> None:
    if best is not None:
        axes.plot(
            [best.epoch],
            [best.value],
            marker="o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor=figures.INK,
            linestyle="",
            label=f"best: {best.value:.4g}, epoch {best.epoch}",
        )


def scale_axis(axes: Any, drawn: list[np.ndarray]) -> None:
    """Make the y axis logarithmic if the values differ by orders of magnitude."""
    values = np.concatenate(drawn) if drawn else np.array([])
    values = values[np.isfinite(values)]
    if not values.size:
        axes.set_yticks([])
    elif values.min() > 0 and values.max() / values.min() >= LOG_SCALE_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")


def _largest(parts: list[np.ndarray]) -> float:
    """Return the largest finite value above 0; 1 if there is none."""
    values = np.concatenate(parts)
    values = values[np.isfinite(values) & (values > 0)]
    return float(values.max()) if values.size else 1.0
