"""`Autotuner`: times the executions of a step, and caches the choice.

Executions round differently, and a time is never measured twice: a choice is made once for a run
of a model, shapes and a number of steps on this machine. Later runs read it from the cache, so that
they end in the same bits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainlib.training.execution import EXECUTIONS
from trainlib.training.files import write_text
from trainlib.training.gpus import visible_gpus
from trainlib.training.paths import cache_folder

CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2d")
"""Beginnings of the names of TensorFlow's convolutions."""


class Workload(NamedTuple):
    """Steps that the autotuner times.

    Attributes:
        run: `(execution, count) -> None`: makes `count` steps, on a state that is then discarded,
            and waits for the device.
        graph: `() -> tf.Graph` of a step; called only for runs that are long enough.
        steps: number of steps of the whole run.
        max_steps_per_call: largest `count` of `run`.
        shapes: text that identifies the shapes of the state and of a batch.
    """

    run: Callable[[str, int], None]
    graph: Callable[[], Any]
    steps: int
    max_steps_per_call: int
    shapes: str


class Choice(NamedTuple):
    """The result of `Autotuner.choose`.

    Attributes:
        execution: the chosen execution.
        speeds: measured steps per second by execution; empty if nothing was measured.
        source: how the execution was chosen: "default"; "cache", by the measurement of an earlier
            run; or "measured". Default: "default".
        is_kept: whether later runs make the same choice: False if the cache cannot be written.
            Default: True.
    """

    execution: str
    speeds: dict[str, float]
    source: str = "default"
    is_kept: bool = True


@dataclasses.dataclass(frozen=True)
class Autotuner:
    """Chooses how the steps of a run are executed by timing them.

    Nothing is measured for short runs, or if the result is in the cache.

    Attributes:
        clock: function that returns the time in seconds. Default: `time.perf_counter`.
        min_steps: smallest number of steps of a run that is measured. Default: 1000.
        min_seconds: shortest expected duration of a run, in seconds, for which other executions
            than the default are compiled. Default: 10.
        min_speedup: how many times as fast as the default another execution must be, in each of
            two measurements. Default: 1.05.
        timed_seconds: shortest duration of a measurement. Default: 0.1.

    Example:
        >>> autotuner = tl.Autotuner(min_seconds=60.0)  # for runs of a minute or longer
        >>> autotuner.min_steps
        1000
    """

    clock: Callable[[], float] = time.perf_counter
    min_steps: int = 1000
    min_seconds: float = 10.0
    min_speedup: float = 1.05
    timed_seconds: float = 0.1

    def choose(self, default: str, work: Workload, measures: bool = True) -> Choice:
        """Return the fastest execution for a workload, or `default` if nothing is measured.

        It is "graph" where the default is "xla", and XLA cannot compile the steps.

        Args:
            default: the execution of a run that is not measured.
            work: the steps.
            measures: whether executions may be measured. Default: True.
        """
        if not measures or work.steps < self.min_steps or work.max_steps_per_call < 1:
            return Choice(default if _can_run(default, work) else "graph", {})
        operations = _operation_counts(work.graph())
        key = _cache_key(operations, work)
        cached = _read_choice(key)
        if cached in EXECUTIONS[1:]:
            return Choice(str(cached), {}, "cache")
        speeds = self._speeds(default, work, operations)
        chosen = self._fastest(default, speeds, work)
        # The default is kept too: near `min_seconds` the next run might measure more.
        return Choice(chosen, speeds, "measured", _write_choice(key, chosen))

    def _fastest(self, default: str, speeds: dict[str, float], work: Workload) -> str:
        """Return the fastest execution; the default unless it is slower when measured again too.

        A step may take longer than a measurement, and one time says little on a busy machine.
        """

        def wins(of: dict[str, float]) -> bool:
            return of[best] > self.min_speedup * of[default]

        best = max(speeds, key=lambda execution: speeds[execution])
        if best == default or default not in speeds:
            return best
        if not wins(speeds):
            return default
        again = {execution: self._speed(execution, work) for execution in (default, best)}
        return best if wins(again) else default

    def _speeds(self, default: str, work: Workload, operations: dict[str, int]) -> dict[str, float]:
        """Return the steps per second by execution; of the default alone if the run is short.

        Those that XLA cannot compile are left out.
        """
        speeds: dict[str, float] = {}
        for execution in dict.fromkeys((default, *EXECUTIONS[1:])):
            if execution == "xla" != default and not _suits_xla(operations):
                continue
            try:
                speeds[execution] = self._speed(execution, work)
            except _compile_errors():
                if execution == "graph":
                    raise
                continue
            if execution == default and work.steps / speeds[default] < self.min_seconds:
                break
        return speeds

    def _speed(self, execution: str, work: Workload) -> float:
        """Return the steps per second once everything is compiled."""
        work.run(execution, 1)
        count = 1
        while True:
            start = self.clock()
            work.run(execution, count)
            elapsed = self.clock() - start
            if elapsed >= self.timed_seconds or count >= work.max_steps_per_call:
                return count / max(elapsed, 1e-9)
            wanted = int(count * self.timed_seconds / max(elapsed, 1e-9))
            count = min(max(2 * count, wanted), work.max_steps_per_call)


def _can_run(execution: str, work: Workload) -> bool:
    """Return whether XLA can compile the steps, if it is to compile them whole."""
    if execution != "xla" or work.max_steps_per_call < 1:  # no step to try
        return True
    try:
        work.run(execution, 1)
    except _compile_errors():
        return False
    return True


def _compile_errors() -> tuple[type[Exception], ...]:
    """Return the errors for operations that XLA cannot compile."""
    return tf.errors.OpError, ValueError


def _operation_counts(graph: Any) -> dict[str, int]:
    """Return how often each operation occurs in a graph and its functions."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return dict(Counter(node.op for node in nodes))


def _suits_xla(operations: dict[str, int]) -> bool:
    """Return whether XLA may compute the same numbers in less time.

    It may draw other random numbers. On a CPU its convolutions take 3 to 80 times as long, and some
    end the process.
    """
    is_random = any("Random" in name for name in operations)
    convolves = any(name.startswith(CONVOLUTIONS) for name in operations)
    return not is_random and (not convolves or bool(visible_gpus()))


def _cache_key(operations: dict[str, int], work: Workload) -> str:
    """Return a hash of the operations and shapes, the steps, the devices and the versions.

    The number of steps is a part of it: whether more than the default is measured depends on it,
    and a run must not end in other bits because a longer one was measured in between.
    """
    devices = [str(device.name) for device in tf.config.list_logical_devices()]
    identity = [
        sorted(operations.items()),
        work.shapes,
        work.steps,
        devices,
        platform.machine(),
        os.cpu_count(),
        tf.version.VERSION,
        keras.version(),
    ]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def choices_folder() -> Path:
    """Return the folder of the cache with a file for each choice."""
    return cache_folder() / "execution"


def _read_choice(key: str) -> str | None:
    """Return the execution of a key; None if its file is missing or cannot be read."""
    try:
        return (choices_folder() / key).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _write_choice(key: str, chosen: str) -> bool:
    """Write the execution of a key atomically; return whether the folder can be written to."""
    try:
        choices_folder().mkdir(parents=True, exist_ok=True)
        write_text(choices_folder() / key, chosen)
    except OSError:
        return False
    return True
