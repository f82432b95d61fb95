"""trainlib's steps per second in every precision, with the execution that "auto" chooses."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machine import bfloat16_instructions
from race import PAUSE, Rates, ResultMismatch, log_progress
from worker import Worker
from workloads import CHECK_STEPS, workload

WORKLOADS = ("mlp_adam", "wide", "cnn")
FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "float64", "mixed_bfloat16", "mixed_float16")
QUICK_PRECISIONS = (FLOAT32, "mixed_bfloat16")
TOLERANCE = 0.02
"""Largest relative difference from float32's loss after CHECK_STEPS: bfloat16 has 8 bits."""
SLOW = "convolutions of float16 on a CPU are hundreds of times slower than those of float32"


def measure_precision(folder: Path, quick: bool, seconds: float, rounds: int) -> dict[str, Any]:
    """Return the processor's instructions for bfloat16, and figures by workload and precision."""
    rows = {}
    for name in WORKLOADS[:1] if quick else WORKLOADS:
        with tempfile.TemporaryDirectory(dir=folder) as workload_folder:
            rows[name] = _measure(name, Path(workload_folder), quick, seconds, rounds)
    return {"bfloat16": bfloat16_instructions(), "workloads": rows}


def _measure(
    name: str, folder: Path, quick: bool, seconds: float, rounds: int
) -> dict[str, dict[str, Any]]:
    arguments = {"folder": str(folder), "name": name, "quick": quick}
    with Worker("workloads:WorkloadWriter", folder / "writer.log", **arguments) as writer:
        writer.call("write", epochs=1)
    rows: dict[str, dict[str, Any]] = {}
    workers: dict[str, Worker] = {}
    with contextlib.ExitStack() as exits:
        for precision in QUICK_PRECISIONS if quick else PRECISIONS:
            log_progress(f"precision: {name} in {precision}")
            if _is_slow(name, precision, workers):
                rows[precision] = {"reason": SLOW}
                continue
            given = arguments | {"precision": precision}
            worker = Worker("contenders.ours:Training", folder / f"{precision}.log", **given)
            workers[precision] = exits.enter_context(worker)
            rows[precision] = {"measured_executions": {} if quick else worker.call("settle")}
            rows[precision] |= {"execution": worker.call("execution")} | worker.call("check")
            _compare(precision, rows)
        counts = {one: _prepare(worker, name, quick, seconds) for one, worker in workers.items()}
        rates = _take_turns(workers, counts, rounds)
        for precision, worker in workers.items():
            rows[precision] |= _rates(precision, rates) | {"steps_per_run": counts[precision]}
            rows[precision]["peak_memory_mib"] = worker.call("peak_memory")
    return rows


def _is_slow(name: str, precision: str, workers: Mapping[str, Worker]) -> bool:
    if precision != "mixed_float16" or not workload(name).filters:
        return False
    return bool(workers[FLOAT32].call("accelerators") == 0)


def _compare(precision: str, rows: dict[str, dict[str, Any]]) -> None:
    ours, theirs = rows[FLOAT32]["loss"], rows[precision]["loss"]
    difference = rows[precision]["relative_difference"] = abs(theirs - ours) / abs(ours)
    if not difference <= TOLERANCE:
        raise ResultMismatch(f"{precision} reached a loss of {theirs}, float32 {ours}")


def _prepare(worker: Worker, name: str, quick: bool, seconds: float) -> int:
    """Load as many steps as take about `seconds`, and return their number."""
    worker.call("prepare", epoch=0, steps=CHECK_STEPS)
    worker.call("run")
    taken = worker.call("run")["seconds"]
    steps = min(workload(name, quick).steps, CHECK_STEPS * max(1, int(seconds / taken)))
    worker.call("prepare", epoch=0, steps=steps)
    worker.call("run")
    return steps


def _take_turns(workers: Mapping[str, Worker], counts: Mapping[str, int], rounds: int) -> Rates:
    """Return the steps per second in each round, by precision."""
    rates: Rates = {precision: [] for precision in workers}
    for _ in range(rounds):
        for precision, worker in workers.items():
            time.sleep(PAUSE)
            done = worker.call("run")
            made = done["count"]
            if made != counts[precision]:
                raise ResultMismatch(f"{precision} made {made} steps, expected {counts[precision]}")
            rates[precision].append(made / done["seconds"])
    return rates


def _rates(precision: str, rates: Rates) -> dict[str, Any]:
    own = rates[precision]
    pairs = zip(own, rates[FLOAT32], strict=True)
    return {
        "steps_per_second": statistics.median(own),
        "steps_per_second_by_round": own,
        "ratio_to_float32": statistics.median(a / b for a, b in pairs),
    }
