"""Parts of an HTML page: one file, light or dark as the reader's system is, without scripts.

Texts are escaped here; parameters named `body`, `parts` or `columns` are HTML.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 16px; margin: 10px 0; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
.pictures { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); }
.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
.pictures svg { display: block; width: 100%; height: auto; stroke-linejoin: round;
  stroke-linecap: butt; font-family: inherit; }
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
summary { cursor: pointer; }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
"""


class WrappedText(str):
    """Text of a table cell that may be wrapped."""


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


def heading(title: str, subtitle: str = "", warning: str = "") -> str:
    """Return the title of the page, a line of code below it, and a warning."""
    lines = [f"<h1>{escape(title)}</h1>"]
    if subtitle:
        lines.append(f'<p class="muted"><code>{escape(subtitle)}</code></p>')
    if warning:
        lines.append(f'<p class="warning">{escape(warning)}</p>')
    return "\n".join(lines)


def section(title: str, *parts: str) -> str:
    """Return parts under a heading; "" if all of them are empty."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


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
    """Return a table; numbers have four digits.

    Args:
        headers: header of each column.
        rows: cells of each row.
        strong: cells, as (row, column), that stand out.
    """
    numeric = [any(_is_number(row[k]) for row in rows) for k in range(len(headers))]
    head = "".join(
        f"<th{_class_of(is_number)}>{escape(header)}</th>"
        for header, is_number in zip(headers, numeric, strict=True)
    )
    lines = [
        "<tr>"
        + "".join(_cell(x, numeric[k], (i, k) in strong) for k, x in enumerate(row))
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


def figure_grid(named: Iterable[tuple[str, Figure]], *parts: str, large: bool = False) -> str:
    """Return figures and other parts in a grid; "" if there are none.

    Args:
        named: names and figures; a name is used once per page.
        parts: HTML to show after the figures.
        large: whether the cells are larger. Default: False.
    """
    cells = [figures.as_svg(f, name, escape(name.replace("_", " "))) for name, f in named]
    cells += [f"<div>\n{part}\n</div>" for part in parts if part]
    kind = "pictures large" if large else "pictures"
    return f'<div class="{kind}">\n' + "\n".join(cells) + "\n</div>" if cells else ""


def example_images(shown: Iterable[ExampleImage]) -> str:
    """Return small images in a grid."""
    cells = []
    for png, lines, mistake in shown:
        texts = (
            f'<span class="mistake">{escape(line)}</span>' if line == mistake else escape(line)
            for line in lines
        )
        image = f'<img alt="" src="data:image/png;base64,{png}">'
        cells.append(f"<figure>{image}{'<br>'.join(texts)}</figure>")
    return '<div class="examples">\n' + "\n".join(cells) + "\n</div>"


def code_lines(lines: Iterable[str]) -> str:
    """Return lines of code."""
    return "<br>\n".join(f"<code>{escape(line)}</code>" for line in lines)


def collapsed(title: str, body: str) -> str:
    """Return a part that is shown after a click on its title."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{body}\n</details>"


def note(text: str) -> str:
    """Return a line of muted text."""
    return f'<p class="muted">{escape(text)}</p>'


def describe_best(best: BestEpoch | None, name: str) -> str:
    """Return the best epoch and its result as text; "" for None."""
    return "" if best is None else f"{best.epoch} ({name} {best.value:.4g})"


def _cell(content: object, numeric: bool, strong: bool) -> str:
    text = escape(f"{content:.4g}" if isinstance(content, float) else str(content))
    if isinstance(content, Link):
        text = f'<a href="{escape(quote(content.path))}">{text}</a>'
    kind = ' class="long"' if isinstance(content, WrappedText) else _class_of(numeric)
    return f"<td{kind}>{f'<strong>{text}</strong>' if strong else text}</td>"


def _is_number(content: object) -> bool:
    return isinstance(content, (int, float))


def _class_of(numeric: bool) -> str:
    return ' class="number"' if numeric else ""
