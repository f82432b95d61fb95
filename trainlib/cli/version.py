"""The versions that `--version` shows, read without importing TensorFlow."""

from __future__ import annotations

import platform
from importlib import metadata

from trainlib import __version__

SHOWN = ("tensorflow", "keras", "numpy")
"""Packages whose versions are shown beside that of trainlib."""


def version_text() -> str:
    """Return the versions of trainlib, Python and the packages that decide results."""
    others = [f"{name} {_version(name)}" for name in SHOWN]
    return f"trainlib {__version__} (Python {platform.python_version()}, {', '.join(others)})"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
