"""The page: HTML of one file, light or dark as the reader's system is, without scripts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from trainlib.report import plots
from trainlib.report.history import Best

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 20px 16px 48px; }
h1 { font-size: 24px; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 32px 0 10px; padding-bottom: 4px;
  border-bottom: 1px solid var(--line); }
p { margin: 4px 0; }
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


class Words(str):
    """A text that a table breaks into lines."""


def document(title: str, parts: Iterable[str]) -> str:
    """The whole page; the parts are HTML."""
    light, dark = (
        " ".join(f"--{name}: {color[k]};" for name, color in plots.THEME.items()) for k in (0, 1)
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


def heading(title: str, about: str = "", warning: str = "") -> str:
    """The title of the page, what it is in a line, and what is wrong with it."""
    lines = [f"<h1>{escape(title)}</h1>"]
    if about:
        lines.append(f'<p class="muted"><code>{escape(about)}</code></p>')
    if warning:
        lines.append(f'<p class="warning">{escape(warning)}</p>')
    return "\n".join(lines)


def section(title: str, *parts: str) -> str:
    """Parts under a heading; nothing where there are none."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they are."""
    lines = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs if text)
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def side_by_side(*parts: str) -> str:
    """Parts beside one another where there is room."""
    columns = "\n".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div class="head">\n{columns}\n</div>'


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    strong: Collection[tuple[int, int]] = (),
) -> str:
    """A table; numbers are short, and those in the places (row, column) of `strong` stand out."""
    numeric = [any(_is_number(row[k]) for row in rows) for k in range(len(headers))]
    head = "".join(
        f"<th{_of_numbers(is_number)}>{escape(header)}</th>"
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


def pictures(figures: Iterable[tuple[str, Figure]], *beside: str, large: bool = False) -> str:
    """Pictures by name, and parts of HTML, beside one another where there is room."""
    drawn = [plots.svg(f, name, escape(name.replace("_", " "))) for name, f in figures]
    drawn += [f"<div>\n{part}\n</div>" for part in beside if part]
    kind = "pictures large" if large else "pictures"
    return f'<div class="{kind}">\n' + "\n".join(drawn) + "\n</div>" if drawn else ""


def examples(shown: Iterable[tuple[str, Sequence[str], str | None]]) -> str:
    """Small images, PNG in base64; the lines under each; and which of these is a mistake."""
    figures = []
    for image, lines, mistake in shown:
        texts = (
            f'<span class="mistake">{escape(line)}</span>' if line == mistake else escape(line)
            for line in lines
        )
        picture = f'<img alt="" src="data:image/png;base64,{image}">'
        figures.append(f"<figure>{picture}{'<br>'.join(texts)}</figure>")
    return '<div class="examples">\n' + "\n".join(figures) + "\n</div>"


def lines_of_code(lines: Iterable[str]) -> str:
    """LineLogger as they are."""
    return "<br>\n".join(f"<code>{escape(line)}</code>" for line in lines)


def folded(title: str, body: str) -> str:
    """What is shown on a click."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{body}\n</details>"


def note(text: str) -> str:
    """A line in gray."""
    return f'<p class="muted">{escape(text)}</p>'


def described(best: Best | None, name: str) -> str:
    """The best epoch in words."""
    return "" if best is None else f"{best.epoch} ({name} {best.value:.4g})"


def shown(content: object) -> str:
    """A number in few digits, all else as it is."""
    return f"{content:.4g}" if isinstance(content, float) else str(content)


def _cell(content: object, numeric: bool, strong: bool) -> str:
    text = escape(shown(content))
    kind = ' class="long"' if isinstance(content, Words) else _of_numbers(numeric)
    return f"<td{kind}>{f'<strong>{text}</strong>' if strong else text}</td>"


def _is_number(content: object) -> bool:
    return isinstance(content, (int, float))


def _of_numbers(numeric: bool) -> str:
    return ' class="number"' if numeric else ""
