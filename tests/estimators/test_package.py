"""The estimators are imported at their first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trainlib as tl


def run(code):
    """Return what a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_the_estimators_import_scikit_learn():
    code = (
        "import sys, trainlib as tl\n"
        "tl.estimators\n"
        "print('sklearn' in sys.modules)\n"
        "sys.modules['sklearn'] = None\n"
        "try:\n    tl.estimators.TrainlibRegressor\n"
        "except ImportError as error:\n    print(error)\n"
    )
    assert run(code).splitlines() == [
        "False",
        "tl.estimators needs scikit-learn: pip install scikit-learn",
    ]


def test_its_names_are_listed():
    assert dir(tl.estimators) == ["TrainlibClassifier", "TrainlibRegressor"]
    with pytest.raises(AttributeError, match="has no attribute 'Trainlib'"):
        tl.estimators.Trainlib  # noqa: B018
