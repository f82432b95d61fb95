"""The folder that a run leaves behind."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from trainlib.cli.flag_types import Values, each_flag
from trainlib.core.types import Tree
from trainlib.training.files import as_json, write_atomically, write_text

FLAGS_FILE = "flags.txt"
HISTORY_FILE = "metrics.jsonl"
TABLE_FILE = "metrics.csv"
MODEL_FILE = "model.keras"
SUMMARY_FILE = "summary.json"
CHECKPOINTS = "checkpoints"
NOT_RECORDED = (
    "help",
    "traceback",
    "flagfile",
    "run_dir",
    "replay_step",
    "resume",
    "stop_after",
    "verify_resume",
    "verify_steps",
)


def default_path(values: Values, prefix: str = "") -> Path:
    """runs/<prefix><data set>-<model>-<optimizer>-<time>."""
    name = prefix + "-".join([_short(values.dataset), _short(values.model), values.optimizer])
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _short(name: str) -> str:
    """The name of a data set or a model; of a file, its name without the suffix."""
    own = Path(name).name.removesuffix(".gz").replace(":", ".")
    return own.removesuffix(".csv").removesuffix(".npz").removesuffix(".keras")


def check_free(path: Path) -> None:
    """Raises `ValueError` where a run's folder would hide or mix with what is there."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"run_dir {path}: exists already; choose another, or remove it first")


def create(values: Values, prefix: str = "") -> Path:
    """Makes the run's folder, with the flags in it.

    The default folder gets a number after its name where another run has taken it.

    Args:
        values: of the flags.
        prefix: what the name of the default folder begins with.

    Raises:
        ValueError: `run_dir` is there and holds something.
    """
    if values.run_dir:
        path = Path(values.run_dir)
        check_free(path)
        path.mkdir(parents=True, exist_ok=True)
    else:
        path = _make_new(default_path(values, prefix))
    record_flags(path, values)
    return path


def record_flags(path: Path, values: Values) -> None:
    """Writes the flags into a run's folder."""
    write_text(path / FLAGS_FILE, flags_text(values))


def flags_text(values: Values) -> str:
    """The flags of a run as a `--flagfile` has them."""
    lines = [flag.serialize() for flag in recorded(values) if flag.value is not None]
    return "\n".join(lines) + "\n"


def recorded(values: Values) -> Iterator[Any]:
    """The flags that a run's record holds, where they have a value."""
    return (flag for flag in each_flag(values) if flag.name not in NOT_RECORDED)


def _make_new(path: Path) -> Path:
    """Makes a folder that is not there yet; safe where other runs do so at the same time."""
    free, number = path, 1
    while True:
        try:
            free.mkdir(parents=True)
            return free
        except FileExistsError:
            number += 1
            free = path.with_name(f"{path.name}-{number}")


def recorded_flags(path: Path, define: Any) -> Values:
    """The flags of the run in a folder."""
    file = path / FLAGS_FILE
    if not file.is_file():
        raise ValueError(f"run_dir {path}: no run, for it has no {FLAGS_FILE}")
    values: Values = flags.FlagValues()  # type: ignore[no-untyped-call]
    define(values)
    try:
        values(["flags", *file.read_text(encoding="utf-8").splitlines()])
    except (flags.Error, ValueError) as error:
        raise ValueError(f"{file}: {error}") from error
    return values


def read_summary(path: Path) -> dict[str, Any]:
    """The summary of the run in a folder."""
    file = path / SUMMARY_FILE
    if not file.is_file():
        raise ValueError(f"run_dir {path}: the run is not finished, for it has no {SUMMARY_FILE}")
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def read_history(path: Path) -> list[dict[str, Any]]:
    """The results of each epoch of the run in a folder, at least one."""
    file = path / HISTORY_FILE
    if not file.is_file():
        raise ValueError(f"run_dir {path}: no run of train, for it has no {HISTORY_FILE}")
    text = file.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()  # of a run under way the last may be a part
    try:
        history = [dict(json.loads(line)) for line in lines]
        if any(type(results.get("epoch")) is not int for results in history):
            raise ValueError("a line without its epoch")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from error
    if not history:
        raise ValueError(f"run_dir {path}: no epoch of the run has ended yet")
    return history


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, indented, whole or not at all."""
    write_text(path, as_json(content, indent=2) + "\n")


def save_model(path: Path, model: Any) -> None:
    """Writes a Keras model whole or not at all."""
    write_atomically(path, model.save)


def params_sha256(params: Tree) -> str:
    """The hash over the parameters' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(params):
        digest.update(params[name].numpy().tobytes())
    return digest.hexdigest()
