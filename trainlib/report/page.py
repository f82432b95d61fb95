"""Parts of an HTML page: one file, light or dark as the reader's system is, without scripts.

Texts are escaped here; parameters named `body`, `parts` or `columns` are HTML.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from trainlib.report import figures
from trainlib.report.columns import BestEpoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNKNOWN = "?"
"""Text for a setting of a run whose settings are unknown."""
STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 20px 16px 48px; }
h1 { font-size: 24px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 32px 0 10px; padding-bottom: 4px;
  border-bottom: 1px solid var(--line); }
p { margin: 4px 0; }
a { color: inherit; }
.muted { color: var(--muted); }
.warning { color: var(--bad); font-weight: 600; }
.mistake { color: var(--bad); }
.head { display: flex; flex-wrap: wrap; gap: 12px 48px; align-items: flex-start; }
.head > div { min-width: 0; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 16px; margin: 10px 0; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 14px 0 4px; color: var(--muted); font-weight: 600; }
.results { display: flex; flex-wrap: wrap; gap: 10px 36px; margin: 18px 0 10px; }
.results strong { display: block; font-size: 26px; line-height: 1.2;
  font-variant-numeric: tabular-nums; }
.results span { color: var(--muted); }
.advice { margin: 4px 0 12px; max-width: 75ch; }
.pictures { display: grid; gap: 16px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.figure { overflow-x: auto; min-width: 0; }
.figure svg { display: block; width: 100%; height: auto; min-width: calc(0.85 * var(--width));
  max-width: calc(1.2 * var(--width)); stroke-linejoin: round; stroke-linecap: butt;
  font-family: inherit; }
.wide { grid-column: 1 / -1; }
.wide svg { min-width: calc(1.1 * var(--width)); }
.scroll { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 3px 12px 3px 0; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 12em; }
th { color: var(--muted); font-weight: 600; }
.number { text-align: right; }
.examples { display: grid; gap: 14px 12px;
  grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); }
.examples figure { margin: 0; font-size: 13px; line-height: 1.35; overflow-wrap: anywhere; }
.examples img { display: block; width: 96px; height: 96px; object-fit: contain;
  image-rendering: pixelated; border: 1px solid var(--line); margin-bottom: 4px; }
.sheet td, .sheet th { border: 0; padding: 0 8px 6px 0; }
.sheet th { font-weight: 400; font-size: 13px; }
.sheet img { display: block; width: 80px; height: 80px; object-fit: contain;
  image-rendering: pixelated; border: 1px solid var(--line); }
summary { cursor: pointer; }
.command span { display: inline-block; max-width: 100%; }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
"""


class WrappedText(str):
    """Text of a table cell that may be wrapped."""


class NumberText(str):
    """Text of a table cell that is aligned as numbers are."""


class Link(str):
    """Text of a table cell that leads to a file.

    Args:
        text: the text.
        path: path of the file, relative to the page.
    """

    path: str

    def __new__(cls, text: str, path: str) -> Link:
        link = super().__new__(cls, text)
        link.path = path
        return link


class ExampleImage(NamedTuple):
    """A small image with lines of text below it.

    Attributes:
        png: the image as PNG in base64.
        lines: lines of text.
        mistake: the line that is wrong, which stands out; None if none is.
    """

    png: str
    lines: Sequence[str]
    mistake: str | None


class Provenance(NamedTuple):
    """Where the results of a page come from; "" for what is unknown.

    Attributes:
        command: the command that makes them.
        date: when they were made, as text.
        seed: the seed.
        versions: versions of packages by name.
    """

    command: str = ""
    date: str = ""
    seed: str = ""
    versions: Mapping[str, str] = {}

    def __str__(self) -> str:
        parts = [self.date, self.seed and f"seed {self.seed}"]
        parts += [f"{name} {version}" for name, version in self.versions.items()]
        return " · ".join(filter(None, parts))


