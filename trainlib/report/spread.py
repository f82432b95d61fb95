"""Figures of contenders over several seeds: curves with their spread, results, learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.report import columns, figures
from trainlib.report.curves import MARKERS, MOST_MARKERS, as_words, figure_by_epoch, scale_axis
from trainlib.tools.comparison import Contender

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Spread(NamedTuple):
    """A result of several runs by epoch, up to the last epoch that all of them reached.

    Attributes:
        epochs: numbers of the epochs.
        mean: mean of the runs.
        low: least value of the runs.
        high: largest value of the runs.
    """

    epochs: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def spread_of(histories: Sequence[columns.History], name: str) -> Spread:
    """Return a result over several runs by epoch.

    Args:
        histories: history of each run, at least one.
        name: name of the column.
    """
    length = min(map(len, histories))
    values = np.stack([columns.column(history, name)[:length] for history in histories])
    epochs = columns.epochs(histories[0])[:length]
    return Spread(epochs, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def spread_curves(contenders: Sequence[Contender], name: str) -> Figure:
    """Return a figure of a result by epoch: the mean over the seeds, and a band of their range.

    Args:
        contenders: the contenders, of which those without a history are left out.
        name: name of the column, such as "val_loss".
    """
    spreads = {x.name: spread_of(found, name) for x in contenders if (found := _histories(x, name))}
    longest = max((x.epochs for x in spreads.values()), key=len)
    size = figures.WIDTH, figures.HEIGHT + 0.15 * len(contenders)  # the legend names each
    figure, axes = figure_by_epoch(as_words(name), as_words(name), longest, size=size)
    for k, contender in enumerate(contenders):
        if contender.name not in spreads:
            continue
        epochs, mean, low, high = spreads[contender.name]
        look: dict[str, Any] = style(k)
        look |= {"markevery": -(-len(epochs) // MOST_MARKERS), "markersize": 3.5, "linewidth": 1.6}
        axes.fill_between(epochs, low, high, color=look["color"], alpha=0.15, linewidth=0)
        axes.plot(epochs, mean, label=label_of(contender.name), **look)
    scale_axis(axes, [x for found in spreads.values() for x in (found.low, found.high)])
    figures.add_legend(axes)
    return figure


def result_dots(contenders: Sequence[Contender], part: str, name: str) -> Figure:
    """Return a figure of a result of the final models: a dot for each seed, a line at the mean.

    Args:
        contenders: the contenders, the best first.
        part: "validation" or "test".
        name: name of the result.
    """
    words = f"{part} {as_words(name)}"
    size = figures.WIDTH, 1.2 + 0.3 * len(contenders)
    figure, axes = figures.new_figure(words, words, "", size=size)
    drawn = []
    for k, contender in enumerate(contenders):
        values = contender.values(part, name)
        values = values[np.isfinite(values)]
        drawn.append(values)
        color = style(k)["color"]
        axes.plot(values, np.full(len(values), k), "o", color=color, markersize=4.5, alpha=0.7)
        if len(values):
            axes.plot([values.mean()] * 2, [k - 0.3, k + 0.3], color=color, linewidth=2)
    axes.set_yticks(range(len(contenders)), [x.name for x in contenders])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.invert_yaxis()
    values = np.concatenate(drawn)
    if values.size and values.min() > 0 and values.max() / values.min() >= 20:
        axes.set_xscale("log")
    return figure


def tuning_curves(contenders: Sequence[Contender], monitor: str) -> Figure:
    """Return a figure of the monitored result by learning rate, with a ring around the best.

    Args:
        contenders: contenders whose learning rates were tuned.
        monitor: name of the result.
    """
    size = figures.WIDTH, figures.HEIGHT + 0.15 * len(contenders)
    title = f"{as_words(monitor)} by learning rate"
    figure, axes = figures.new_figure(title, "learning rate", as_words(monitor), size, xscale="log")
    drawn = []
    for k, contender in enumerate(contenders):
        rates = np.array(sorted(contender.tuning))
        values = np.array([contender.tuning[rate] for rate in rates], np.float64)
        shown = np.where(np.isfinite(values), values, np.nan)
        look: dict[str, Any] = style(k)
        axes.plot(rates, shown, label=label_of(contender.name), markersize=3.5, **look)
        drawn.append(values)
        if (best := contender.learning_rate) is not None:
            ring = {"markerfacecolor": "none", "markeredgecolor": figures.INK, "markersize": 9}
            axes.plot([best], [contender.tuning[best]], marker="o", linestyle="", **ring)
    scale_axis(axes, drawn)
    figures.add_legend(axes)
    return figure


def style(k: int) -> dict[str, Any]:
    """Return color and marker of the k-th line of a figure."""
    marker, color = divmod(k, len(figures.LINE_COLORS))
    return {"color": figures.LINE_COLORS[color], "marker": MARKERS[marker % len(MARKERS)]}


def label_of(name: str) -> str:
    """Return a name as a label that matplotlib shows: it hides those that begin with "_"."""
    return f"./{name}" if name.startswith("_") else name


def _histories(contender: Contender, name: str) -> list[columns.History]:
    """Return the histories of the runs that have a column."""
    return [run.history for run in contender.runs if columns.has_column(run.history, name)]


def result_columns(contenders: Sequence[Contender]) -> list[str]:
    """Return the columns to draw: each result on validation data, and the loss on training data."""
    found: Mapping[str, None] = {
        name: None
        for contender in contenders
        for run in contender.runs
        for name in columns.result_names(run.history)
    }
    names = []
    for name in found:
        validation = columns.VALIDATION_PREFIX + name
        names += [validation, name] if name == "loss" else [validation]
    return [name for name in names if any(_histories(x, name) for x in contenders)]
