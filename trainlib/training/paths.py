"""Paths as users write them, as runs record them, and as a terminal shows them."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "TRAINLIB_CACHE"
"""Environment variable with the folder of the cache."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder in place of a leading `~`.

    Example:
        >>> from trainlib.training.paths import expanded
        >>> expanded("~/data.csv").is_absolute(), str(expanded("data.csv"))
        (True, 'data.csv')
    """
    return Path(os.path.expanduser(path))


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path, which does not depend on the working directory."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def existing_part(path: Path) -> Path:
    """Return a path, or the nearest folder above it, that exists."""
    return next(part for part in (path, *path.parents) if part.exists())


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path for a message: relative where it is inside the working directory.

    Characters that a terminal cannot show are escaped, as `printable` does.

    Example:
        >>> from trainlib.training.paths import absolute, shown
        >>> shown(absolute("data.csv")), shown("two\\nlines.csv")
        ('data.csv', 'two\\\\nlines.csv')
    """
    text = os.fspath(path)
    if os.path.isabs(text):
        try:
            relative = os.path.relpath(text)
        except (OSError, ValueError):  # the working directory was removed, or is on another drive
            relative = text
        text = text if relative.startswith(os.pardir) else relative
    return printable(text)


def printable(text: str) -> str:
    """Return a text with escapes for line breaks, control characters and undecodable bytes.

    Example:
        >>> from trainlib.training.paths import printable
        >>> printable("a\\x1b[2Jb\\udcff")
        'a\\\\x1b[2Jb\\\\udcff'
    """
    return "".join(
        x if x.isprintable() else x.encode("unicode_escape").decode("ascii") for x in text
    )


def cache_folder() -> Path:
    """Return the folder of the cache: $TRAINLIB_CACHE, or `trainlib` of the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or Path(cache) / "trainlib")
