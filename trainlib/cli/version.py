"""The versions that `--version` shows, read without importing TensorFlow."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata

from trainlib import __version__

SHOWN = ("tensorflow", "keras", "numpy")
"""Packages whose versions are shown beside that of trainlib."""


def version_text(also: Sequence[str] = ()) -> str:
    """Return the versions of trainlib, Python and the packages that decide results.

    Args:
        also: further packages, if they are installed. Default: none.
    """
    others = [f"{name} {_version(name) or 'not installed'}" for name in SHOWN]
    others += [f"{name} {found}" for name in also if (found := _version(name))]
    return f"trainlib {__version__} (Python {platform.python_version()}, {', '.join(others)})"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
