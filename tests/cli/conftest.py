"""Commands run inside the test process: TensorFlow is imported once for all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras  # noqa: F401  (the commands would put a stand-in in its place)
import pytest
import tensorflow as tf  # noqa: F401
from absl import flags
from helpers import experiments
from helpers.commands import Result, call, run_command, toy_main

from trainlib.cli.train import define


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Result]:
    """`toy("--count=2", work=f)`: the toy command, whose work is `f(values)`."""

    def run(*arguments: str, work: Callable[..., Any] = lambda values: None) -> Result:
        return call(toy_main(work), tmp_path, "toy", *arguments)

    return run


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Result]:
    """`command("train", "--epochs=1")`, in the folder `tmp_path`."""
    return functools.partial(run_command, tmp_path)


@pytest.fixture
def quick(command: Callable[..., Result]) -> Callable[..., Result]:
    """`quick("--optimizer=sgd")`: `train` with few examples, steps and parameters."""
    return functools.partial(command, "train", *experiments.QUICK)


@pytest.fixture
def parse() -> Callable[..., Any]:
    """`parse("--epochs=1")`: the values of `train`'s flags."""

    def parsed(*arguments: str) -> Any:
        values = flags.FlagValues()
        define(values)
        values(["train", *arguments])
        return values

    return parsed


@pytest.fixture(scope="session")
def write_table() -> Callable[..., None]:
    """`write_table(path, a=..., b=...)`: a .csv of these columns."""
    return experiments.write_table


@pytest.fixture(scope="session")
def quick_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`quick_runs("--dataset=...")`: the folder of a run of `train` with these flags."""

    def make(*arguments: str) -> Path:
        folder = tmp_path_factory.mktemp("runs")
        done = run_command(folder, "train", *experiments.QUICK, "--run_dir=run", *arguments)
        assert done.status == 0, done.err
        return folder / "run"

    return make


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on digits; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    done = run_command(
        folder, "train", "--epochs=2", "--execution=graph", "--report=false", "--run_dir=digits"
    )
    assert done.status == 0, done.err
    return folder / "digits"
