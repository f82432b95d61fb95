"""The steps of trainlib and by hand beside their matrix products and memory traffic alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from race import log_progress
from worker import Worker
from workloads import WORKLOADS, read_weights, workload

LIMITED = tuple(name for name, of in WORKLOADS.items() if of.net in ("", "wide_deep"))
"""Workloads whose products `ideals.py` computes."""
SECONDS = 0.3
"""Approximate length of a run of a part."""
CALLS = 5
EPOCHS = 10
"""Epochs of data on which one call trains for `long_call_ms`."""


def measure_limits(
    folder: Path, workloads: Sequence[str], rounds: int, quick: bool
) -> dict[str, dict[str, float]]:
    """Return the milliseconds of a step and of its parts by workload.

    Each figure is the least of the rounds, because other programs can only slow a run down.

    Args:
        folder: for the files and the logs of the processes.
        workloads: names; those without products in `ideals.py` are left out.
        rounds: number of rounds, in each of which everything is measured.
        quick: whether the runs are short.

    Returns:
        by workload: `ms` and `by_hand_ms`, a step by trainlib and by hand; `products_ms` and
        `traffic_ms`, its products and the traffic of its update alone; and for workloads with
        epochs `long_call_ms` and `validation_ms`, the parts of a step's time in an epoch.
    """
    found = {}
    for name in workloads:
        if name not in LIMITED:
            log_progress(f"limits: {name} is left out: it has other products than dense layers")
            continue
        log_progress(f"limits: {name}")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            given = {"folder": place, "name": name, "quick": quick}
            log = Path(place) / "log"
            with Worker("workloads:WorkloadWriter", log, **given) as writer:
                writer.call("write", epochs=1)
            with Worker("limits:Limits", log, **given) as limits:
                seconds = SECONDS / 10 if quick else SECONDS
                rows = [limits.call("measure", seconds=seconds) for _ in range(rounds)]
        found[name] = {part: min(row[part] for row in rows) for part in rows[0]}
    return found


class Limits:
    """The parts of a step of a workload, in a separate process.

    Args:
        folder: folder of the workload's files, as `WorkloadWriter` writes them.
        name: name of the workload.
        quick: whether the runs are short.
    """

    def __init__(self, folder: str, name: str, quick: bool) -> None:
        from contenders import bare, ours

        given = {"folder": folder, "name": name, "quick": quick}
        self.workload, self.folder = workload(name, quick), Path(folder)
        self.ours = ours.Training(**given)
        if not quick:
            self.ours.settle()
        self.by_hand = [bare.Training(compiled=compiled, **given) for compiled in (True, False)]

    def measure(self, seconds: float) -> dict[str, float]:
        """Return the milliseconds of a step as a whole, and of its parts."""
        from ideals import products_ms, traffic_ms

        of = self.workload
        parameters = sum(w.size for w in read_weights(self.folder))
        found = {
            "ms": self._step_ms(self.ours),
            "by_hand_ms": min(map(self._step_ms, self.by_hand)),
            "products_ms": products_ms(of, of.batch_size, seconds),
            "traffic_ms": traffic_ms(parameters, of.optimizer, seconds),
        }
        return found | (self._parts_of_epoch() if of.examples_of_epoch else {})

    def _step_ms(self, training: Any) -> float:
        """Return the milliseconds of a step of a run, the second: the first compiles."""
        training.prepare(epoch=0, steps=self.workload.steps)
        training.run()
        run = training.run()
        return float(1e3 * run["seconds"] / run["count"])

    def _parts_of_epoch(self) -> dict[str, float]:
        """Return, for a step of an epoch, its time in one long call and that of the validation."""
        training, of = self.ours, self.workload
        training.prepare(epoch=0, steps=of.steps)
        whole = of.examples // of.batch_size * of.batch_size
        rows = np.tile(np.arange(whole), EPOCHS)
        data = training.place(*(np.load(self.folder / f"{a}.npy")[rows] for a in "xy"))
        steps = len(rows) // of.batch_size
        validation = _least_ms(lambda: training.evaluate(training.validation))
        return {
            "long_call_ms": _least_ms(lambda: training.train(data)) / steps,
            "validation_ms": validation / of.steps_of_epoch,
        }


def _least_ms(call: Callable[[], object]) -> float:
    """Return the least milliseconds of some calls, after one that compiles."""
    call()
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return min(times)
