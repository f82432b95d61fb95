"""Event files, as TensorBoard reads them."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.training.files import write_whole

MISSING = "TensorBoard's events need the package tensorboard: pip install trainlib[tensorboard]"
VERSION = "brain.Event:2"
"""Of event files: behind it a start of a session takes back what was written behind its step."""
PATIENCE = 5
"""Seconds for which a name of a file's own, which begins with the second, is waited for."""


def check_installed() -> None:
    """Raises `ImportError` where `tf.summary` lacks the package that it writes with."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(MISSING)


class Events:
    """The events of one folder, in a file of their own, flushed after each call.

    TensorBoard reads the files of a folder in the order of their names, one after another. Where
    there are some already, the start of a session is put between them and the new one: from its
    step on it takes back what they hold, so that nothing is there twice.

    Args:
        folder: made where it is not there.
        step: of the first event.

    Raises:
        ValueError: there are events of a time that is still to come.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self.begun = has_events(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.begun:
            _write_start(folder, step)
        self._writer: Any = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves, by tag."""
        with self._writer.as_default(step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)
        self._writer.flush()

    def histograms(self, arrays: Mapping[str, Any], step: int) -> None:
        """Histograms of the finite elements of arrays, by tag."""
        with self._writer.as_default(step):
            for tag, array in arrays.items():
                wide = np.asarray(array).astype(np.float64)
                finite = wide[np.isfinite(wide)]
                if finite.size:
                    tf.summary.histogram(tag, finite)
        self._writer.flush()

    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """A picture [height, width, 1 or 3] of numbers from 0 to 1."""
        with self._writer.as_default(step):
            tf.summary.image(tag, pixels[None])
        self._writer.flush()

    def graph(self, graph: tf.Graph) -> None:
        """A graph to be looked at."""
        with self._writer.as_default(0):
            tf.summary.graph(graph)
        self._writer.flush()

    def message(self, summary: Any) -> None:
        """A `Summary` of a plugin's own."""
        with self._writer.as_default(0):
            tf.summary.experimental.write_raw_pb(summary.SerializeToString())
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def has_events(folder: Path) -> bool:
    """Whether there are events in a folder itself."""
    return bool(_files(folder))


def _files(folder: Path) -> list[Path]:
    return list(folder.glob("*tfevents*"))


def _write_start(folder: Path, step: int) -> None:
    """The start of a session, in a file between those that are there and the next."""
    now = _next_second(folder)
    start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
    version = tf.compat.v1.Event(wall_time=now, file_version=VERSION)
    restart = tf.compat.v1.Event(wall_time=now, step=step, session_log=start)
    # The first start that TensorBoard meets in a folder takes nothing back.
    events = (version, restart, restart)

    def write(path: Path) -> None:
        with tf.io.TFRecordWriter(str(path)) as records:
            for event in events:
                records.write(event.SerializeToString())

    # A "-" comes before the "." that follows the second in the names of tf.summary's files.
    write_whole(folder / f"events.out.tfevents.{now:010d}-start", write)


def _next_second(folder: Path) -> int:
    """A second behind those in the names of all files, waited for where it is not over."""
    found = [re.search(r"tfevents\.(\d+)", path.name) for path in _files(folder)]
    newest = max((int(match[1]) for match in found if match), default=0)
    if newest > time.time() + PATIENCE:
        raise ValueError(f"folder {folder}: there are events of a later time; choose another")
    while time.time() < newest + 1:
        time.sleep(0.02)
    return int(time.time())
