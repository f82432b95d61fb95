"""The curve of a learning-rate range test, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.report import figures
from trainlib.tools.loss_curve import LRFinderResult
from trainlib.training.files import write_text
from trainlib.training.paths import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE_FILE = "lr_find.csv"
PICTURE_FILE = "lr_find.png"


class LossCurve(NamedTuple):
    """Losses of a range test by learning rate.

    Attributes:
        rates: learning rate of each step, [K].
        losses: loss of each step, [K].
        smoothed: smoothed loss of each step, [K].
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray


def write_range_test(
    folder: Path, result: LRFinderResult, title: str, log: Callable[[str], Any]
) -> None:
    """Write the curve as a table and as a picture.

    Args:
        folder: where to write.
        result: result of `lr_finder`.
        title: title of the picture.
        log: called with a line if matplotlib, which draws the picture, is not installed.
    """
    rows = zip(result.rates, result.losses, result.smoothed, strict=True)
    lines = [f"{k},{','.join(str(float(x)) for x in row)}" for k, row in enumerate(rows)]
    write_text(folder / CURVE_FILE, "\n".join(["step,learning_rate,loss,smoothed", *lines]) + "\n")
    try:
        figures.save_png(range_test_figure(result, title), folder / PICTURE_FILE)
    except ImportError as error:
        log(f"no {PICTURE_FILE}: {error}")


def read_curve(folder: Path) -> LossCurve | None:
    """Return the curve that `write_range_test` wrote into a folder; None if there is none.

    Raises:
        ValueError: the file holds something else.
    """
    file = folder / CURVE_FILE
    if not file.is_file():
        return None
    try:
        table = np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)
        _, rates, losses, smoothed = table.T
    except ValueError as error:
        raise ValueError(f"{shown(file)}: not the curve of a range test: {error}") from error
    return LossCurve(rates, losses, smoothed)


def range_test_figure(result: LRFinderResult, title: str = "") -> Figure:
    """Return a figure of the loss by learning rate, with the suggested rates marked.

    Args:
        result: result of `lr_finder`.
        title: title of the figure. Default: "".

    Raises:
        ImportError: matplotlib is not installed.
    """
    marks = {
        "suggestion": result.suggestion,
        "steepest": result.steepest,
        "tenth of minimum": result.tenth_of_minimum,
    }
    curve = LossCurve(result.rates, result.losses, result.smoothed)
    return curve_figure(curve, marks, title, size=(8, 5))


def curve_figure(
    curve: LossCurve, marks: Mapping[str, float], title: str = "", **options: Any
) -> Figure:
    """Return a figure of the loss by learning rate, with some rates marked.

    Args:
        curve: the losses.
        marks: learning rates by name, at most three.
        title: title of the figure. Default: "".
        options: options of `figures.new_figure`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure, axes = figures.new_figure(title, "learning rate", "loss", xscale="log", **options)
    losses = {"color": figures.TRAIN, "alpha": 0.3, "linewidth": 1, "label": "each batch"}
    axes.plot(curve.rates, curve.losses, **losses)
    smoothed = {"color": figures.TRAIN, "linewidth": 2, "label": "smoothed"}
    axes.plot(curve.rates, curve.smoothed, **smoothed)
    styles = zip(figures.LINE_COLORS[1:], ("-", ":", "--"), strict=False)
    for (name, rate), (color, style) in zip(marks.items(), styles, strict=False):
        axes.axvline(rate, color=color, linestyle=style, label=f"{name}: {rate:.2g}")
    _limit_losses(axes, curve.smoothed)
    figures.add_legend(axes)
    return figure


def _limit_losses(axes: Any, smoothed: np.ndarray) -> None:
    """Limit the vertical axis to the smoothed curve and the batch losses near it.

    At the end of the test the loss of one batch can be thousands of times the others.
    """
    finite = smoothed[np.isfinite(smoothed)]
    low, high = float(finite.min()), float(finite.max())
    margin = 0.25 * (high - low)
    axes.set_ylim(low - margin, high + margin)
