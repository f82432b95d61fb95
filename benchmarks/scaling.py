"""How the time of a step grows with parameters, batch, length and steps, and memory with calls."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from race import log_progress
from worker import Worker, WorkerError
from workloads import Workload, workload

BYTES_PER_PARAMETER = 60
"""Peak of Adam's update: weights, gradients and moments, old and new, and copies."""
ROUNDS = 3
"""Runs of a point of a curve. The fastest counts: other programs can only slow a run down."""
SECONDS = 0.5
"""Approximate length of such a run."""
PARAMETERS = tuple(10**power for power in range(4, 9))
BATCH_SIZES = tuple(4**power for power in range(7))
LENGTHS = (16, 32, 64, 128, 256, 512)
SEQUENCE_NETS = {"lstm": "xla", "transformer": "graph"}
"""Networks of the curve by length, with the executions of their long runs."""


def measure_scaling(folder: Path, quick: bool) -> dict[str, Any]:
    """Return milliseconds per update by parameters, per step by batch and by steps; and memory."""
    steps = (10, 100) if quick else (100, 1_000, 10_000, 100_000)
    log_progress("scaling: update")
    found: dict[str, Any] = {
        "update_by_parameters": {
            str(n): _update(n, folder) for n in (PARAMETERS[:1] if quick else PARAMETERS)
        }
    }
    seconds = 0.02 if quick else SECONDS
    found |= measure_curves(folder, seconds, (lambda sizes: sizes[:2]) if quick else tuple)
    log_progress("scaling: steps and calls")
    with Worker("scaling:Growth", folder / "growth.log") as growth:
        found["step_ms_by_steps"] = {str(n): growth.call("steps", count=n) for n in steps}
    with Worker("scaling:Growth", folder / "growth.log") as growth:
        found["calls"] = growth.call("calls", count=100 if quick else 10_000)
    return found


