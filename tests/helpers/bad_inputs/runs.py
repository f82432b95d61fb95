"""Damaged run folders, flag files, and runs that cannot be resumed.

The folder `run` of these cases is a copy of a finished run, `stopped` one of a run that was stopped
in its second epoch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from helpers.bad_inputs.cases import SMALL, Case
from helpers.bad_inputs.files import npz, write

RUNS = "BAD_INPUTS_RUNS"
"""Name of the folder with the runs that are copied."""
LEAVES = "{" + '"a": {' * 3000 + "}" * 3001
TEXTS = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "null": "null",
    "a number": "3",
    "other keys": '{"a": 1}',
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep objects": LEAVES,
    "not UTF-8": "{\udcff}",
    "escapes": '{"\x1b[31m": "\u202e"}',
    "huge number": '{"epochs": 1e999}',
    "large integer": '{"epochs": ' + "9" * 5000 + "}",
    "null bytes": "\0\0\0",
}
"""Contents of a damaged JSON file."""


def copy_of(name: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return a function that copies a run into the folder and changes it."""

    def files(folder: Path) -> None:
        shutil.copytree(sources / name, folder / name)
        (folder / "x.npz").write_bytes(npz(x=np.zeros((3, 8, 8))))
        change(folder / name)

    return files


sources = Path()
"""The folder with the runs, set by the test."""

COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("train", ("--resume=run", "--epochs=5")),
    ("evaluate", ("--run_dir=run",)),
    ("predict", ("--run_dir=run", "--data=x.npz")),
    ("report", ("run",)),
)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _texts()
    yield from _changes()
    yield from _resumes()
    yield from _flagfiles()
    yield from _worker_variables()
    yield from _predictions()


def _texts() -> Iterator[Case]:
    for name, text in TEXTS.items():
        for file in ("config.json", "summary.json"):
            for command, arguments in COMMANDS:
                if file == "summary.json" and command in ("evaluate", "predict", "report"):
                    continue
                change = _writing(file, text)
                yield Case(
                    f"{command} on {file}: {name}",
                    command,
                    arguments,
                    (file, "run"),
                    copy_of("run", change),
                )
        for file in ("metrics.jsonl",):
            if name == "empty":
                continue
            change = _writing(file, text + "\n")
            yield Case(
                f"report on {file}: {name}",
                "report",
                ("run",),
                (file, "run"),
                copy_of("run", change),
            )


def _writing(file: str, text: str) -> Callable[[Path], object]:
    return lambda run: (run / file).write_bytes(text.encode("utf-8", "surrogateescape"))


def _edited(**changes: object) -> Callable[[Path], object]:
    """Return a change of config.json: other values of settings at its top."""

    def change(run: Path) -> None:
        file = run / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def _changes() -> Iterator[Case]:
    missing = {
        "evaluate": (("config.json", "model.keras")),
        "predict": (("config.json", "model.keras")),
        "report": (("metrics.jsonl",)),
        "train": (("config.json",)),
    }
    for command, arguments in COMMANDS:
        for file in missing[command]:
            change: Callable[[Path], object] = lambda run, file=file: (run / file).unlink()  # noqa: E731
            yield Case(
                f"{command} without {file}",
                command,
                arguments,
                (file, "run"),
                copy_of("run", change),
            )
        if "model.keras" in missing[command]:
            for name, data in (("cut", None), ("empty", b""), ("text", b"hello")):

                def damage(run: Path, data: bytes | None = data) -> None:
                    path = run / "model.keras"
                    path.write_bytes(path.read_bytes()[:500] if data is None else data)

                yield Case(
                    f"{command} with model.keras {name}",
                    command,
                    arguments,
                    ("model.keras", "run"),
                    copy_of("run", damage),
                )
        for name, changes in {
            "epochs of -1": {"epochs": -1},
            "epochs of text": {"epochs": "x"},
            "epochs of 1e11": {"epochs": 10**11},
            "unknown setting": {"nothing": 3},
            "data of a list": {"data": []},
            "optimizer of null": {"optimizer": None},
            "optimizer of nobody": {"optimizer": {"name": "nobody"}},
            "escapes": {"dataset": "\x1b[31m\u202e"},
            "no data set": {"dataset": "/none/at/all.npz"},
        }.items():
            if command == "predict" and "dataset" in changes:
                continue  # it reads no data but those that it predicts
            yield Case(
                f"{command}: {name}", command, arguments, ("",), copy_of("run", _edited(**changes))
            )


