"""The examples (`>>>`) in the docstrings of trainlib do what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

ROOT = Path(tl.__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(ROOT.glob("trainlib/**/*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
PACKAGES = sorted({".".join(name.split(".")[:2]) for name in MODULES})
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


LONG = "trainlib.experiment"
"""The package whose examples train longest."""


@pytest.mark.parametrize(
    "package", [pytest.param(p, marks=[pytest.mark.soak] * (p == LONG)) for p in PACKAGES]
)
def test_the_examples_of_a_package_give_what_they_show(package, tmp_path, monkeypatch):
    report: list[str] = []
    for name in MODULES:
        if name.split(".")[:2] == package.split("."):
            folder = tmp_path / name
            folder.mkdir()
            monkeypatch.chdir(folder)
            report += failures(name)
    assert report == [], "".join(report)


def failures(name):
    """Run the examples of a module; return what differs from what they show."""
    namespace = {"tl": tl, "tf": tf, "np": np}
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(importlib.import_module(name), name, globs=namespace)
    tests = [test for test in found if test.examples]
    report: list[str] = [] if tests else [f"{name} has `>>>` outside docstrings"]
    runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    for test in tests:
        runner.run(test, out=report.append)
    return report
