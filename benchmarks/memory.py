"""Peak memory of training: that of a process beyond what it had with its libraries and data.

Every run has a process of its own, which imports its libraries, reads the arrays of the workload,
notes its resident memory, builds the model and trains it once on all of them, as a user would: with
the defaults of `Trainer.fit` and of `Model.fit`, which shuffle.
"""

from __future__ import annotations

import gc
import importlib
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from race import log_progress
from worker import Worker, peak_memory
from workloads import read_weights, workload

CONTENDERS: dict[str, dict[str, Any]] = {
    "keras": {},
    "ours": {},
    "ours_graph": {"execution": "graph"},
    "ours_xla": {"execution": "xla"},
    "checkpointing_graph": {"execution": "graph", "gradient_checkpointing": True},
    "checkpointing_xla": {"execution": "xla", "gradient_checkpointing": True},
}
"""Options of the trainer by contender."""
EVERY_WORKLOAD = ("keras", "ours", "ours_graph")
CHECKPOINTED = ("resnet", "transformer")
"""Workloads that are also trained with gradient checkpointing, and without it in each execution."""


class MemoryRun:
    """A training run in a process of its own.

    Args:
        folder: folder of the workload's arrays, as `WorkloadWriter` writes them.
        name: name of the workload.
        contender: a key of `CONTENDERS`.
        quick: whether the run is short.
    """

    def __init__(self, folder: str, name: str, contender: str, quick: bool) -> None:
        self.folder, self.workload, self.contender = Path(folder), workload(name, quick), contender
        module = "keras_" if contender == "keras" else "ours"
        self.library = importlib.import_module(f"contenders.{module}")

    def train(self) -> dict[str, float]:
        """Train, and return the MiB of the arrays, of the process before it, and of the peak."""
        x, y = (np.load(self.folder / f"{name}.npy") for name in ("x", "y"))
        data = self.workload.structured(x, y)
        weights = read_weights(self.folder)
        gc.collect()
        before = reset_peak()
        if self.contender == "keras":
            self._train_keras(data, weights)
        else:
            self._train_ours(data, weights)
        return {
            "arrays_mib": (x.nbytes + y.nbytes) / 2**20,
            "before_mib": before,
            "peak_mib": (peak_memory() or 0) - before,
        }

    def _train_keras(self, data: Any, weights: list[np.ndarray]) -> None:
        model = self.library.compiled_model(self.workload, weights)
        model.fit(*data, batch_size=self.workload.batch_size, verbose=0)

    def _train_ours(self, data: Any, weights: list[np.ndarray]) -> None:
        options = CONTENDERS[self.contender]
        trainer = self.library.make_trainer(self.workload, weights, **options)
        trainer.fit(data, batch_size=self.workload.batch_size)


def reset_peak() -> float:
    """Let the peak of this process begin at what it has now, and return that in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory() or 0


def measure_memory(
    names: Sequence[str], folder: Path, rounds: int, quick: bool
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the MiB of each contender by workload, medians over the rounds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        log_progress(f"{name}: memory")
        with tempfile.TemporaryDirectory(dir=folder) as path:
            with Worker(
                "workloads:WorkloadWriter", Path(path) / "log", folder=path, name=name, quick=quick
            ) as writer:
                writer.call("write", epochs=1)
            found[name] = {c: _measure(path, name, c, rounds, quick) for c in _contenders(name)}
    return found


def _contenders(name: str) -> list[str]:
    """Return the contenders of a workload: those under XLA unless it takes too long."""
    if name not in CHECKPOINTED:
        return list(EVERY_WORKLOAD)
    slow = workload(name).slow_under_xla
    return [c for c, options in CONTENDERS.items() if not (slow and "xla" in options.values())]


def _measure(folder: str, name: str, contender: str, rounds: int, quick: bool) -> dict[str, float]:
    runs = []
    for _ in range(rounds):
        options = {"folder": folder, "name": name, "contender": contender, "quick": quick}
        with Worker("memory:MemoryRun", Path(folder) / "log", **options) as worker:
            runs.append(worker.call("train"))
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}
