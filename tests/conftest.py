"""Fixtures for every test."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("helpers")

# Loaded after TensorFlow's compiler, PyTorch's ends the process: each has an LLVM of its own.
with contextlib.suppress(ImportError):
    importlib.import_module("torch._dynamo")
    importlib.import_module("triton")

# Each worker of `pytest -n` has its own process: more threads than cores would wait for each other.
for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")


def pytest_configure(config: pytest.Config) -> None:
    """Let properties have many examples where tests marked soak are selected.

    The garbage collector rests while tests are collected, which all live to the end.
    """
    from helpers.examples import SOAK

    gc.disable()

    if "soak" in config.option.markexpr and "not soak" not in config.option.markexpr:
        settings.load_profile(SOAK)


SLOW = (
    "training/test_replicas.py",
    "verify/test_optimizer_cases.py",
    "verify/test_function_cases.py",
    "cli/distributed/test_session.py",
    "e2e/test_train.py",
    "cli/test_train.py",
    "training/test_keras_models.py",
    "training/test_resume.py",
    "training/test_nonfinite.py",
    "interop/test_keras.py",
    "optimizers/test_properties.py",
    "cli/test_launch_local.py",
    "cli/test_resume.py",
    "training/test_trainer.py",
)
"""The files that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that the workers end at the same time."""
    tests = Path(__file__).parent
    rank = {tests / name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: rank.get(item.path, len(SLOW)))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what lives to the end: modules and the tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the session a new cache folder, so that no user's cache is read or written."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINLIB_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder with the real data sets; skip the test where it is missing."""
    given = os.environ.get("TRAINLIB_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the data sets are not in {folder}; set TRAINLIB_DATA to their folder")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A headless browser, a `helpers.browser.Browser`."""
    from helpers.browser import Browser, find_browser

    opened = Browser(find_browser())
    yield opened
    opened.close()
