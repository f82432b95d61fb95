"""The folder that a run leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from absl import flags

from trainlib.base import Tree
from trainlib.cli.command import Values

FLAGS_FILE = "flags.txt"
HISTORY_FILE = "metrics.jsonl"
MODEL_FILE = "model.keras"
SUMMARY_FILE = "summary.json"
NOT_RECORDED = ("help", "traceback", "flagfile", "run_dir")


def default_path(values: Values) -> Path:
    """runs/<data set>-<model>-<optimizer>-<time>."""
    name = "-".join([Path(values.dataset).stem, Path(values.model).stem, values.optimizer])
    name = name.replace(":", ".")
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def create(path: Path, values: Values) -> None:
    """Makes the folder, with the flags in it.

    Raises:
        FileExistsError: it is there and holds something.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"run_dir {path}: exists already; choose another, or remove it first")
    path.mkdir(parents=True, exist_ok=True)
    lines = [
        flag.serialize()
        for group in values.flags_by_module_dict().values()
        for flag in group
        if flag.name not in NOT_RECORDED and flag.value is not None
    ]
    write_text(path / FLAGS_FILE, "\n".join(lines) + "\n")


def recorded_flags(path: Path, define: Any) -> Values:
    """The flags of the run in a folder."""
    file = path / FLAGS_FILE
    if not file.is_file():
        raise ValueError(f"run_dir {path}: no run, for it has no {FLAGS_FILE}")
    values: Values = flags.FlagValues()  # type: ignore[no-untyped-call]
    define(values)
    values(["flags", *file.read_text(encoding="utf-8").splitlines()])
    return values


def read_summary(path: Path) -> dict[str, Any]:
    """The summary of the run in a folder."""
    file = path / SUMMARY_FILE
    if not file.is_file():
        raise ValueError(f"run_dir {path}: the run is not finished, for it has no {SUMMARY_FILE}")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, indented, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def save_model(path: Path, model: Any) -> None:
    """Writes a Keras model whole or not at all."""
    aside = path.with_name(f".tmp-{path.name}")
    model.save(aside)
    os.replace(aside, path)


def params_sha256(params: Tree) -> str:
    """The hash over the parameters' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(params):
        digest.update(params[name].numpy().tobytes())
    return digest.hexdigest()
