"""The run folder: write its files atomically, and read them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from trainlib.core.types import Tree
from trainlib.experiment.config import ExperimentConfig
from trainlib.models import loading
from trainlib.training.files import (
    as_json,
    read_text,
    remove_temporary,
    write_atomically,
    write_text,
)
from trainlib.training.paths import absolute, existing_part, shown

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

Content = TypeVar("Content")
FLAGS_FILE = "flags.txt"
CONFIG_FILE = "config.json"
HISTORY_FILE = "metrics.jsonl"
TABLE_FILE = "metrics.csv"
MODEL_FILE = loading.MODEL_FILE
SUMMARY_FILE = "summary.json"
CHECKPOINTS = "checkpoints"
RUNS = "runs"


def default_path(config: ExperimentConfig, prefix: str = "") -> Path:
    """Return runs/<prefix><data set>-<model>-<optimizer>-<time>."""
    names = [_short(config.dataset), _short(config.model.name), config.optimizer.name]
    return Path(RUNS) / f"{prefix}{'-'.join(names)}-{time.strftime('%Y%m%d-%H%M%S')}"


def _short(name: str) -> str:
    """Return the name of a data set or a model; for a file, its name without suffix."""
    short = Path(name).name.removesuffix(".gz").replace(":", ".")
    return short.removesuffix(".csv").removesuffix(".npz").removesuffix(".keras")


def check_free(path: Path) -> None:
    """Raise `ValueError` if a run's folder exists with files in it, or its name is not UTF-8."""
    if any("\ud800" <= x <= "\udfff" for x in str(path)):  # TensorFlow cannot write there
        raise ValueError(f"run_dir {shown(path)}: is no name in UTF-8; choose another")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"run_dir {shown(path)}: exists already; choose another, or remove it first"
        )


def given_path(
    run_dir: str | os.PathLike[str] | None, resume: bool, kind: str, *, writes: bool = True
) -> Path | None:
    """Return the absolute path of the folder in an argument `run_dir`, after checks.

    Args:
        run_dir: the argument; None for a new folder with the default name.
        resume: whether the run in the folder is continued; else the folder must be new or empty.
        kind: "run", "search", ..., for messages.
        writes: whether this process writes to the folder. Default: True.

    Raises:
        ValueError: the folder is not empty, or `resume` is set without a folder.
    """
    if run_dir is None:
        if resume:
            raise ValueError(f"resume needs run_dir, the folder of the {kind}")
        return None
    path = absolute(run_dir)
    if writes and not resume:
        check_free(path)
    return path


def create(config: ExperimentConfig, run_dir: Path | None = None, prefix: str = "") -> Path:
    """Make a run's folder as for `make`, and write the configuration into it."""
    path = make(config, run_dir, prefix)
    write_config(path, config)
    return path


