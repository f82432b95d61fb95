"""Checkpoints: folders with all that a run needs to go on, written whole or not at all.

A folder holds one `tf.train.Checkpoint` of flat tensors by name, and in it a JSON text of what are
no tensors. It is written under another name, read back, compared, and only then renamed; so a
folder that has its name was whole when it got it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tensor, Tree

FILE = "values"
ABOUT = "about"
DAMAGED = "damaged-"
_NAME = re.compile(r"epoch_(\d+)_batch_(\d+)")
_ASIDE = ".writing-"


class TrainingPosition(NamedTuple):
    """Where a run is: batches made in the epoch, which counts from 1; ordered as time is."""

    epoch: int
    batch: int

    def __str__(self) -> str:
        return f"epoch_{self.epoch:04d}_batch_{self.batch:06d}"


class Checkpoint(NamedTuple):
    """place: of the run. values: tensors by name. about: what JSON can hold."""

    place: TrainingPosition
    values: dict[str, np.ndarray]
    about: dict[str, Any]

    def tree(self, name: str, like: Tree, sized: bool = True) -> Tree:
        """The tensors that `named` named so, in the structure of `like`.

        Args:
            name: of the structure.
            like: a structure of tensors.
            sized: whether these have the shapes.

        Raises:
            ValueError: there are other tensors, or of other shapes or dtypes.
        """
        wanted = named(name, like)
        there = {key for key in self.values if key == name or key.startswith(f"{name}/")}
        for key in sorted(there ^ set(wanted)):
            holds = "holds" if key in there else "lacks"
            raise ValueError(
                f"checkpoint {self.place} {holds} {key}: it is of another run, or of a model whose "
                "layers had other names; give them names of your own"
            )
        for key, x in wanted.items():
            found = self.values[key]
            if x.dtype != found.dtype or (sized and x.shape != found.shape):
                raise ValueError(
                    f"checkpoint {self.place} holds {key} as {_kind(found)}, not as {_kind(x)}: "
                    "it is of another run"
                )
        return tf.nest.pack_sequence_as(like, [tf.constant(self.values[key]) for key in wanted])


def named(name: str, tree: Tree) -> dict[str, Tensor]:
    """The leaves of a structure by name and path, in the order of `tf.nest.flatten`."""
    return {f"{name}/{path}".rstrip("/"): x for path, x in leaves_by_path(tree)}


class Checkpoints:
    """The checkpoints of a run in a folder: the last `keep` of them, and the last best one.

        checkpoints = tl.Checkpoints("runs/mine/checkpoints", keep=3)
        trainer.fit(data, epochs=50, callbacks=[tl.callbacks.SaveEvery(epochs=1)],
                    checkpoints=checkpoints, resume=True)

    Args:
        folder: of them; made with the first.
        keep: how many, at least 1.
        about: more to be kept in each, by name; what JSON can hold.
        say: is told in a line of what was found damaged; by default standard error is.

    Raises:
        ValueError, TypeError: a keep that is no whole number from 1 on.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        keep: int = 3,
        *,
        about: Mapping[str, Any] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        check_integer("keep", keep, at_least=1)
        self.folder, self.keep = Path(folder), keep
        self.about = dict(about or {})
        self._say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._best: TrainingPosition | None = None
        self._looked = False

    def places(self) -> list[TrainingPosition]:
        """Those in the folder, oldest first."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(TrainingPosition(int(m[1]), int(m[2])) for m in found if m)

    def save(
        self,
        place: TrainingPosition,
        values: Mapping[str, Tensor],
        about: Mapping[str, Any],
        best: bool = False,
    ) -> None:
        """Begins to write a checkpoint, while the run goes on.

        Args:
            place: one that is there already is left as it is.
            values: tensors by name; they must not change any more.
            about: what JSON can hold.
            best: whether it is the best so far.

        Raises:
            OSError: the one before could not be written.
        """
        self.wait()
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, "checkpoints")
        told = json.dumps({**self.about, **about, "best": best})
        self._writing = self._writer.submit(self._write, place, dict(values), told, best)

    def wait(self) -> None:
        """Waits until what was begun is written.

        Raises:
            OSError: it could not be written; those before it are as they were.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def newest(self) -> Checkpoint | None:
        """The newest that can be read, None where there is none at all.

        Those that cannot are named and set aside; what an unfinished write left is removed.

        Raises:
            ValueError: there are some, and none can be read.
        """
        self.wait()
        for path in self.folder.glob(f"{_ASIDE}*"):
            shutil.rmtree(path, ignore_errors=True)
        places = self.places()
        for place in reversed(places):
            try:
                return self.load(place)
            except (OSError, ValueError, KeyError) as error:
                kept = self._set_aside(place)
                self._say(f"checkpoint {place} is damaged, set aside as {kept}: {_line(error)}")
        if places:
            raise ValueError(f"{self.folder}: no checkpoint can be read")
        return None

    def load(self, place: TrainingPosition) -> Checkpoint:
        """The checkpoint of a place.

        Raises:
            OSError, ValueError, KeyError: it cannot be read.
        """
        values = _read(self.folder / str(place))
        about = json.loads(values.pop(ABOUT).item().decode())
        if about["best"]:
            self._best = max(place, self._best or place)
        return Checkpoint(place, values, about)

    def _write(
        self, place: TrainingPosition, values: dict[str, Tensor], about: str, best: bool
    ) -> None:
        path = self.folder / str(place)
        if not path.exists():
            aside = self.folder / f"{_ASIDE}{place}-{os.getpid()}"
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                _write_checked(aside, {**values, ABOUT: tf.constant(about)})
                os.rename(aside, path)
                _sync(self.folder)
            except Exception as error:
                with contextlib.suppress(OSError):
                    shutil.rmtree(aside)
                raise _as_os_error(error, path) from error
        if best:
            self._best = place
        self._remove_old()

    def _remove_old(self) -> None:
        kept = {*self.places()[-self.keep :], self._best_place()}
        for place in self.places():
            if place not in kept:
                shutil.rmtree(self.folder / str(place), ignore_errors=True)

    def _best_place(self) -> TrainingPosition | None:
        """The last that was the best; of those that were there before, by reading them, once."""
        if not self._looked:
            self._looked = True
            for place in self.places():
                with contextlib.suppress(OSError, ValueError, KeyError):
                    self.load(place)
        return self._best

    def _set_aside(self, place: TrainingPosition) -> str:
        """Gives a checkpoint another name, under which it is no more looked at."""
        name = f"{DAMAGED}{place}"
        if (self.folder / name).exists():
            shutil.rmtree(self.folder / name)
        os.rename(self.folder / str(place), self.folder / name)
        return name


