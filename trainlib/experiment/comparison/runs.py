"""One run of a contender, and the file with the results of the finished runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.jobs import JobResult
from trainlib.experiment.run_folder import with_nan
from trainlib.experiment.search.data import TaskCache
from trainlib.experiment.trial import run_trial
from trainlib.tools.comparison import SeedRun
from trainlib.training.files import as_json, read_text
from trainlib.training.pool import TrainerPool

RUNS_FILE = "runs.jsonl"


class RunKey(NamedTuple):
    """Key of a run in a comparison.

    Attributes:
        contender: name of the contender.
        seed: seed of the run.
        learning_rate: learning rate of the run; None for that of the contender's configuration.
    """

    contender: str
    seed: int
    learning_rate: float | None


Runs = Mapping[RunKey, SeedRun]
"""Results of finished runs by their keys."""


class Worker:
    """State of a process that runs contenders: compiled programs, and the data."""

    def __init__(self) -> None:
        self.pool = TrainerPool()
        self.tasks = TaskCache()


def run_one(worker: Worker, config: ExperimentConfig) -> SeedRun:
    """Train a configuration in memory, and return its results."""
    result = run_trial(config, worker.tasks.task(config), pool=worker.pool)
    return SeedRun(
        config.seed,
        result.history,
        dict(result.validation or {}),
        dict(result.test or {}),
        result.seconds,
    )


def ended(key: RunKey, result: JobResult[SeedRun]) -> SeedRun:
    """Return the record of a run from the result of its job, with its failure if it failed."""
    if result.value is not None:
        return result.value
    return SeedRun(key.seed, failure=str(result.failure))


def append_run(folder: Path, key: RunKey, run: SeedRun) -> None:
    """Append the record of a run to the file of a comparison."""
    line = as_json({**key._asdict(), **dataclasses.asdict(run)})
    with (folder / RUNS_FILE).open("a+", encoding="utf-8") as file:
        file.write(f"\n{line}\n")  # begins a new line even after an incomplete one


def read_runs(folder: Path) -> dict[RunKey, SeedRun]:
    """Return the finished runs of a comparison, without failed ones and incomplete lines."""
    path = folder / RUNS_FILE
    found: dict[RunKey, SeedRun] = {}
    if not path.is_file():
        return {}
    for line in read_text(path).splitlines():
        try:
            values: dict[str, Any] = json.loads(line)
            contender, rate = values.pop("contender"), values.pop("learning_rate")
            run = SeedRun(**with_nan(values))
        except (ValueError, TypeError, KeyError):
            continue
        if not run.failure:
            found[RunKey(contender, run.seed, rate)] = run
    return found
