"""Pictures, by matplotlib: an extra, asked for only where a picture is drawn.

A picture is drawn once, in the colours of THEME for light paper. As SVG inside a page its colours
are CSS variables, so that the page can be dark.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.training.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trainlib.tools.loss_curve import LRFinderResult

MISSING = "pictures need matplotlib: pip install trainlib[plots]"


class Color(NamedTuple):
    """A colour on light paper and on dark."""

    light: str
    dark: str


THEME: Mapping[str, Color] = {
    "paper": Color("#fdfdfd", "#14171c"),
    "ink": Color("#1f2328", "#e3e7ec"),
    "muted": Color("#59636e", "#98a2ad"),
    "line": Color("#d5d9de", "#3a414a"),
    "train": Color("#0072b2", "#4aa8e8"),
    "validation": Color("#d55e00", "#ff8a3d"),
    "green": Color("#009e73", "#2ec99b"),
    "purple": Color("#b5558f", "#e594c6"),
    "yellow": Color("#c79100", "#f2c744"),
    "sky": Color("#4f9fc9", "#a5dcff"),
    "brown": Color("#7a4a2b", "#c99b7d"),
    "gray": Color("#808080", "#bdbdbd"),
    "bad": Color("#b3122a", "#ff6b7d"),
}
"""By name; those of lines can be told apart by the colour-blind."""
TRAIN, VALIDATION = THEME["train"].light, THEME["validation"].light
MANY = tuple(list(color.light for color in THEME.values())[4:12])
"""Of many lines."""
INK, MUTED, LINE, BAD = (THEME[name].light for name in ("ink", "muted", "line", "bad"))


def picture(
    title: str, xlabel: str, ylabel: str, size: tuple[float, float] = (4.8, 3.1), **options: Any
) -> tuple[Figure, Any]:
    """An empty picture and its axes, of no window and no global state.

    Args:
        title: above it; it and the labels are shown as they are, a dollar sign too.
        xlabel: of the axis.
        ylabel: of the axis.
        size: width and height in inches.
        options: of the axes.

    Raises:
        ImportError: matplotlib is not installed.
    """
    require()
    import matplotlib
    from matplotlib.figure import Figure

    colors = {
        **dict.fromkeys(("axes.edgecolor", "grid.color"), LINE),
        **dict.fromkeys(("text.color", "axes.labelcolor"), INK),
        **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), MUTED),
        **dict.fromkeys(("xtick.color", "ytick.color"), LINE),
    }
    with matplotlib.rc_context(colors):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot(**options)
        axes.set_title(title, parse_math=False, fontsize=11)
        axes.set_xlabel(xlabel, parse_math=False)
        axes.set_ylabel(ylabel, parse_math=False)
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def require() -> None:
    """Raises `ImportError`, which says what to install, where there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise  # matplotlib is there, and lacks something
        raise ImportError(MISSING) from None


def legend(axes: Any, below: Figure | None = None) -> None:
    """The legend of what has labels, if anything has: in the axes, or below them in a picture."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        place = {} if below is None else {"loc": "outside lower left"}
        options = {"frameon": False, "fontsize": 9, "labelcolor": INK} | place
        box = (below or axes).legend(handles, labels, **options)
        for text in box.get_texts():
            text.set_parse_math(False)


def lr_find(result: LRFinderResult, title: str = "") -> Figure:
    """The curve of a range test: the loss by learning rate, and the rates that follow from it.

    Args:
        result: of `lr_finder`.
        title: above the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    marks = {
        "suggestion": result.suggestion,
        "steepest": result.steepest,
        "tenth of minimum": result.tenth_of_minimum,
    }
    return range_test(result.rates, result.losses, result.smoothed, marks, title, size=(8, 5))


def range_test(
    rates: np.ndarray,
    losses: np.ndarray,
    smoothed: np.ndarray,
    marks: Mapping[str, float],
    title: str = "",
    **options: Any,
) -> Figure:
    """The curve of a range test with some rates marked, at most three.

    Args:
        rates: of each step.
        losses: of each step.
        smoothed: losses of each step.
        marks: rates by name.
        title: above the picture.
        options: of `picture`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure, axes = picture(title, "learning rate", "loss", xscale="log", **options)
    axes.plot(rates, losses, color=TRAIN, alpha=0.3, linewidth=1, label="each batch")
    axes.plot(rates, smoothed, color=TRAIN, linewidth=2, label="smoothed")
    styles = zip(MANY[1:], ("-", ":", "--"), strict=False)
    for (name, rate), (color, style) in zip(marks.items(), styles, strict=False):
        axes.axvline(rate, color=color, linestyle=style, label=f"{name}: {rate:.2g}")
    _limit_losses(axes, smoothed)
    legend(axes)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a picture as PNG, whole or not at all.

    Args:
        figure: the picture.
        path: of the file.
    """
    with _any_letters():
        write_whole(Path(path), lambda aside: figure.savefig(aside, format="png", dpi=120))


def svg(figure: Figure, key: str, about: str) -> str:
    """A picture as an SVG element of an HTML page, whose CSS has a variable for each of THEME.

    Args:
        figure: the picture.
        key: no other picture of the page may have it.
        about: what it shows, in words, escaped for an attribute.
    """
    import matplotlib

    none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawn = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": key}
    with matplotlib.rc_context(settings), _any_letters():
        figure.savefig(drawn, format="svg", metadata=none, transparent=True, dpi=144)
    figure.set_layout_engine("none")  # it has its layout now, for a PNG of it too
    text = drawn.getvalue()
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    text = f'<svg {box[0]} role="img" aria-label="{about}"{text[text.index(">") :]}'
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would be the whole page's
    text = re.sub(r' id="[\w.]+_\d+"', "", text)  # those of groups, the same in each picture
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text).replace("xlink:href=", "href=")
    names = {color.light: name for name, color in THEME.items()}
    in_page = re.compile("|".join(names))
    return in_page.sub(lambda found: f"var(--{names[found[0]]})", text)


def _limit_losses(axes: Any, smoothed: np.ndarray) -> None:
    """Shows the smoothed curve whole, and of the batches what is near it.

    At the end of the test one batch's loss can be thousands of times the others.
    """
    finite = smoothed[np.isfinite(smoothed)]
    low, high = float(finite.min()), float(finite.max())
    margin = 0.25 * (high - low)
    axes.set_ylim(low - margin, high + margin)


@contextlib.contextmanager
def _any_letters() -> Iterator[None]:
    """Letters that matplotlib's font lacks are no warnings on the user's screen."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield
