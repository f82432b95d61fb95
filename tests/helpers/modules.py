"""Modules that are not installed."""

from __future__ import annotations

import sys

import pytest


class _Missing:
    """Finder that does not find a package, whatever is installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {self.package!r}", name=self.package)


def hide_package(patch: pytest.MonkeyPatch, package: str) -> None:
    """Make a package look as if it were not installed, even if it has been imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        patch.delitem(sys.modules, name)
    patch.setattr(sys, "meta_path", [_Missing(package), *sys.meta_path])
