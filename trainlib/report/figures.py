"""Figures: make and style them, write them as PNG, and embed them as SVG in a page.

They are drawn by matplotlib, which is optional and imported when a figure is drawn. A figure is
drawn once, in the colors of THEME for a light page. As SVG inside a page its colors are CSS
variables, so that the page can be dark.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "figures need matplotlib: pip install matplotlib"

SMALLEST_WIDTH = 1e-6
"""Smallest width of a histogram, relative to its largest value."""


class Color(NamedTuple):
    """A color on a light and on a dark page, as `#rrggbb`."""

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
"""Colors by name; those of lines can be distinguished by color-blind readers."""
TRAIN, VALIDATION = THEME["train"].light, THEME["validation"].light
LINE_COLORS = tuple(color.light for color in list(THEME.values())[4:12])
"""Colors of many lines in one figure."""
WIDTH, HEIGHT = 4.5, 3.2
"""Width and height of most figures in inches. All figures of a page have the same text size."""
SQUARE = (WIDTH, 4.4)
"""Width and height in inches of figures whose axes have the same unit."""
SMALL_FONT = 9
"""Size of the smallest text of a figure in points; 1 point is about 1.1 CSS pixels on a page."""
TITLE_LETTERS = 46
"""Number of letters in a line of a title, in a figure of WIDTH."""
LEGEND_LETTERS = 60
"""Number of letters in a line of a legend, in a figure of WIDTH; each line sample takes 7."""
INK, MUTED, LINE, BAD = (THEME[name].light for name in ("ink", "muted", "line", "bad"))


def require_matplotlib() -> None:
    """Raise `ImportError` if matplotlib is missing; the message says what to install."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise  # matplotlib is installed, but one of its dependencies is not
        raise ImportError(MISSING) from None


def has_matplotlib() -> bool:
    """Return whether matplotlib is installed."""
    try:
        require_matplotlib()
    except ImportError:
        return False
    return True


def new_figure(
    title: str,
    xlabel: str,
    ylabel: str,
    size: tuple[float, float] = (WIDTH, HEIGHT),
    **options: Any,
) -> tuple[Figure, Any]:
    """Return an empty figure and its axes, independent of pyplot.

    Args:
        title: title of the figure; it and the labels are shown verbatim, dollar signs included.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        size: width and height in inches.
        options: options of `Figure.add_subplot`, such as `xscale`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    require_matplotlib()
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
        letters = round(TITLE_LETTERS * size[0] / WIDTH)
        axes.set_title(textwrap.fill(title, letters), parse_math=False, fontsize=11)
        axes.set_xlabel(xlabel, parse_math=False)
        axes.set_ylabel(ylabel, parse_math=False)
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_histogram(axes: Any, values: np.ndarray) -> None:
    """Draw a histogram of values, at least one, all finite; they may be equal and large."""
    values = values.astype(np.float64)
    bins = min(max(round(values.size**0.5), 5), 50)
    least = SMALLEST_WIDTH * float(np.abs(values).max())
    pad = least if np.ptp(values) < least else 0.0  # narrower bins would have no width
    limits = float(values.min()) - pad, float(values.max()) + pad
    axes.hist(values, bins=bins, range=limits, color=TRAIN, histtype="stepfilled")


def add_legend(axes: Any, title: str = "") -> None:
    """Add a legend of all labeled artists, if any, below the axes, where it covers no data.

    Args:
        axes: the axes of a figure of `new_figure`.
        title: title of the legend. Default: "", none.
    """
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    columns = _legend_columns(labels, LEGEND_LETTERS * axes.figure.get_figwidth() / WIDTH)
    look = {"frameon": False, "fontsize": SMALL_FONT, "labelcolor": INK, "columnspacing": 1.2}
    if title:
        look |= {"title": title, "title_fontsize": SMALL_FONT, "alignment": "left"}
    legend = axes.figure.legend(
        handles, labels, loc="outside lower left", ncols=columns, borderaxespad=0.2, **look
    )
    legend.get_title().set_color(INK)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)


def _legend_columns(labels: Sequence[str], letters: float) -> int:
    """Return the largest number of columns of a legend that fit into its width."""
    for rows in range(1, len(labels)):
        columns = -(-len(labels) // rows)
        length, longer = divmod(len(labels), columns)  # as matplotlib fills the columns
        ends = np.cumsum([length + (k < longer) for k in range(columns)])
        parts = np.split(np.array([len(x) + 7 for x in labels]), ends[:-1])
        if sum(part.max() for part in parts) <= letters:
            return columns
    return 1


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, atomically.

    Args:
        figure: the figure.
        path: path of the file.
    """
    with _without_glyph_warnings():
        write_atomically(Path(path), lambda aside: figure.savefig(aside, format="png", dpi=150))


def as_svg(figure: Figure, key: str, label: str) -> str:
    """Return a figure as the SVG element of an HTML page whose CSS defines the colors of THEME.

    Args:
        figure: the figure.
        key: a unique name of the figure in the page.
        label: description of the figure, escaped for an HTML attribute.
    """
    import matplotlib

    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawn = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": key}
    with matplotlib.rc_context(settings), _without_glyph_warnings():
        figure.savefig(drawn, format="svg", metadata=metadata, transparent=True, dpi=144)
    figure.set_layout_engine("none")  # keep this layout for a PNG of the same figure
    text = drawn.getvalue()
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    width = f'style="--width: {72 * figure.get_figwidth():g}px"'
    text = f'<svg {box[0]} {width} role="img" aria-label="{label}"{text[text.index(">") :]}'
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # would apply to the whole page
    text = re.sub(r' id="[\w.]+_\d+"', "", text)  # groups have the same ids in each figure
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text).replace("xlink:href=", "href=")
    names = {color.light: name for name, color in THEME.items()}
    return re.sub("|".join(names), lambda found: f"var(--{names[found[0]]})", text)


@contextlib.contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    """Silence matplotlib's warnings about letters that its font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield
