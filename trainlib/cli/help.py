"""Help texts: the flags of a command at the width of the terminal, and texts on single topics."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from trainlib.cli.flag_types import Flag, Values, format_value
from trainlib.core.checks import nearest

NARROWEST, WIDEST = 40, 100
"""Range of the width in columns, whatever that of the terminal."""
TWO_COLUMNS_FROM = 72
"""Columns from which texts are to the right of the flags instead of below them."""
TEXT_COLUMN = 30
INDENT = 6


class HelpTopics(NamedTuple):
    """Texts that `--help=TOPIC` shows in place of the command's flags.

    Attributes:
        hint: the last paragraph of --help, which says what topics there are.
        texts: function of the flags and the width that returns the text, by topic.
        kinds: the topics by kind, for the message about an unknown one.
    """

    hint: str
    texts: Mapping[str, Callable[[Values, int], str]]
    kinds: Mapping[str, Sequence[str]]


def terminal_width() -> int:
    """Return the width for help texts: that of the terminal, from 40 to 100 columns."""
    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def help_text(about: str, values: Values, topics: HelpTopics | None = None, width: int = 80) -> str:
    """Return what --help shows: the description, the flags by group, and the hint to topics.

    Args:
        about: the description; its indented lines are not wrapped.
        values: the flags; those that are hidden are left out.
        topics: the command's topics, if it has any.
        width: columns.
    """
    parts = [wrap_paragraphs(about, width)]
    for title, members in values.flags_by_module_dict().items():
        shown = [flag for flag in members if not getattr(flag, "hidden", False)]
        if shown:
            parts.append(f"{title}:\n{describe_flags(shown, width)}")
    if topics is not None:
        parts.append(wrap_paragraphs(topics.hint, width))
    return "\n\n".join(parts)


def short_help_text(
    name: str, about: str, values: Values, common: Sequence[str], width: int = 80
) -> str:
    """Return what --help shows of a command with many flags: a line for each common one.

    Args:
        name: the command.
        about: the description; its indented lines are not wrapped.
        values: the flags.
        common: names of the flags that are shown.
        width: columns.
    """
    flags: list[Any] = [values[flag] for flag in common]
    entries = [describe(_short_label(flag), _short_text(flag, width), width) for flag in flags]
    hint = (
        f"{name} --helpfull lists all flags, {name} --help=NAME those of one optimizer, schedule, "
        "loss, metric, model, ...; trainlib list shows the names."
    )
    common_flags = "Common flags:\n" + "\n".join(entries)
    return "\n\n".join([wrap_paragraphs(about, width), common_flags, wrap_paragraphs(hint, width)])


def _short_label(flag: Flag) -> str:
    """Return a flag with a placeholder for its value that fits beside its text."""
    written = label(flag)
    return written if len(written) < TEXT_COLUMN - 3 else f"--{flag.name}=WORD"


def _short_text(flag: Flag, width: int) -> str:
    """Return the beginning of a flag's text on one line, and its default."""
    shown = "" if flag.default is None or flag.boolean else format_value(flag.default)
    default = f" [{shown}]" if shown else ""
    column = TEXT_COLUMN if width >= TWO_COLUMNS_FROM else INDENT
    return summary_of(flag, width - column - len(default)) + default


def summary_of(flag: Flag, width: int) -> str:
    """Return the beginning of a flag's text, at most so many characters."""
    text = re.split(r"[;.](?: |$)", str(flag.help))[0]
    return textwrap.shorten(text, width, placeholder=" ...")


def topic_text(topic: str, values: Values, topics: HelpTopics | None, width: int = 80) -> str:
    """Return what --help=TOPIC shows.

    Raises:
        ValueError: there is no such topic.
    """
    if topics is None:
        raise ValueError(f"--help={topic}: this command has no help topics; use --help")
    if topic not in topics.texts:
        raise ValueError(f"unknown help topic {topic!r}: {_suggestion(topic, topics)}")
    return topics.texts[topic](values, width)


def _suggestion(topic: str, topics: HelpTopics) -> str:
    """Return the nearest topic; or all topics by kind, if none is near."""
    near = nearest(topic, topics.texts)
    if near is not None:
        return f"did you mean {near!r}?"
    listed = (f"{kind}: {', '.join(names)}" for kind, names in topics.kinds.items())
    return f"choose from {'; '.join(listed)}"


def describe_flags(members: Iterable[Any], width: int) -> str:
    """Return one entry per flag: its name, its text, and its default."""
    return "\n".join(describe(label(flag), _with_default(flag), width) for flag in members)


def label(flag: Flag, name: str | None = None) -> str:
    """Return a flag as it is written, with a placeholder for its value."""
    name = name or flag.name
    return f"--[no]{name}" if flag.boolean else f"--{name}={getattr(flag, 'metavar', 'TEXT')}"


def describe(label: str, text: str, width: int) -> str:
    """Return a label and its text, side by side where the width allows it."""
    column = TEXT_COLUMN if width >= TWO_COLUMNS_FROM else INDENT
    lines = _wrap(text, width - column)
    head = f"  {label}"
    if len(head) < column - 1:
        head = head.ljust(column) + lines.pop(0)
    return "\n".join([head, *(" " * column + line for line in lines)])


def wrap_paragraphs(text: str, width: int) -> str:
    """Return a text wrapped to the width; paragraphs that are indented stay as they are."""
    paragraphs = text.strip("\n").split("\n\n")
    return "\n\n".join(p if p.startswith(" ") else "\n".join(_wrap(p, width)) for p in paragraphs)


def _with_default(flag: Flag) -> str:
    if flag.default is None or flag.default == [] or flag.default == "":
        return str(flag.help)
    default = str(flag.default).lower() if flag.boolean else format_value(flag.default)
    return f"{flag.help} Default: {default}."


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False) or [""]
