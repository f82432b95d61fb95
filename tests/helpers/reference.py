"""The modules that make the reference of the site, in docs/."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def docs_module(name):
    """Return a module of docs/."""
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DOCS))


REFERENCE = docs_module("reference")
