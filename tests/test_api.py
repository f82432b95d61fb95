"""The public names, and when they are imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trainlib as tl
import trainlib.api


def test_each_public_name_resolves():
    for name in trainlib.api.__all__:
        assert getattr(tl, name) is getattr(trainlib.api, name)


def test_the_names_are_sorted_and_listed_by_dir():
    names = trainlib.api.__all__
    assert len(names) == len(set(names))
    assert names == sorted(names)
    assert dir(tl) == sorted([*names, "__version__"])


@pytest.mark.parametrize("name", ["adm", "tf", "np", "_private", "__wrapped__"])
def test_other_names_are_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"module 'trainlib' has no attribute '{name}'"):
        getattr(tl, name)


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_trainlib_imports_nothing_heavy():
    loaded = run("import sys, trainlib; trainlib.__version__; print(*sys.modules)")
    assert "trainlib" in loaded
    assert not {"tensorflow", "keras", "numpy", "rich", "absl", "trainlib.api"} & set(loaded)
