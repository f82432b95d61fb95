"""Commands and calls that the documentation shows: found, and checked without running them."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainlib.cli import app
from trainlib.cli.commands import COMMANDS
from trainlib.cli.flags import function_topics

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_WITHOUT_DEFINE = ("launch_local", "list", "completion")


def pages() -> list[str]:
    """Return the paths of the pages that people read, and of those of the repository's root."""
    root = ["README.md", "BUILD.md", "CONTRIBUTING.md", "SECURITY.md"]
    docs = (path for path in (ROOT / "docs").rglob("*.md") if not path.name.endswith(".in.md"))
    names = [str(path.relative_to(ROOT)) for path in docs]
    return root + sorted(names)


def fenced(page: str) -> Iterator[tuple[str, str]]:
    """Yield language and text of each fenced block of a page."""
    for match in _FENCE.finditer((ROOT / page).read_text(encoding="utf-8")):
        yield match[1], match[2]


def indented(page: str) -> Iterator[str]:
    """Yield each indented block of code of a page; in lists, indented text is a part of them."""
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    block: list[str] = []
    before = ""
    for line in [*text.splitlines(), "end"]:
        if line.startswith("    ") and (block or not before):
            block.append(line[4:])
        elif not line and block:
            block.append("")
        else:
            if block and not _is_list(text, block):
                yield "\n".join(block).strip("\n") + "\n"
            block = []
        before = line
    return


def _is_list(text: str, block: list[str]) -> bool:
    """Return whether a block continues an item of a list."""
    head = text.partition(f"\n    {block[0]}")[0].rstrip().rpartition("\n")[2]
    return bool(re.match(r" *(- |\d+\. )", head)) or head.startswith("   ")


def command_lines(page: str) -> Iterator[str]:
    """Yield the lines of a page that begin with a command of trainlib, spans of code included."""
    texts = [text for language, text in fenced(page) if language in ("bash", "")]
    texts += list(indented(page))
    for text in texts:
        yield from _lines(text)
    spans = _SPAN.findall(_FENCE.sub("", (ROOT / page).read_text(encoding="utf-8")))
    yield from (span.replace("\\|", "|") for span in spans if _words(span))


def _lines(text: str) -> Iterator[str]:
    """Yield the commands in a text; lines that end with a backslash or in a string are joined."""
    line = ""
    for part in text.splitlines():
        line += part.strip() if line else part.removeprefix("$ ").strip()
        if line.endswith("\\"):
            line = line[:-1]
            continue
        if line.count("'") % 2 and _words(line + "'"):
            line += " "
            continue
        if _words(line):
            yield line
        line = ""


def _words(line: str) -> list[str]:
    """Return the words of the first command in a line; [] if it is none of trainlib's."""
    try:
        words = shlex.split(re.split(r"\s+(?:\|\||\||&&|&|>|<|;)(?:\s|$)", line)[0], comments=True)
    except ValueError:
        return []
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if words and words[0] == "trainlib":
        words.pop(0)
    if len(words) > 3 and words[0] == "launch_local" and words[2] == "--":
        words = words[3:]
    return words if words and words[0] in COMMANDS else []


@functools.cache
def _flags(command: str) -> Any:
    """Return the flags of a command; they are parsed again and again."""
    module = importlib.import_module(COMMANDS[command].module)
    values = app.defined_flags(module.define, function_topics())
    values.set_gnu_getopt(True)
    return values


def check_command(line: str) -> None:
    """Parse a command by the flags of its module.

    Raises:
        absl.flags.Error, ValueError: it has an unknown flag, or a value that no flag takes.
    """
    command, *rest = (word for word in _words(line) if word not in ("...", "runs/..."))
    if command in _WITHOUT_DEFINE or not any(word.startswith("-") for word in rest):
        return
    values = _flags(command)
    values([command, *(word for word in rest if not _is_mention(word, values))])


def _is_mention(word: str, values: Any) -> bool:
    """Return whether a word names a flag without a value, or a file that is not there."""
    name, _, value = word.removeprefix("--").partition("=")
    if value in ("...", "N") or name == "flagfile":
        return True
    return "=" not in word and name in values and not values[name].boolean


def unknown_names(source: str) -> list[str]:
    """Return the names `tl.x.y` in a Python source that trainlib does not have."""
    import trainlib

    missing = []
    for node in ast.walk(ast.parse(source)):
        path, inner = [], node
        while isinstance(inner, ast.Attribute):
            path, inner = [inner.attr, *path], inner.value
        if path and isinstance(inner, ast.Name) and inner.id == "tl":
            found: Any = trainlib
            for name in path:
                if not hasattr(found, name):
                    missing.append(".".join(["tl", *path]))
                    break
                found = getattr(found, name)
                if callable(found):
                    break
    return missing
