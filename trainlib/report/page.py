"""Parts of an HTML page: one file, light or dark as the reader's system is, without scripts.

Texts are escaped here; parameters named `body`, `parts` or `columns` are HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from trainlib.report import figures
from trainlib.report.columns import BestEpoch
from trainlib.report.page_style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ExampleImage(NamedTuple):
    """A small image with lines of text below it.

    Attributes:
        png: the image as PNG in base64.
        lines: lines of text.
        mistake: the line, among `lines`, that names a wrong prediction; it has another color.
            None if the prediction is right.
    """

    png: str
    lines: Sequence[str]
    mistake: str | None


class Provenance(NamedTuple):
    """How the results of a page were made; an unknown field is "".

    Attributes:
        command: the command that made the results.
        date: date and time, as text.
        seed: the seed of the random numbers.
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


def describe_best(best: BestEpoch | None, name: str) -> str:
    """Return the best epoch and its result as text; "" for None."""
    return "" if best is None else f"{best.epoch} ({name} {best.value:.4g})"
