"""Pictures of how a run went: its results, its learning rate and its norms by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainlib.report import history as columns
from trainlib.report import plots
from trainlib.report.history import IN_VALIDATION, RATE, History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_FROM = 100.0
"""How many times the least the largest value is where an axis is logarithmic."""
FEW = 30
"""Epochs up to which each of them has a dot."""
MARKERS = ("o", "s", "^", "D")
"""Of runs whose colours are used up."""


def learning_curve(history: History, name: str) -> Figure:
    """A result by epoch, on the training and the validation part, the best epoch marked.

    Args:
        history: of the run.
        name: of the result, without `val_`.
    """
    figure, axes = _by_epoch(words(name), words(name), columns.epochs(history))
    parts = {"train": (name, plots.TRAIN), "validation": (IN_VALIDATION + name, plots.VALIDATION)}
    there = {part: x for part, x in parts.items() if columns.has(history, x[0])}
    for part, (key, color) in there.items():
        _line(axes, history, key, color, part)
    if there:
        key, _ = list(there.values())[-1]  # of the validation, where there is one
        _mark_best(axes, columns.best(history, key))
    _scale(axes, [columns.column(history, key) for key, _ in there.values()])
    plots.legend(axes)
    return figure


def learning_rate(
    history: History, schedule: tuple[np.ndarray, np.ndarray] | None = None
) -> Figure:
    """The learning rate: at the end of each epoch, and at each step where its schedule is known.

    Args:
        history: of the run.
        schedule: places in epochs, from 0, and the rates there.
    """
    figure, axes = _by_epoch("learning rate", "learning rate", columns.epochs(history))
    if schedule is not None:
        axes.plot(*schedule, color=plots.TRAIN, linewidth=1.6, label="schedule")
    style = "-" if schedule is None else ""
    _line(axes, history, RATE, plots.TRAIN, "end of an epoch", linestyle=style, marker="o")
    rates = [columns.column(history, RATE), *([] if schedule is None else [schedule[1]])]
    axes.set_ylim(0, 1.12 * _largest(rates))
    plots.legend(axes)
    return figure


def plain(history: History, name: str) -> Figure:
    """One column by epoch, of what is neither better nor worse."""
    figure, axes = _by_epoch(words(name), words(name), columns.epochs(history))
    _line(axes, history, name, plots.TRAIN, None)
    _scale(axes, [columns.column(history, name)])
    return figure


def norms(history: History) -> Figure:
    """The norms of gradients and updates by epoch.

    Args:
        history: of the run, with columns whose names end in `_norm`.
    """
    figure, axes = _by_epoch("norms", "global norm, mean of the steps", columns.epochs(history))
    names = columns.norms(history)
    for k, name in enumerate(names):
        color = plots.MANY[k % len(plots.MANY)]
        _line(axes, history, name, color, words(name.removesuffix(columns.NORM)))
    _scale(axes, [columns.column(history, name) for name in names])
    plots.legend(axes)
    return figure


def comparison(histories: Mapping[str, History], name: str) -> Figure:
    """A result by epoch of several runs: of the validation solid, of the training part dotted.

    Args:
        histories: by the run's name.
        name: of the result, without `val_`.
    """
    longest = max((columns.epochs(history) for history in histories.values()), key=len)
    height = 3.1 + 0.19 * (len(histories) + 2)  # of the legend, a line for each
    figure, axes = _by_epoch(words(name), words(name), longest, size=(4.8, height))
    drawn = []
    for k, (run, history) in enumerate(histories.items()):
        again, color = divmod(k, len(plots.MANY))
        label: str | None = f"./{run}" if run.startswith("_") else run  # _: no line in the legend
        for key, style in ((IN_VALIDATION + name, "-"), (name, ":")):
            if columns.has(history, key):
                look: dict[str, Any] = {"linestyle": style, "marker": MARKERS[again % len(MARKERS)]}
                look["markevery"] = -(-len(history) // FEW)
                _line(axes, history, key, plots.MANY[color], label, **look)
                drawn.append(columns.column(history, key))
                label = None
    axes.plot([], [], color=plots.MUTED, linestyle="-", label="validation")
    axes.plot([], [], color=plots.MUTED, linestyle=":", label="train")
    _scale(axes, drawn)
    plots.legend(axes, figure)
    return figure


def words(name: str) -> str:
    """The name of a result in words."""
    return name.replace("_", " ")


def _by_epoch(title: str, ylabel: str, epochs: np.ndarray, **options: Any) -> tuple[Figure, Any]:
    """An empty picture over these epochs."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = plots.picture(title, "epoch", ylabel, **options)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure, axes


def _line(
    axes: Any, history: History, key: str, color: str, label: str | None, **style: Any
) -> None:
    """A result by epoch; where it is not finite, a cross above."""
    epochs, values = columns.epochs(history), columns.column(history, key)
    there = np.array([columns.has([results], key) for results in history])
    finite = np.isfinite(values)
    style = {"marker": "o" if len(epochs) <= FEW else "", "linewidth": 1.6} | style
    shown = np.where(finite, values, np.nan)
    axes.plot(epochs, shown, color=color, markersize=3.5, label=label, **style)
    lost = epochs[there & ~finite]
    if lost.size:
        axes.plot(
            lost,
            np.full(lost.size, 0.97 - 0.06 * sum(x.get_marker() == "x" for x in axes.lines)),
            color=color,
            marker="x",
            linestyle="",
            transform=axes.get_xaxis_transform(),
            label=f"{label} not finite" if label else None,
        )


def _mark_best(axes: Any, best: columns.Best | None) -> None:
    if best is not None:
        axes.plot(
            [best.epoch],
            [best.value],
            marker="o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor=plots.INK,
            linestyle="",
            label=f"best: {best.value:.4g}, epoch {best.epoch}",
        )


def _scale(axes: Any, drawn: list[np.ndarray]) -> None:
    """Takes a logarithmic axis where values differ much."""
    values = np.concatenate(drawn) if drawn else np.array([])
    values = values[np.isfinite(values)]
    if not values.size:
        axes.set_yticks([])
    elif values.min() > 0 and values.max() / values.min() >= LOG_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")


def _largest(parts: list[np.ndarray]) -> float:
    """The largest finite value, above 0."""
    values = np.concatenate(parts)
    values = values[np.isfinite(values) & (values > 0)]
    return float(values.max()) if values.size else 1.0