def measure_curves(
    folder: Path, seconds: float, taken: Callable[[Sequence[int]], Sequence[int]]
) -> dict[str, Any]:
    """Return the points of the curves: milliseconds of a step, and what it takes at least.

    Args:
        folder: for the logs of the processes.
        seconds: approximate length of a run.
        taken: the sizes of a curve that are measured.
    """
    found: dict[str, Any] = {"step_by_parameters": {}}
    log_progress("scaling: parameters")
    for n in taken(PARAMETERS):
        if n * BYTES_PER_PARAMETER <= available_memory():
            with Worker("scaling:Growth", folder / "growth.log") as growth:
                row = growth.call("parameters", count=n, seconds=seconds)
            found["step_by_parameters"][str(n)] = row
    for curve, sizes in (("batch", BATCH_SIZES), ("length", LENGTHS)):
        log_progress(f"scaling: {curve}")
        with Worker("scaling:Growth", folder / "growth.log") as growth:
            found[f"step_by_{curve}"] = {
                str(n): growth.call(curve, size=n, seconds=seconds) for n in taken(sizes)
            }
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
    """The points of the curves: times of `Trainer.fit`, in a separate process."""

    def parameters(self, count: int, seconds: float) -> dict[str, float]:
        """Return a step of a chain of three layers with about a number of parameters."""
        inputs, outputs = 100, 10
        width = round(math.sqrt((inputs + outputs) ** 2 / 4 + count) - (inputs + outputs) / 2)
        of = Workload((inputs,), (width, width), outputs, "adam", 32, 0)
        return self._beside_products(of, 32, seconds)

    def batch(self, size: int, seconds: float) -> dict[str, float]:
        """Return a step of the MLP with batches of a size."""
        return self._beside_products(workload("mlp_adam"), size, seconds)

    def length(self, size: int, seconds: float) -> dict[str, float]:
        """Return the milliseconds of a step of networks of sequences of a length."""
        found = {}
        for name, execution in SEQUENCE_NETS.items():
            of = workload(name)._replace(input_shape=(size,))
            found[f"{name}_ms"] = self._least_ms(of, 32, seconds, execution)
            found[f"{name}_gflop"] = OPERATIONS[name](size) * 32 / 1e9
        return found

    def steps(self, count: int) -> float:
        """Return the milliseconds per step of the tiny model, in a fit of `count` steps."""
        fit = _prepare(workload("tiny"), 32, count)
        fit.seconds()  # compiles
        return 1e3 * fit.seconds() / count

    def calls(self, count: int) -> dict[str, float]:
        """Return the memory before and after `count` fits of one step, and their times."""
        fit, tenth = _prepare(workload("tiny"), 32, 1), max(count // 10, 1)
        fit.seconds(tenth)  # allocations of the first calls are not growth
        before = resident_mib()
        first = fit.seconds(tenth)
        fit.seconds(count - 2 * tenth)
        last = fit.seconds(tenth)
        return {
            "calls": count,
            "resident_mib_before": before,
            "resident_mib_after": resident_mib(),
            "first_ms_per_call": 1e3 * first / tenth,
            "last_ms_per_call": 1e3 * last / tenth,
        }

    def _beside_products(self, of: Workload, size: int, seconds: float) -> dict[str, float]:
        """Return a step beside its matrix products and the traffic of its update, alone."""
        from ideals import products_ms, traffic_ms

        parameters = sum(math.prod(shape) for shape in of.shapes())
        return {
            "parameters": parameters,
            "ms": self._least_ms(of, size, seconds, "xla"),
            "products_ms": products_ms(of, size, seconds / 3),
            "traffic_ms": traffic_ms(parameters, of.optimizer, seconds / 3),
        }

    def _least_ms(self, of: Workload, size: int, seconds: float, execution: str) -> float:
        """Return the milliseconds of a step, the least of some fits of about `seconds`."""
        steps = 2
        while True:
            fit = _prepare(of, size, steps, execution=execution)
            fit.seconds()  # compiles
            taken = fit.seconds()
            if taken >= seconds / 4 or steps >= 4096:
                break
            steps = min(4096, max(2 * steps, int(steps * seconds / taken)))
        return 1e3 * min(taken, *(fit.seconds() for _ in range(ROUNDS))) / steps


class Fit(NamedTuple):
    """A call of `Trainer.fit`, which can be made many times.

    Attributes:
        trainer: the trainer.
        data: inputs and targets, on the device.
        batch_size: examples of a batch.
    """

    trainer: Any
    data: Any
    batch_size: int

    def seconds(self, count: int = 1) -> float:
        """Return the seconds of some calls."""
        began = time.perf_counter()
        for _ in range(count):
            self.trainer.fit(self.data, batch_size=self.batch_size)
        return time.perf_counter() - began


def _prepare(of: Workload, batch_size: int, steps: int, **options: Any) -> Fit:
    """Return a fit of so many steps of a workload's model, by a trainer with these options."""
    import numpy as np
    import tensorflow as tf
    from contenders.ours import make_trainer
    from workloads import data, first_weights

    rng = np.random.default_rng(0)
    inputs = of.vocabulary or int(np.prod(of.input_shape))
    planted = rng.standard_normal((inputs, of.outputs), "float32")
    x, y = data(rng, batch_size * steps, planted, of)
    trainer = make_trainer(of, first_weights(rng, of), **options)
    return Fit(trainer, (tf.constant(x), tf.constant(y)), batch_size)


WIDTH, FEEDFORWARD, BLOCKS = 64, 128, 2
"""Sizes of the networks of sequences."""
OPERATIONS: dict[str, Callable[[int], float]] = {
    "lstm": lambda length: 3 * 2 * length * 2 * WIDTH * 4 * WIDTH,
    "transformer": lambda length: (
        3 * 2 * BLOCKS * length * WIDTH * (4 * WIDTH + 2 * length + 2 * FEEDFORWARD)
    ),
}
"""Multiplications and additions of the matrix products of a step, for a sequence of a length."""


def resident_mib() -> float:
    """Return the memory of the process in MiB, as Linux reports it; 0 elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
