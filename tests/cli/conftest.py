"""Commands run inside the test process: TensorFlow is imported once for all of them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras  # noqa: F401  (the commands would put a stand-in in its place)
import pytest
import tensorflow as tf  # noqa: F401
from absl import flags

from trainlib.cli.flags import define_train

QUICK = (
    "--train_examples=64",
    "--validation_split=0",
    "--hidden=8",
    "--epochs=1",
    "--learning_rate=0.01",
    "--execution=graph",
    "--report=false",
)
"""Two steps of a small net: what a test adds that needs training, but no good model."""


class Done(NamedTuple):
    """What a command leaves: its exit status and what it printed."""

    status: int
    out: str
    err: str


def call(main: Callable[[], None], folder: Path, name: str, *arguments: str) -> Done:
    """Calls the `main` of a command in a folder."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        patch.setattr(sys, "argv", [name, *arguments])
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Done(status, out.getvalue(), err.getvalue())


def run_command(folder: Path, name: str, *arguments: str) -> Done:
    """Runs a command of trainlib."""
    return call(importlib.import_module(f"trainlib.cli.{name}").main, folder, name, *arguments)


@pytest.fixture
def call_main() -> Callable[..., Done]:
    return call


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Done]:
    """`command("train", "--epochs=1")`, in the folder `tmp_path`."""
    return functools.partial(run_command, tmp_path)


@pytest.fixture
def quick(command: Callable[..., Done]) -> Callable[..., Done]:
    """`quick("--optimizer=sgd")`: `train` with few examples, steps and parameters."""
    return functools.partial(command, "train", *QUICK)


@pytest.fixture
def parse() -> Callable[..., Any]:
    """`parse("--epochs=1")`: the values of `train`'s flags."""

    def parsed(*arguments: str) -> Any:
        values = flags.FlagValues()
        define_train(values)
        values(["train", *arguments])
        return values

    return parsed


@pytest.fixture(scope="session")
def write_table() -> Callable[..., None]:
    """`write_table(path, a=..., b=...)`: a .csv of these columns."""

    def write(path: Path, **columns: Any) -> None:
        lines = [columns, *zip(*columns.values(), strict=True)]
        path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))

    return write


@pytest.fixture(scope="session")
def quick_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`quick_runs("--dataset=...")`: the folder of a run of `train` with these flags."""

    def make(*arguments: str) -> Path:
        folder = tmp_path_factory.mktemp("runs")
        done = run_command(folder, "train", *QUICK, "--run_dir=run", *arguments)
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
