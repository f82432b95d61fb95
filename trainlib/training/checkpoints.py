"""Checkpoints: folders with everything that a run needs to continue, written atomically.

A folder holds one `tf.train.Checkpoint` of flat tensors by name, among them a JSON text with the
metadata. It is written under a temporary name, read back, compared, and then renamed, so that a
folder with the final name is complete.
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
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tensor, Tree
from trainlib.training.automatic_names import renamed
from trainlib.training.checkpoint_files import (
    as_os_error,
    dtype_and_shape,
    one_line,
    read_tensors,
    sync,
    write_verified,
)
from trainlib.training.paths import absolute, shown

METADATA = "metadata"
DAMAGED = "damaged-"
_NAME = re.compile(r"epoch_(\d+)_batch_(\d+)")
_TEMPORARY = ".writing-"
DAMAGES = (ValueError, KeyError)
"""Exceptions that `Checkpoints.load` raises for a damaged checkpoint."""


class TrainingPosition(NamedTuple):
    """A position in a run; positions are ordered by time.

    Attributes:
        epoch: the current epoch, from 1.
        batch: number of batches trained on in that epoch.
    """

    epoch: int
    batch: int

    def __str__(self) -> str:
        return f"epoch_{self.epoch:04d}_batch_{self.batch:06d}"


class Checkpoint(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        position: position in the run at which it was saved.
        values: tensors by name.
        metadata: JSON-serializable values by name, such as the history and the settings of the run.
    """

    position: TrainingPosition
    values: dict[str, np.ndarray]
    metadata: dict[str, Any]

    def renamed(self, names: dict[str, str]) -> Checkpoint:
        """Return the checkpoint with other names of layers, given by the ones that it holds."""
        values = {renamed(key, names): x for key, x in self.values.items()}
        return self._replace(values=values)

    def tree(self, name: str, like: Tree, check_shapes: bool = True) -> Tree:
        """Return the tensors that `flatten_with_paths` named, in the structure of `like`.

        Args:
            name: name of the structure, as given to `flatten_with_paths`.
            like: structure of tensors with the expected paths, shapes and dtypes.
            check_shapes: whether the shapes must be those of `like`. Default: True.

        Raises:
            ValueError: the checkpoint holds other tensors, or other shapes or dtypes.
        """
        wanted = flatten_with_paths(name, like)
        there = {key for key in self.values if key == name or key.startswith(f"{name}/")}
        for key in sorted(there ^ set(wanted)):
            holds = "holds" if key in there else "lacks"
            raise ValueError(
                f"checkpoint {self.position} {holds} {key}: it is of another run, or of a model "
                "whose layers had other names; give the layers fixed names"
            )
        for key, x in wanted.items():
            found = self.values[key]
            if x.dtype != found.dtype or (check_shapes and x.shape != found.shape):
                raise ValueError(
                    f"checkpoint {self.position} holds {key} as {dtype_and_shape(found)}, not as "
                    f"{dtype_and_shape(x)}: it is of another run"
                )
        return tf.nest.pack_sequence_as(like, [tf.constant(self.values[key]) for key in wanted])


def flatten_with_paths(name: str, tree: Tree) -> dict[str, Tensor]:
    """Return the leaves of a structure by name and path, in the order of `tf.nest.flatten`."""
    return {f"{name}/{path}".rstrip("/"): x for path, x in leaves_by_path(tree)}


