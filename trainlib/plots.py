"""Pictures, by matplotlib: an extra, asked for only where a picture is drawn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainlib.files import write_whole
from trainlib.finder import LRFinderResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "pictures need matplotlib: pip install trainlib[plots]"


def lr_find(result: LRFinderResult, title: str = "") -> Figure:
    """The curve of a range test: the loss by learning rate, and the rates that follow from it.

    Args:
        result: of `lr_finder`.
        title: above the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure()
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss", title=title)
    axes.plot(result.rates, result.losses, color="C0", alpha=0.3, linewidth=1, label="each batch")
    axes.plot(result.rates, result.smoothed, color="C0", linewidth=2, label="smoothed")
    marks = {
        "suggestion": (result.suggestion, "C3", "-"),
        "steepest": (result.steepest, "C2", ":"),
        "tenth of minimum": (result.tenth_of_minimum, "C1", "--"),
    }
    for name, (rate, color, style) in marks.items():
        axes.axvline(rate, color=color, linestyle=style, label=f"{name}: {rate:.2g}")
    _limit_losses(axes, result)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a picture as PNG, whole or not at all.

    Args:
        figure: the picture.
        path: of the file.
    """
    write_whole(Path(path), lambda aside: figure.savefig(aside, format="png", dpi=120))


def _limit_losses(axes: Any, result: LRFinderResult) -> None:
    """Shows the smoothed curve whole, and of the batches what is near it.

    At the end of the test one batch's loss can be thousands of times the others.
    """
    finite = result.smoothed[abs(result.smoothed) < float("inf")]
    low, high = float(finite.min()), float(finite.max())
    margin = 0.25 * (high - low)
    axes.set_ylim(low - margin, high + margin)


def _figure() -> Figure:
    """An empty picture, of no window and no global state."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise  # matplotlib is there, and lacks something
        raise ImportError(MISSING) from None
    return Figure(figsize=(8, 5), layout="constrained")
