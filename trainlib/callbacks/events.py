"""`Events`: event files as TensorBoard reads them."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.training.files import write_atomically
from trainlib.training.paths import shown

MISSING = "TensorBoard's events need the package tensorboard: pip install tensorboard"
VERSION = "brain.Event:2"
"""Version of event files in which a session start removes the events after its step."""
PATIENCE = 5
"""Seconds to wait for an unused file name, which begins with the second."""


def require_tensorboard() -> None:
    """Raise `ImportError` if the package that `tf.summary` needs is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(MISSING)


class Events:
    """The events of one folder, in a new file that is flushed after each call.

    TensorBoard reads the files of a folder in the order of their names. If there are files already,
    a session start is written between them and the new one: it removes their events from its step
    on, so that no point is there twice.

    Args:
        folder: folder of the files, created if it is missing.
        step: step of the first event.

    Attributes:
        resumed: whether the folder had events before.

    Raises:
        ValueError: there are events with a time in the future.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self.resumed = has_events(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.resumed:
            _write_start(folder, step)
        self._writer: Any = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write points of curves, by tag."""
        with self._writer.as_default(step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)
        self._writer.flush()

    def histograms(self, arrays: Mapping[str, Any], step: int) -> None:
        """Write histograms of the finite elements of arrays, by tag."""
        with self._writer.as_default(step):
            for tag, array in arrays.items():
                wide = np.asarray(array).astype(np.float64)
                finite = wide[np.isfinite(wide)]
                if finite.size:
                    tf.summary.histogram(tag, finite)
        self._writer.flush()

    def image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Write an image [height, width, 1 or 3] of numbers from 0 to 1."""
        with self._writer.as_default(step):
            tf.summary.image(tag, pixels[None])
        self._writer.flush()

    def graph(self, graph: tf.Graph) -> None:
        """Write a graph."""
        with self._writer.as_default(0):
            tf.summary.graph(graph)
        self._writer.flush()

    def message(self, summary: Any) -> None:
        """Write a plugin's `Summary`."""
        with self._writer.as_default(0):
            tf.summary.experimental.write_raw_pb(summary.SerializeToString())
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def has_events(folder: Path) -> bool:
    """Return whether the folder itself holds events."""
    return bool(_files(folder))


def _files(folder: Path) -> list[Path]:
    """Return the event files of a folder."""
    return list(folder.glob("*tfevents*"))


def _write_start(folder: Path, step: int) -> None:
    """Write a session start, in a file between the existing ones and the next."""
    now = _next_second(folder)
    start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
    version = tf.compat.v1.Event(wall_time=now, file_version=VERSION)
    restart = tf.compat.v1.Event(wall_time=now, step=step, session_log=start)
    # The first session start that TensorBoard reads in a folder removes nothing.
    events = (version, restart, restart)

    def write(path: Path) -> None:
        with tf.io.TFRecordWriter(str(path)) as records:
            for event in events:
                records.write(event.SerializeToString())

    # A "-" comes before the "." that follows the second in the names of tf.summary's files.
    write_atomically(folder / f"events.out.tfevents.{now:010d}-start", write)


def _next_second(folder: Path) -> int:
    """Return a second after those in the names of all files, waiting for it if need be."""
    found = [re.search(r"tfevents\.(\d+)", path.name) for path in _files(folder)]
    newest = max((int(match[1]) for match in found if match), default=0)
    if newest > time.time() + PATIENCE:
        raise ValueError(
            f"folder {shown(folder)}: holds events with a time in the future: choose another folder"
        )
    while time.time() < newest + 1:
        time.sleep(0.02)
    return int(time.time())