def document(title: str, parts: Iterable[str]) -> str:
    """Return a complete page."""
    light, dark = (
        " ".join(f"--{name}: {color[k]};" for name, color in figures.THEME.items()) for k in (0, 1)
    )
    schemes = (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{schemes}\n{STYLE.strip()}\n</style>\n"
        f"</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def heading(title: str, made: Provenance | None = None, warning: str = "") -> str:
    """Return the title of the page, where its results come from, and a warning."""
    lines = [f"<h1>{escape(title)}</h1>"]
    if made is not None and made.command:
        words = " ".join(f"<span>{escape(word)}</span>" for word in made.command.split(" "))
        lines.append(f'<p class="muted command"><code>{words}</code></p>')
    if made is not None and str(made):
        lines.append(note(str(made)))
    if warning:
        lines.append(f'<p class="warning">{escape(warning)}</p>')
    return "\n".join(lines)


def key_results(shown: Iterable[tuple[str, str]]) -> str:
    """Return the results that a reader looks for first, as values in large type and what they are.

    "" if there are none.
    """
    cells = [
        f"<div><strong>{escape(value)}</strong><span>{escape(name)}</span></div>"
        for value, name in shown
    ]
    return '<div class="results">\n' + "\n".join(cells) + "\n</div>" if cells else ""


def advice(sentences: Iterable[str]) -> str:
    """Return what the results mean and what to try next, a paragraph for each sentence."""
    lines = "\n".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return f'<div class="advice">\n{lines}\n</div>' if lines else ""


def section(title: str, *parts: str) -> str:
    """Return parts under a heading; "" if all of them are empty."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def subsection(title: str, body: str) -> str:
    """Return a part of a section under a heading of its own; "" if it is empty."""
    return f"<h3>{escape(title)}</h3>\n{body}" if body else ""


def description_list(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a list of names and texts, without those whose text is empty."""
    lines = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs if text)
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def side_by_side(*columns: str) -> str:
    """Return columns that stand side by side if the page is wide enough."""
    shown = "\n".join(f"<div>{column}</div>" for column in columns if column)
    return f'<div class="head">\n{shown}\n</div>'


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    strong: Collection[tuple[int, int]] = (),
) -> str:
    """Return a table; the numbers of a column have the same decimals, four digits in all.

    Args:
        headers: header of each column.
        rows: cells of each row.
        strong: cells, as (row, column), that stand out.
    """
    columns = [[row[k] for row in rows] for k in range(len(headers))]
    numeric = [any(map(_is_number, column)) for column in columns]
    written = [_number_text(column) for column in columns]
    head = "".join(
        f'<th scope="col"{_class_of(is_number)}>{escape(header)}</th>'
        for header, is_number in zip(headers, numeric, strict=True)
    )
    lines = [
        "<tr>"
        + "".join(
            _cell(x, written[k], "number" if numeric[k] else "", (i, k) in strong)
            for k, x in enumerate(row)
        )
        + "</tr>"
        for i, row in enumerate(rows)
    ]
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def table_of_differences(header: str, settings: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table with a row for each setting that is not the same in all columns.

    Args:
        header: header of the names of the settings.
        settings: texts of the settings by name, for each column; {} where they are unknown.
    """
    rows = []
    for name in dict.fromkeys(name for values in settings.values() for name in values):
        texts = [x.get(name, "") if x else UNKNOWN for x in settings.values()]
        if len(set(texts)) > 1:
            rows.append([name, *map(WrappedText, texts)])
    return table([header, *settings], rows) if rows else note("None.")


def figure_grid(named: Iterable[tuple[str, Figure]]) -> str:
    """Return figures in a grid; "" if there are none. Wide ones have a row of their own.

    Args:
        named: names and figures; a name is used once per page.
    """
    cells = []
    for name, figure in named:
        is_wide = figure.get_figwidth() > 1.1 * figures.WIDTH
        drawn = figures.as_svg(figure, name, escape(name.replace("_", " ")))
        cells.append(f'<div class="figure{" wide" if is_wide else ""}">{drawn}</div>')
    return '<div class="pictures">\n' + "\n".join(cells) + "\n</div>" if cells else ""


def example_images(shown: Iterable[ExampleImage]) -> str:
    """Return small images in a grid."""
    cells = []
    for png, lines, mistake in shown:
        texts = (
            f'<span class="mistake">{escape(line)}</span>' if line == mistake else escape(line)
            for line in lines
        )
        cells.append(f"<figure>{_image(png, lines[0])}{'<br>'.join(texts)}</figure>")
    return '<div class="examples">\n' + "\n".join(cells) + "\n</div>"


def image_sheet(rows: Mapping[str, Sequence[str]], captions: Sequence[Sequence[str]]) -> str:
    """Return small images in rows and columns, the same example in each column.

    Args:
        rows: images as PNG in base64 by the name of the row.
        captions: lines of text of each column.
    """
    lines = []
    for name, images in rows.items():
        cells = (
            f"<td>{_image(png, f'{caption[0]}, {name}')}</td>"
            for png, caption in zip(images, captions, strict=True)
        )
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    texts = ("<br>".join(map(escape, caption)) for caption in captions)
    head = "".join(f'<th scope="col">{text}</th>' for text in texts)
    body = "\n".join(lines)
    return (
        f'<div class="scroll sheet"><table>\n<thead><tr><td></td>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _image(png: str, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{png}">'


def code_lines(lines: Iterable[str]) -> str:
    """Return lines of code."""
    return "<br>\n".join(f"<code>{escape(line)}</code>" for line in lines)


def collapsed(title: str, body: str) -> str:
    """Return a part that is shown after a click on its title."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{body}\n</details>"


def link(text: str, path: str) -> str:
    """Return a line that leads to a file.

    Args:
        text: text of the line.
        path: path of the file, relative to the page.
    """
    return f'<p><a href="{escape(quote(path))}">{escape(text)}</a></p>'


def note(text: str) -> str:
    """Return a line of muted text."""
    return f'<p class="muted">{escape(text)}</p>'


def with_spread(value: float, spread: float) -> NumberText:
    """Return a number and its spread, both with the decimals of two digits of the spread.

    Args:
        value: the number.
        spread: such as its standard deviation; NaN: unknown, the number has four digits.
    """
    if not spread > 0:
        return NumberText(f"{value:.4g}" + (" ± 0" if spread == 0 else ""))
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    if decimals > 6 or abs(value) >= 1e7:
        return NumberText(f"{value:.4g} ± {spread:.2g}")
    return NumberText(f"{value:.{decimals}f} ± {spread:.{decimals}f}")


def describe_best(best: BestEpoch | None, name: str) -> str:
    """Return the best epoch and its result as text; "" for None."""
    return "" if best is None else f"{best.epoch} ({name} {best.value:.4g})"


def _cell(content: object, written: Callable[[float], str], kind: str, strong: bool) -> str:
    text = escape(written(content) if isinstance(content, float) else str(content))
    if isinstance(content, Link):
        text = f'<a href="{escape(quote(content.path))}">{text}</a>'
    kind = "long" if isinstance(content, WrappedText) else kind
    shown = f"<strong>{text}</strong>" if strong else text
    return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"


def _is_number(content: object) -> bool:
    return isinstance(content, (int, float, NumberText))


def _class_of(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _number_text(column: Iterable[object]) -> Callable[[float], str]:
    """Return how the floats of a column are written: with as many decimals as the largest has.

    Columns of very large, very small, or very different numbers have four digits in each number.
    """
    sizes = [abs(x) for x in column if isinstance(x, float) and math.isfinite(x) and x]
    if not sizes or max(sizes) >= 1e7 or max(sizes) < 1e-4 or min(sizes) < max(sizes) / 20:
        return lambda x: f"{x:.4g}"
    if all(x == round(x) for x in sizes) and max(sizes) > 1:
        return lambda x: f"{x:.0f}"
    largest = max(sizes) if max(sizes) != 1 else 0.9  # a fraction such as an accuracy
    decimals = max(0, 3 - math.floor(math.log10(largest)))
    return lambda x: f"{x:.{decimals}f}"