def _resumes() -> Iterator[Case]:
    for flags in (
        "--optimizer=sgd",
        "--learning_rate=0.5",
        "--batch_size=7",
        "--seed=3",
        "--model=cnn",
        "--hidden=5",
        "--dataset=mnist",
        "--loss=mse",
        "--train_examples=20",
        "--validation_split=0.3",
        "--epochs=0",
        "--epochs=-1",
        "--epochs=1e11",
        "--epochs=99999999999",
        "--keep_checkpoints=0",
        "--keep_checkpoints=-1",
        "--checkpoint_epochs=-1",
        "--checkpoint_steps=0",
        "--checkpoint_seconds=0",
        "--checkpoint_seconds=nan",
        "--stop_after=0",
        "--stop_after=-1",
        "--replay_step=0",
        "--replay_step=-1",
        "--replay_step=99999999",
        "--replay_step=99999999999",
        "--run_dir=other",
        "--folds=2",
        "--ensemble=2",
        "--callbacks=none:f",
        "--imports=none_of_it",
        "--tensorboard_steps=0",
        "--tensorboard --tensorboard_dir=/proc/events",
        "--nonfinite=skip",
        "--precision=float64",
        "--jobs=2",
        "--clipnorm=1",
        "--early_stop",
    ):
        says = tuple(x.lstrip("-").partition("=")[0].rstrip("s") for x in flags.split(" "))
        says = (*says, "not the folder of a cross-validation")
        yield Case(
            f"resume {flags}",
            "train",
            ("--resume=stopped", *flags.split(" ")),
            says,
            copy_of("stopped", lambda run: None),
        )
    yield Case(
        "resume finished",
        "train",
        ("--resume=run",),
        ("run", "epochs"),
        copy_of("run", lambda run: None),
    )
    for name, change in {
        "no checkpoints": lambda run: shutil.rmtree(run / "checkpoints"),
        "checkpoints is a file": _checkpoints_a_file,
        "all checkpoints cut": _cut("*"),
        "data of checkpoints cut": _cut("*.data*"),
        "checkpoints emptied": lambda run: [
            p.write_bytes(b"") for p in (run / "checkpoints").rglob("*") if p.is_file()
        ],
        "links in a circle": _linked,
    }.items():
        yield Case(
            f"resume: {name}",
            "train",
            ("--resume=stopped",),
            ("stopped",),
            copy_of("stopped", change),
            sets_aside="cut" in name or "emptied" in name,
        )


