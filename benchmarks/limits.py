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
        by workload: `ms`, a step by trainlib; `one_thread_ms`, in a process whose operations use
        one thread; `by_hand_ms`, a step by hand; `with_loss_ms`, one that also adds up the losses;
        `products_ms` and `traffic_ms`, its products and the traffic of its update alone; and for
        workloads with epochs `long_call_ms` and `validation_ms`, the parts of a step's time in an
        epoch.
    """
    found = {}
    for name in workloads:
        if name not in LIMITED:
            log_progress(f"limits: {name} is left out: it has other products than dense layers")
            continue
        log_progress(f"limits: {name}")
        with tempfile.TemporaryDirectory(dir=folder) as place:
            given = {"folder": place, "name": name, "quick": quick}
            logs = [Path(place) / f"{process}.log" for process in ("writer", "limits", "steps")]
            with Worker("workloads:WorkloadWriter", logs[0], **given) as writer:
                writer.call("write", epochs=1)
            with (  # the second has the execution that the first chose, from the same cache
                Worker("limits:Limits", logs[1], **given) as limits,
                Worker("limits:Steps", logs[2], threads=1, **given) as one_thread,
            ):
                seconds = SECONDS / 10 if quick else SECONDS
                rows = [
                    limits.call("measure", seconds=seconds)
                    | {"one_thread_ms": one_thread.call("step_ms")}
                    for _ in range(rounds)
                ]
        found[name] = {part: min(row[part] for row in rows) for part in rows[0]}
    return found


class Steps:
    """trainlib's steps of a workload, in a separate process.

    Args:
        folder: folder of the workload's files, as `WorkloadWriter` writes them.
        name: name of the workload.
        quick: whether the runs are short.
        threads: number of threads of an operation. Default: None, as many as there are cores.
    """

    def __init__(self, folder: str, name: str, quick: bool, threads: int | None = None) -> None:
        from contenders import ours

        self.workload, self.folder = workload(name, quick), Path(folder)
        self.ours = ours.Training(folder=folder, name=name, quick=quick, threads=threads)
        if not quick:
            self.ours.settle()

    def step_ms(self) -> float:
        """Return the milliseconds of a step."""
        return self._step_ms(self.ours)

    def _step_ms(self, training: Any) -> float:
        """Return the milliseconds of a step of a run, the second: the first compiles."""
        training.prepare(epoch=0, steps=self.workload.steps)
        training.run()
        run = training.run()
        return float(1e3 * run["seconds"] / run["count"])


class Limits(Steps):
    """The steps of a workload and their parts, in a separate process."""

    def __init__(self, **given: Any) -> None:
        from contenders import bare

        def by_hand(**options: bool) -> list[Any]:
            return [bare.Training(compiled=xla, **options, **given) for xla in (True, False)]

        super().__init__(**given)
        self.by_hand, self.with_loss = by_hand(), by_hand(adds_losses=True)

    def measure(self, seconds: float) -> dict[str, float]:
        """Return the milliseconds of a step as a whole, and of its parts."""
        from ideals import products_ms, traffic_ms

        of = self.workload
        parameters = sum(w.size for w in read_weights(self.folder))
        found = {
            "ms": self.step_ms(),
            "with_loss_ms": min(map(self._step_ms, self.with_loss)),
            "by_hand_ms": min(map(self._step_ms, self.by_hand)),
            "products_ms": products_ms(of, of.batch_size, seconds),
            "traffic_ms": traffic_ms(parameters, of.optimizer, seconds),
        }
        return found | (self._parts_of_epoch() if of.examples_of_epoch else {})

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
