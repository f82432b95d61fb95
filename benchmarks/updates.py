"""Milliseconds of an update alone, of every optimizer of the registry and of its peers."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from contenders import UPDATING
from race import log_progress
from worker import Worker, WorkerError

SMALL = [[784, 690], [690], [690, 690], [690], [690, 10], [10]]
"""About a million parameters."""
LARGE = [[2048, 2048], [2048]] * 5
"""About 21 million."""
QUICK = [[100, 30], [30], [30, 1], [1]]
LARGE_OPTIMIZERS = ("sgd", "adam")
WAYS = ("ours", "ours_graph", "keras_graph", "keras_xla") + (
    "torch",
    "torch_foreach",
    "torch_fused",
    "optax",
)


def measure_updates(
    optimizers: Sequence[str], libraries: Sequence[str], folder: Path, rounds: int, quick: bool
) -> dict[str, dict[str, Any]]:
    """Return milliseconds and ratios by optimizer, with the suffix "_21m" for large problems.

    A ratio is the median over the rounds of theirs / ours, with `ours` under XLA.
    """
    problems = [(name, name, QUICK if quick else SMALL) for name in optimizers]
    if not quick:
        problems += [
            (f"{name}_21m", name, LARGE) for name in LARGE_OPTIMIZERS if name in optimizers
        ]
    found = {}
    with contextlib.ExitStack() as exits:
        workers = dict(_start(libraries, folder, exits))
        for title, name, shapes in problems:
            log_progress(f"update: {title}")
            found[title] = _measure(name, shapes, workers, rounds, 0.01 if quick else 0.15)
    return found


def _start(
    libraries: Sequence[str], folder: Path, exits: contextlib.ExitStack
) -> Iterator[tuple[str, Worker]]:
    """Start a process for each library that is installed."""
    for library in libraries:
        log = folder / f"update_{library}.log"
        try:
            worker = Worker(f"contenders.{UPDATING[library]}:Updating", log)
        except WorkerError as error:
            log_progress(f"update: {library} is left out: {error}")
        else:
            yield library, exits.enter_context(worker)


def _measure(
    optimizer: str, shapes: list[list[int]], workers: dict[str, Worker], rounds: int, seconds: float
) -> dict[str, Any]:
    ways: dict[str, Worker] = {}
    reasons: dict[str, str] = {}
    for library, worker in list(workers.items()):
        try:
            reasons |= worker.call("begin", optimizer=optimizer, shapes=shapes)
            ways |= dict.fromkeys(worker.call("names"), worker)
        except WorkerError as error:
            reasons[library] = str(error)
            if library == "ours":
                raise
            del workers[library]
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, worker in ways.items():
            times[way].append(worker.call("milliseconds", way=way, least_seconds=seconds))
    return _row(times, reasons)


def _row(times: dict[str, list[float]], reasons: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        f"{way}_ms": statistics.median(times[way]) if way in times else None for way in WAYS
    }
    for way in WAYS[2:]:
        pairs = zip(times.get("ours", ()), times.get(way, ()), strict=False)
        quotients = [theirs / ours for ours, theirs in pairs]
        row[f"ratio_{way}"] = statistics.median(quotients) if quotients else None
    return row | ({"reasons": reasons} if reasons else {})
