"""Races: contenders in separate processes, which run in turn, one at a time, for some rounds."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contenders import FAMILIES, OURS, SHUFFLING, TRAINING
from worker import Worker, WorkerError
from workloads import EVALUATION_EXAMPLES, workload

TOLERANCE = 2e-3
"""Largest relative difference of losses after the steps of the check, from rounding in float32."""
PART_OF_CHANGE = 0.1
"""Largest difference of losses, as a part of the change of the loss in these steps."""
PAUSE = 0.1
"""Seconds between runs, in which the threads of the last one become idle."""

Rates = dict[str, list[float]]
"""Steps or examples per second in each round, by contender."""


class ResultMismatch(RuntimeError):
    """A contender did not do the same work as trainlib."""


def log_progress(text: str) -> None:
    """Print progress to stderr; the tables are printed to stdout."""
    print(text, file=sys.stderr, flush=True)


def check_same_work(
    name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, float]:
    """Return the relative differences of two results of `Training.check`.

    A contender without a record of the losses of the batches has a training loss of None.

    Raises:
        ResultMismatch: the numbers of steps differ, or the losses by more than TOLERANCE, or by
            more than PART_OF_CHANGE, so that a contender that trains nothing is found too.
    """
    if theirs["steps"] != ours["steps"]:
        raise ResultMismatch(f"{name} made {theirs['steps']} steps, trainlib {ours['steps']}")
    differences = {}
    for key in ("loss", "training_loss"):
        if theirs[key] is None:
            continue
        differences[key] = abs(theirs[key] - ours[key]) / abs(ours[key])
        if not differences[key] <= TOLERANCE:
            raise ResultMismatch(f"{name} reached a {key} of {theirs[key]}, trainlib {ours[key]}")
    change = abs(ours["loss"] - ours["first_loss"])
    if not abs(theirs["loss"] - ours["loss"]) <= PART_OF_CHANGE * change:
        raise ResultMismatch(
            f"{name} reached a loss of {theirs['loss']}, trainlib {ours['loss']} from "
            f"{ours['first_loss']}"
        )
    return differences


def ratios(rates: Rates) -> dict[str, float]:
    """Return the median over the rounds of ours / theirs within a round, by contender."""
    return {
        name: statistics.median(a / b for a, b in zip(rates[OURS], theirs, strict=True))
        for name, theirs in rates.items()
    }


def family_ratios(rates: Rates) -> dict[str, float | None]:
    """Return the ratio to the fastest member of each family as "ratio_FAMILY", or None."""
    of, found = ratios(rates), {}
    for family, members in FAMILIES.items():
        present = [name for name in members if name in rates]
        fastest = max(present, key=lambda name: statistics.median(rates[name]), default=None)
        found[f"ratio_{family}"] = of[fastest] if fastest else None
    return found


class Race:
    """The contenders of one workload. `rows` holds the figures of each, by name."""

    def __init__(self, name: str, folder: Path, quick: bool, seconds: float, rounds: int) -> None:
        self.name, self.folder, self.quick = name, folder, quick
        self.seconds, self.rounds = seconds, rounds
        self.arguments = {"folder": str(folder), "name": name, "quick": quick}
        self.workers: dict[str, Worker] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self._exits = contextlib.ExitStack()
        with Worker("workloads:WorkloadWriter", folder / "writer.log", **self.arguments) as writer:
            writer.call("write", epochs=rounds + 1)

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def enter(self, name: str) -> None:
        """Start a contender and check its work; one that cannot run is left out, with a reason.

        trainlib must enter first, because the others are compared with it.
        """
        log_progress(f"{self.name}: {name}")
        self.rows[name] = {"about": TRAINING[name].about}
        with self._without_peer(name):
            if self._is_too_slow(name):
                raise WorkerError("XLA computes its convolutions too slowly on a CPU")
            options = dict(TRAINING[name].options)
            if name == "keras_best":
                options["searched"] = self._search()
            target = f"contenders.{TRAINING[name].module}:Training"
            log = self.folder / f"{name}.log"
            worker = Worker(target, log, **self.arguments, **options)
            self.workers[name] = self._exits.enter_context(worker)
            if name in (OURS, SHUFFLING) and not self.quick:  # the runs are parts of a long one
                self.rows[name]["measured_executions"] = worker.call("settle")
            self.rows[name]["check"] = check = worker.call("check")
            differences = check_same_work(name, self.rows[OURS]["check"], check)
            self.rows[name]["relative_differences"] = differences

    def _is_too_slow(self, name: str) -> bool:
        """Return whether XLA would compile a contender's steps, and too slow ones, for a CPU."""
        if not (TRAINING[name].needs_xla and workload(self.name).slow_under_xla):
            return False
        return bool(self.workers[OURS].call("accelerators") == 0)

    def train(self) -> Rates:
        """Return the steps per second."""

        def prepare(worker: Worker, turn: int, count: int) -> None:
            worker.call("prepare", epoch=turn, steps=count)

        of = workload(self.name, self.quick)
        in_order = [name for name in self.workers if name != SHUFFLING]
        counts = self._counts(in_order, prepare, "run", of.check_steps, of.steps)
        counts |= {SHUFFLING: of.steps}  # one epoch, whose order is known
        rates = self._run(prepare, "run", counts)
        for name in self.workers:
            self.rows[name]["steps_per_run"] = counts[name]
        return rates

    def evaluate(self) -> tuple[Rates, list[float]]:
        """Return the examples per second of evaluation, and of trainlib's model outputs alone."""

        def prepare(worker: Worker, turn: int, count: int) -> None:
            worker.call("prepare_evaluation", examples=count)

        size = EVALUATION_EXAMPLES
        examples = max(size, workload(self.name, self.quick).evaluated)
        counts = self._counts(list(self.workers), prepare, "run_evaluation", size, examples)
        rates = self._run(prepare, "run_evaluation", counts)
        runs = [self.workers[OURS].call("run_forward") for _ in range(self.rounds + 1)]
        return rates, [run["count"] / run["seconds"] for run in runs[1:]]

    def _counts(
        self, names: Sequence[str], prepare: Callable[..., None], run: str, least: int, most: int
    ) -> dict[str, int]:
        """Return how many each can do in about the length of a run, in multiples of `least`.

        Short runs say little of longer ones, because each has a fixed cost: they grow up to it.
        """
        counts = {}
        for name in names:
            worker = self.workers[name]
            with self._without_peer(name):
                times, wanted = 0, 1
                while wanted > 1.5 * times:
                    times = wanted
                    prepare(worker, 0, times * least)
                    worker.call(run)
                    in_a_run = times * self.seconds / worker.call(run)["seconds"]
                    wanted = max(1, int(min(in_a_run, most / least)))
                counts[name] = wanted * least
        return counts

    def _run(self, prepare: Callable[..., None], run: str, counts: dict[str, int]) -> Rates:
        """Run the rounds, after an uncounted one in which everything is compiled and read.

        In each round another contender is the first, so that none always follows the same one.
        """
        rates: Rates = {name: [] for name in self.workers}
        for turn in range(self.rounds + 1):
            first, names = turn % len(self.workers), list(self.workers)
            for name in names[first:] + names[:first]:
                worker = self.workers[name]
                with self._without_peer(name):
                    prepare(worker, turn, counts[name])
                    time.sleep(PAUSE)
                    done = worker.call(run)
                    if done["count"] != counts[name]:
                        raise ResultMismatch(f"{name} did {done['count']}, expected {counts[name]}")
                    rates[name].append(done["count"] / done["seconds"])
        return {name: rates[name][1:] for name in self.workers}

    def _search(self) -> dict[str, Any]:
        """Return Keras's fastest setting, found in a separate process."""
        log = self.folder / "search.log"
        with Worker("contenders.keras_:Search", log, **self.arguments) as search:
            found = search.call("best")
        self.rows["keras_best"] |= found
        best: dict[str, Any] = found["best"]
        return best

    @contextlib.contextmanager
    def _without_peer(self, name: str) -> Any:
        """Continue without a peer whose process fails; raise if it is trainlib's."""
        try:
            yield
        except WorkerError as error:
            if name == OURS:
                raise
            self.rows[name]["reason"] = str(error)
            self.workers.pop(name, None)
            log_progress(f"{self.name}: {name} is left out: {error}")