def _write_checked(folder: Path, values: Mapping[str, Tensor]) -> None:
    """Writes tensors to a new folder, and reads them back."""
    folder.mkdir()
    with tf.device("/device:CPU:0"):
        held = {name: tf.Variable(x, trainable=False) for name, x in values.items()}
        tf.train.Checkpoint(values=held).write(str(folder / FILE))
    for file in folder.iterdir():
        _sync(file)
    written = _read(folder)
    for name, variable in held.items():
        if written[name].tobytes() != np.asarray(variable.numpy(), written[name].dtype).tobytes():
            raise OSError(f"{name} was read back with other bits than it was written with")


def _read(folder: Path) -> dict[str, np.ndarray]:
    """The tensors in a folder by name; TensorFlow compares their checksums."""
    try:
        reader = tf.train.load_checkpoint(str(folder / FILE))
        values = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    except Exception as error:  # of many kinds, RuntimeError and IndexError among them
        raise OSError(_line(error)) from error
    return {name: np.asarray(x) for key, x in values.items() if (name := _name(key))}


_PREFIX, _SUFFIX = "values/", "/.ATTRIBUTES/VARIABLE_VALUE"


def _key(name: str) -> str:
    """The name that `tf.train.Checkpoint` gives to a value."""
    return f"{_PREFIX}{name.replace('.', '..').replace('/', '.S')}{_SUFFIX}"


def _name(key: str) -> str | None:
    """The value's name; None for what `tf.train.Checkpoint` adds."""
    if not (key.startswith(_PREFIX) and key.endswith(_SUFFIX)):
        return None
    escaped = key[len(_PREFIX) : -len(_SUFFIX)]
    return re.sub(r"\.[.S]", lambda m: "/" if m[0] == ".S" else ".", escaped)


def _kind(x: Any) -> str:
    return f"{tf.dtypes.as_dtype(x.dtype).name} {list(x.shape)}"


def _sync(path: Path) -> None:
    """Brings a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_os_error(error: Exception, path: Path) -> OSError:
    """An error of writing as one line that names the file."""
    if isinstance(error, OSError) and error.strerror:
        return OSError(error.errno, error.strerror, str(path))
    return OSError(f"{path}: {_line(error)}")


def _line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300]
