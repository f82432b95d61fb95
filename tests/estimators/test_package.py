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


@pytest.mark.soak
def test_without_scikit_learn_only_the_estimators_are_missing():
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "import trainlib as tl\n"
        "print(tl.estimators.__name__)\n"
        "try:\n    tl.estimators.TrainlibRegressor\n"
        "except ImportError as error:\n    print(error)\n"
    )
    assert run(code).splitlines() == [
        "trainlib.estimators",
        "tl.estimators needs scikit-learn: pip install scikit-learn",
    ]


def test_its_names_are_listed():
    assert dir(tl.estimators) == ["TrainlibClassifier", "TrainlibRegressor"]
    with pytest.raises(AttributeError, match="has no attribute 'Trainlib'"):
        tl.estimators.Trainlib  # noqa: B018