def make(config: ExperimentConfig, run_dir: Path | None = None, prefix: str = "") -> Path:
    """Make a run's folder.

    If the default name is taken, a number is appended to it.

    Args:
        config: the experiment.
        run_dir: the folder. Default: None, a name made of the configuration and the time.
        prefix: prefix of the default name. Default: "".

    Returns:
        The absolute path of the folder.

    Raises:
        ValueError: `run_dir` exists and is not empty.
        OSError: the folder cannot be made.
    """
    if run_dir is None:
        return _make_new(absolute(default_path(config, prefix)))
    path = absolute(run_dir)
    check_free(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def new_folder(config: ExperimentConfig, prefix: str) -> Iterator[Path]:
    """Make a folder with the default name as for `make`; remove it if it is empty at the end."""
    existed = existing_part(absolute(RUNS))
    path = make(config, None, prefix)
    try:
        yield path
    finally:
        for folder in (path, path.parent):
            if folder != existed:
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()


def _make_new(path: Path) -> Path:
    """Make a folder with a new name, even if other runs do so at the same time."""
    free, number = path, 1
    while True:
        try:
            free.mkdir(parents=True)
            return free
        except FileExistsError:
            number += 1
            free = path.with_name(f"{path.name}-{number}")


def write_config(path: Path, config: ExperimentConfig) -> None:
    """Write a configuration into a run's folder: as JSON, and as a flag file."""
    write_text(path / CONFIG_FILE, config.to_json())
    write_text(path / FLAGS_FILE, config.to_flags())


def read_config(path: Path) -> ExperimentConfig:
    """Return the configuration of the run in a folder.

    Raises:
        ValueError: the folder is not that of a run, its file is damaged, or a link leads out of it.
    """
    check_links(path)
    return read_file(path / CONFIG_FILE, "not a run", ExperimentConfig.from_json)


def check_links(path: Path) -> None:
    """Raise `ValueError` for a link that leads out of a run's folder.

    Writing to it would change other files.
    """
    inside = path.resolve()
    for folder in (path, path / CHECKPOINTS):
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_symlink() and not _resolved(entry).is_relative_to(inside):
                raise ValueError(
                    f"{shown(entry)}: is a link out of the folder of the run: put the file itself "
                    "in its place"
                )


def _resolved(link: Path) -> Path:
    """Return the target of a link; for a circle of links, the root of the file system."""
    try:
        return link.resolve(strict=False)
    except (OSError, RuntimeError):
        return Path(link.anchor)


def read_summary(path: Path) -> dict[str, Any]:
    """Return the summary of the finished run in a folder.

    Raises:
        ValueError: the run is not finished, or the file is damaged.
    """
    file = path / SUMMARY_FILE
    return read_file(file, "the run is not finished", lambda text: dict(json.loads(text)))


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the results of each epoch of the run in a folder, at least one.

    Raises:
        ValueError: the folder is not that of a run, no epoch is complete, or the file is damaged.
    """
    history = read_file(path / HISTORY_FILE, "not a run of train", _parse_history)
    if not history:
        raise ValueError(f"{shown(path)}: no epoch of the run is complete yet")
    return history


def _parse_history(text: str) -> list[dict[str, Any]]:
    lines = text[: text.rfind("\n") + 1].splitlines()  # a run may be writing the last one
    history = [dict(json.loads(line)) for line in lines]
    if any(type(results.get("epoch")) is not int for results in history):
        raise ValueError("a line has no epoch")
    return history


def read_file(file: Path, missing: str, parse: Callable[[str], Content]) -> Content:
    """Read and parse a file in a folder.

    Args:
        file: path of the file.
        missing: conclusion from a missing file, for the message, such as "not a run".
        parse: function from the text of the file to its content.

    Raises:
        ValueError: the file is missing or damaged.
    """
    if not file.is_file():
        raise ValueError(f"{shown(file.parent)}: {missing}, because it has no {file.name}")
    try:
        return parse(read_text(file))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{shown(file)}: {error}") from error


def epochs_in_history(path: Path) -> int:
    """Return the number of complete epochs in the history of a folder; 0 without a history."""
    file = path / HISTORY_FILE
    return read_text(file).count("\n") if file.is_file() else 0


def has_checkpoint(path: Path) -> bool:
    """Return whether the folder of a run holds a checkpoint."""
    return bool(_checkpoints(path))


def _checkpoints(path: Path) -> set[str]:
    """Return the names of the checkpoints in the folder of a run."""
    return {checkpoint.name for checkpoint in (path / CHECKPOINTS).glob("epoch_*")}


@contextlib.contextmanager
def removed_if_refused(path: Path, existed: Path) -> Iterator[None]:
    """Remove the files of a new run if bad input ends it before its first epoch or checkpoint.

    Args:
        path: the folder of the run.
        existed: the part of its path that existed before; it is kept.
    """
    try:
        yield
    except (ValueError, TypeError, OSError):
        if not epochs_in_history(path) and not has_checkpoint(path):
            shutil.rmtree(path, ignore_errors=True)
            if existed == path:
                path.mkdir(exist_ok=True)
            for parent in path.parents:
                if parent == existed or not parent.is_relative_to(existed):
                    break
                with contextlib.suppress(OSError):  # another run has written into it
                    parent.rmdir()
        raise


@contextlib.contextmanager
def restored_if_refused(path: Path) -> Iterator[None]:
    """Restore the old configuration of a run if bad input ends the resumed run.

    The new one stays if the run has made an epoch or a checkpoint with it.
    """
    before = {name: read_text(path / name) for name in (CONFIG_FILE, FLAGS_FILE)}
    epochs, checkpoints = epochs_in_history(path), _checkpoints(path)
    try:
        yield
    except (ValueError, TypeError, OSError):
        if epochs_in_history(path) <= epochs and _checkpoints(path) <= checkpoints:
            with contextlib.suppress(OSError):
                for name, text in before.items():
                    write_text(path / name, text)
        raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a run's folder inside the context; the system releases the lock of a killed process.

    Raises:
        ValueError: another process holds the lock.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{shown(path)}: another process is running this run; let it end, or "
                "stop it, before you resume it"
            ) from error
        except OSError:  # a file system without locks
            pass
        remove_temporary(path)
        yield
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically."""
    write_text(path, as_json(content, indent=2) + "\n")


def with_nan(content: Any) -> Any:
    """Return the content of JSON with NaN for null, which stands for it in results."""
    if isinstance(content, Mapping):
        return {name: with_nan(x) for name, x in content.items()}
    if isinstance(content, list):
        return [with_nan(x) for x in content]
    return math.nan if content is None else content


def save_model(path: Path, model: Any) -> None:
    """Write a Keras model atomically."""
    write_atomically(path, model.save)


def params_sha256(params: Tree) -> str:
    """Return the SHA-256 hash of the parameters' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(params):
        digest.update(params[name].numpy().tobytes())
    return digest.hexdigest()