def _checkpoints_a_file(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("hello")


def _linked(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to("checkpoints")


def _cut(pattern: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        for path in (run / "checkpoints").rglob(pattern):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])

    return change


def _flagfiles() -> Iterator[Case]:
    for name, text in {
        "no flag": "hello\n",
        "unknown": "--nothing=3\n",
        "value of another type": "--epochs=x\n",
        "not UTF-8": "--dataset=\udcff\n",
        "escapes": "--dataset=\x1b[31m\n",
        "bidi": "--optimizer=\u202egds\n",
        "null bytes": "--epochs=\0\n",
        "itself": "--flagfile=f.txt\n--epochs=x\n",
        "none": "--flagfile=none.txt\n",
        "out of range": "--epochs=0\n",
        "huge": "--epochs=99999999999\n",
        "binary": "".join(map(chr, range(256))),
    }.items():
        yield Case(
            f"flagfile: {name}", "train", (*SMALL, "--flagfile=f.txt"), ("",), write("f.txt", text)
        )
        if name not in ("itself", "none", "binary"):
            yield Case(
                f"compare flagfiles: {name}",
                "compare",
                (*SMALL, "--flagfiles=f.txt,g.txt"),
                ("",),
                _two(text),
            )


def _two(text: str) -> Callable[[Path], None]:
    def files(folder: Path) -> None:
        write("f.txt", text)(folder)
        write("g.txt", "--optimizer=sgd\n")(folder)

    return files


def _worker_variables() -> Iterator[Case]:
    cluster = '{"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}'
    worker = cluster + ', "task": {"type": "worker", "index": %s}}'
    first = ', "task": {"type": "worker", "index": 0}}'
    for name, text in {
        "no JSON": "{",
        "a list": "[]",
        "a number": "3",
        "deep": "[" * 100_000 + "]" * 100_000,
        "no task": cluster + "}",
        "no cluster": "{" + first[2:],
        "workers of a number": '{"cluster": {"worker": 3}' + first,
        "workers without ports": '{"cluster": {"worker": ["a", "b"]}' + first,
        "a port of 99999": cluster.replace(":1", ":99999") + first,
        "the same twice": cluster.replace(":2", ":1") + first,
        "index 5": worker % 5,
        "index -1": worker % -1,
        "index 1e11": worker % 10**11,
        "index of text": worker % '"x"',
        "index of a list": worker % "[]",
        "index null": worker % "null",
        "index NaN": worker % "NaN",
        "another task": (worker % 0).replace('"type": "worker"', '"type": "ps"'),
        "escapes": (worker % 0).replace("127.0.0.1:1", "\\u001b[31m\\u202e"),
    }.items():
        yield Case(
            f"TF_CONFIG: {name}",
            "train",
            (*SMALL, "--strategy=multi_worker", "--worker_timeout=2", f"TF_CONFIG={text}"),
            ("TF_CONFIG", "worker"),
        )


def _predictions() -> Iterator[Case]:
    inputs = {
        "missing": None,
        "other columns": npz(x=np.zeros((3, 5, 8))),
        "no rows": npz(x=np.zeros((0, 8, 8))),
        "NaN": npz(x=np.full((3, 8, 8), np.nan)),
        "text": npz(x=np.full((3, 8, 8), "a")),
        "no x": npz(z=np.zeros((3, 8, 8))),
        "damaged": npz(x=np.zeros((3, 8, 8)))[:100],
        "empty": b"",
        "scalar": npz(x=np.float64(1)),
    }
    for name, data in inputs.items():

        def change(run: Path, data: bytes | None = data) -> None:
            (run.parent / "x.npz").unlink()
            if data is not None:
                (run.parent / "x.npz").write_bytes(data)

        yield Case(
            f"predict data: {name}",
            "predict",
            ("--run_dir=run", "--data=x.npz"),
            ("x.npz",),
            copy_of("run", change),
        )
        yield Case(
            f"evaluate data: {name}",
            "evaluate",
            ("--run_dir=run", "--dataset=x.npz"),
            ("x.npz",),
            copy_of("run", change),
        )
    for flags in (
        "--output=/proc/x.csv",
        "--output=/none/x.csv",
        "--output=run",
        "--mc_samples=0",
        "--mc_samples=1",
        "--mc_samples=-1",
        "--mc_samples=99999999999",
        "--mc_samples=x",
        "--mc_samples=5",
        "--seed=-1",
        "--seed=99999999999999999999",
        "--mc_masks=fixed",
        "--code_path=none",
        "--safe_mode=x",
    ):

        def good(run: Path) -> None:
            (run.parent / "x.npz").write_bytes(npz(x=np.zeros((3, 8, 8))))

        says = (flags.lstrip("-").partition("=")[0],)
        if flags == "--code_path=none":
            continue
        if flags == "--mc_samples=5":
            says = ("dropout",)
        yield Case(
            f"predict {flags}",
            "predict",
            ("--run_dir=run", "--data=x.npz", flags),
            (*says, flags.partition("=")[2]),
            copy_of("run", good),
        )
