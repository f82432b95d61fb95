"""How trainlib's time grows with parameters, batch and steps, and its memory with calls."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from race import log_progress
from worker import Worker, WorkerError
from workloads import workload

BYTES_PER_PARAMETER = 60
"""Peak of Adam's update: weights, gradients and moments, old and new, and copies."""


def measure_scaling(folder: Path, quick: bool) -> dict[str, Any]:
    """Return milliseconds per update by parameters, per step by batch and by steps; and memory."""
    log_progress("scaling")
    batches = (8, 32) if quick else (1, 8, 32, 128, 512, 2048)
    steps = (10, 100) if quick else (100, 1_000, 10_000, 100_000)
    found: dict[str, Any] = {
        "update_by_parameters": {
            str(10**power): _update(10**power, folder) for power in range(4, 5 if quick else 9)
        }
    }
    with Worker("scaling:Growth", folder / "growth.log") as growth:
        found["step_ms_by_batch"] = {
            str(size): growth.call("batch", size=size, steps=10 if quick else 200)
            for size in batches
        }
        found["step_ms_by_steps"] = {str(n): growth.call("steps", count=n) for n in steps}
    with Worker("scaling:Growth", folder / "growth.log") as growth:
        found["calls"] = growth.call("calls", count=100 if quick else 10_000)
    return found


def _update(parameters: int, folder: Path) -> dict[str, Any]:
    """Return milliseconds and peak memory of Adam's update of parameters, in a new process."""
    if parameters * BYTES_PER_PARAMETER > available_memory():
        return {"ms": None, "peak_memory_mib": None, "reason": "too little memory is free"}
    try:
        with Worker("contenders.ours:Updating", folder / "scaling.log") as worker:
            failed = worker.call("begin", optimizer="adam", shapes=[[parameters // 400, 100]] * 4)
            if "ours" in failed:
                raise WorkerError(failed["ours"])
            ms = worker.call("milliseconds", way="ours", least_seconds=0.3)
            return {"ms": ms, "peak_memory_mib": worker.call("peak_memory")}
    except WorkerError as error:
        return {"ms": None, "peak_memory_mib": None, "reason": str(error)}


def available_memory() -> float:
    """Return the free bytes of memory; 4 GiB where the system does not report them."""
    try:
        rows = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 4 * 2**30
    row = next(row for row in rows if row.startswith("MemAvailable:"))
    return int(row.split()[1]) * 1024


class Growth:
    """Calls of `Trainer.fit`, in a separate process."""

    def batch(self, size: int, steps: int) -> float:
        """Return the milliseconds per step of the MLP with batches of a size."""
        return self._ms("mlp_adam", size, max(2, min(steps, 200_000 // size)))

    def steps(self, count: int) -> float:
        """Return the milliseconds per step of the tiny model, in a fit of `count` steps."""
        return self._ms("tiny", 32, count)

    def calls(self, count: int) -> dict[str, float]:
        """Return the memory before and after `count` fits of one step, and their times."""
        trainer, data = self._trainer("tiny", 32, 1)
        tenth = max(count // 10, 1)
        self._fits(trainer, data, tenth)  # allocations of the first calls are not growth
        before = resident_mib()
        first = self._fits(trainer, data, tenth)
        self._fits(trainer, data, count - 2 * tenth)
        last = self._fits(trainer, data, tenth)
        return {
            "calls": count,
            "resident_mib_before": before,
            "resident_mib_after": resident_mib(),
            "first_ms_per_call": 1e3 * first / tenth,
            "last_ms_per_call": 1e3 * last / tenth,
        }

    def _fits(self, trainer: Any, data: Any, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            trainer.fit(data, batch_size=32)
        return time.perf_counter() - began

    def _ms(self, name: str, size: int, steps: int) -> float:
        trainer, data = self._trainer(name, size, steps)
        trainer.fit(data, batch_size=size)
        began = time.perf_counter()
        trainer.fit(data, batch_size=size)
        return 1e3 * (time.perf_counter() - began) / steps

    def _trainer(self, name: str, size: int, steps: int) -> tuple[Any, Any]:
        import numpy as np
        import tensorflow as tf
        from contenders.ours import make_trainer
        from workloads import data, first_weights

        of = workload(name)
        rng = np.random.default_rng(0)
        planted = rng.standard_normal((int(np.prod(of.input_shape)), of.outputs), "float32")
        x, y = data(rng, size * steps, planted, of)
        trainer = make_trainer(of, first_weights(rng, of))
        return trainer, (tf.constant(x), tf.constant(y))


def resident_mib() -> float:
    """Return the memory of the process in MiB, as Linux reports it; 0 elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