class Checkpoints:
    """The checkpoints of a run in a folder: the newest ones, and the best one.

    A callback such as `tl.callbacks.SaveEvery` decides when one is saved. They are written in a
    thread while training continues. A resumed run ends in the same bits as one without a break,
    given the same arguments, model and callbacks.

    Args:
        folder: folder of the checkpoints; created with the first.
        keep: number of newest checkpoints to keep, at least 1, besides the best one. Default: 3.
        resume: whether `fit` continues from the newest checkpoint, if there is one. Default:
            False; `fit` then refuses a folder that holds checkpoints.
        metadata: further values to store in each checkpoint, by name; JSON-serializable. Default:
            None.
        log: function that receives a line about each damaged checkpoint. Default: None, which
            prints to standard error.

    Raises:
        TypeError: `keep` is not an integer.
        ValueError: `keep` is below 1.

    Example:
        >>> model = tl.FunctionalModel(
        ...     lambda params, state, x, training: tl.ModelOutput(x * params["w"], state),
        ...     {"w": tf.zeros([1])})
        >>> trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.1))
        >>> data = np.ones([8, 1], "float32"), np.ones([8, 1], "float32")
        >>> checkpoints = tl.Checkpoints("checkpoints", keep=2, resume=True)
        >>> history = trainer.fit(data, epochs=3, checkpoints=checkpoints,
        ...                       callbacks=[tl.callbacks.SaveEvery(epochs=1)])
        >>> [str(position) for position in checkpoints.positions()]
        ['epoch_0003_batch_000000', 'epoch_0004_batch_000000']
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        keep: int = 3,
        *,
        resume: bool = False,
        metadata: Mapping[str, Any] | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        check_integer("keep", keep, at_least=1)
        self.folder, self.keep, self.resume = absolute(folder), keep, resume
        self.metadata = dict(metadata or {})
        self._log = log or (lambda line: print(line, file=sys.stderr, flush=True))
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._best: TrainingPosition | None = None
        self._searched_best = False

    def positions(self) -> list[TrainingPosition]:
        """Return the positions of the checkpoints in the folder, oldest first."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(TrainingPosition(int(m[1]), int(m[2])) for m in found if m)

    def save(
        self,
        position: TrainingPosition,
        values: Mapping[str, Tensor],
        metadata: Mapping[str, Any],
        best: bool = False,
    ) -> None:
        """Start to write a checkpoint while the run continues.

        Args:
            position: position in the run; a checkpoint that exists there is left as it is.
            values: tensors by name; the caller must not change them any more.
            metadata: JSON-serializable values by name.
            best: whether it is the best checkpoint so far. Default: False.

        Raises:
            OSError: the previous one could not be written.
        """
        self.wait()
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, "checkpoints")
        text = json.dumps({**self.metadata, **metadata, "best": best})
        self._writing = self._writer.submit(self._write, position, dict(values), text, best)

    def wait(self) -> None:
        """Wait until the checkpoint that was started is written.

        Raises:
            OSError: it could not be written; earlier ones are unchanged.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def newest(self, max_batch: int | None = None) -> Checkpoint | None:
        """Return the newest checkpoint that can be read, or None if there are no checkpoints.

        Damaged checkpoints are reported and renamed; incomplete ones of interrupted writes are
        removed. One that cannot be read for another reason, such as a missing permission, stays as
        it is.

        Args:
            max_batch: only checkpoints made after at most this many batches of the model's whole
                training are considered. Default: None, all.

        Raises:
            ValueError: there are checkpoints, and all are damaged.
            OSError: one cannot be read now.
        """
        self.wait()
        for path in self.folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)
        positions, readable = self.positions(), False
        for position in reversed(positions):
            try:
                found = self.load(position)
            except DAMAGES as error:
                kept = self._set_aside(position)
                self._log(f"checkpoint {position} is damaged, renamed to {kept}: {one_line(error)}")
                continue
            readable = True
            if max_batch is None or found.metadata["global_batch"] <= max_batch:
                return found
        if not readable and any(self.folder.glob(f"{DAMAGED}*")):
            raise ValueError(
                f"{shown(self.folder)}: all checkpoints are damaged, so that the run cannot "
                "continue: begin a new one in another folder"
            )
        return None

    def load(self, position: TrainingPosition) -> Checkpoint:
        """Return the checkpoint of a position.

        Raises:
            ValueError, KeyError: it is damaged.
            OSError: it cannot be read now.
        """
        values = read_tensors(self.folder / str(position))
        metadata = json.loads(values.pop(METADATA).item().decode())
        if metadata["best"]:
            self._best = max(position, self._best or position)
        return Checkpoint(position, values, metadata)

    def _write(
        self, position: TrainingPosition, values: dict[str, Tensor], metadata: str, best: bool
    ) -> None:
        """Write a checkpoint, and remove the ones that are no longer kept."""
        path = self.folder / str(position)
        if not path.exists():
            temporary = self.folder / f"{_TEMPORARY}{position}-{os.getpid()}"
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_verified(temporary, {**values, METADATA: tf.constant(metadata)})
                os.rename(temporary, path)
                sync(self.folder)
            except Exception as error:
                with contextlib.suppress(OSError):
                    shutil.rmtree(temporary)
                raise as_os_error(error, path) from error
        if best:
            self._best = position
        self._remove_old()

    def _remove_old(self) -> None:
        """Remove all checkpoints but the newest ones and the best."""
        kept = {*self.positions()[-self.keep :], self._best_position()}
        for position in self.positions():
            if position not in kept:
                shutil.rmtree(self.folder / str(position), ignore_errors=True)

    def _best_position(self) -> TrainingPosition | None:
        """Return the last best position; it reads the checkpoints of earlier processes once."""
        if not self._searched_best:
            self._searched_best = True
            for position in self.positions():
                with contextlib.suppress(*DAMAGES, OSError):
                    self.load(position)
        return self._best

    def _set_aside(self, position: TrainingPosition) -> str:
        """Rename a checkpoint so that it is ignored from now on."""
        name = f"{DAMAGED}{position}"
        if (self.folder / name).exists():
            shutil.rmtree(self.folder / name)
        os.rename(self.folder / str(position), self.folder / name)
        return name
