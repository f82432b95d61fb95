"""`run_ensemble`: train the members of an ensemble, average them, and save the average."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

from trainlib.core.checks import check_integer
from trainlib.data.preprocessing import read_preprocessing, write_preprocessing
from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.ensemble_average import EnsembleResult, average_members
from trainlib.experiment.ensemble_checks import check_ensemble
from trainlib.experiment.ensemble_members import (
    MemberState,
    is_finished,
    make_state,
    member_folder,
    train_member,
)
from trainlib.experiment.ensemble_snapshots import train_snapshots
from trainlib.experiment.jobs import run_jobs, share_of_cores
from trainlib.experiment.result import Log, RunInterrupted
from trainlib.experiment.task_building import build_task
from trainlib.training.display import format_results
from trainlib.training.gpus import visible_gpus
from trainlib.training.paths import printable
from trainlib.training.pool import TrainerPool

START_SECONDS = 10.0
"""Estimated seconds for a process to start, read the data, trace and compile."""


def run_ensemble(
    config: ExperimentConfig,
    run_dir: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    jobs: int | None = None,
    log: Log = lambda line: None,
) -> EnsembleResult:
    """Train the members of an ensemble, average them, and save the average as one model.

    A member equals a plain run with its seed, whose `split_seed` is the seed of the ensemble; up to
    rounding if several processes train, or if the plain run is timed and executed in another way.

    Args:
        config: the experiment, with an `ensemble` of at least 2 members.
        run_dir: run folder to write, new or empty. Default: None,
            runs/<data set>-<model>-<optimizer>-<time>.
        resume: whether to continue the ensemble in `run_dir`; finished members are kept. Default:
            False.
        jobs: number of processes that train members. Default: None, one per core if the training
            time of the first member shows that this saves time, else 1.
        log: function called with lines on the progress. Default: not called.

    Returns:
        An `EnsembleResult`. `evaluate`, `predict` and `report` take its folder.

    Raises:
        ValueError, TypeError, OSError: something that the configuration names does not exist, does
            not suit the data, or cannot be written.
        RuntimeError: a member failed for another reason; finished members are kept.
        RunInterrupted: the ensemble was interrupted; finished members are kept.

    Example:
        >>> import tempfile
        >>> config = tl.ExperimentConfig(
        ...     data=tl.DataConfig(train_examples=64),
        ...     model=tl.config("mlp", hidden=[8]),
        ...     epochs=1,
        ...     execution="graph",
        ...     report=False,
        ...     ensemble=tl.EnsembleConfig(members=2),
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = tl.run_ensemble(config, folder, jobs=1)
        >>> result.weights, sorted(result.test)
        ([0.5, 0.5], ['accuracy', 'loss'])
    """
    if jobs is not None:
        check_integer("jobs", jobs, at_least=1)
    given = run_folder.given_path(run_dir, resume, "ensemble")
    rules = read_preprocessing(given) if resume and given is not None else None
    task = build_task(config, rules)
    check_ensemble(config, task)
    with contextlib.ExitStack() as held:
        folder = given if resume and given else held.enter_context(_new_folder(config, given))
        held.enter_context(run_folder.locked(folder))
        if task.dataset.preprocessing is not None:
            write_preprocessing(folder, task.dataset.preprocessing)
        for line in task.dataset.notes:
            log(f"{printable(task.dataset.name)}: {line}")
        try:
            _train(MemberState(folder, config, task, TrainerPool()), jobs, log)
            return average_members(folder, config, task, log, config.safe_mode and resume)
        except KeyboardInterrupt as error:
            summary = folder / run_folder.SUMMARY_FILE
            raise RunInterrupted(folder, summary.is_file()) from error


@contextlib.contextmanager
def _new_folder(config: ExperimentConfig, given: Path | None) -> Iterator[Path]:
    """Make the folder of an ensemble; remove it if no member can be trained."""
    folder = run_folder.create(config, given)
    try:
        yield folder
    except (ValueError, TypeError):
        if not any(is_finished(folder, i) for i in range(config.ensemble.members)):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _train(state: MemberState, jobs: int | None, log: Log) -> None:
    """Train the members that are not finished."""
    config = state.config
    count = config.ensemble.members
    waiting = [i for i in range(count) if not is_finished(state.folder, i)]
    if len(waiting) < count:
        log(f"members: {count - len(waiting)} of {count} are finished already")
    if waiting and config.ensemble.by == "snapshot":
        log(f"one run of {config.epochs} epochs, {count} snapshots")
        train_snapshots(state)
        for i in range(count):
            _log_member(state, i, log)
        return
    if jobs is None and waiting:
        first = waiting.pop(0)
        _run(state, [first], 1, log)
        jobs = _fastest(len(waiting), _seconds_of_next(member_folder(state.folder, first)))
    if waiting:
        _run(state, waiting, min(jobs or 1, len(waiting)), log)


def _seconds_of_next(first: Path) -> float:
    """Return the estimated seconds to train another member, given the folder of the first."""
    seconds = [epoch["seconds"] for epoch in run_folder.read_history(first)]
    return float(statistics.median(seconds)) * len(seconds)


def _fastest(waiting: int, seconds: float) -> int:
    """Return the number of processes that finish the training of members first.

    This process has the data and the compiled programs; each other one needs `START_SECONDS` more.
    """
    cores = share_of_cores(1)
    if cores < 2 or waiting < 2 or visible_gpus():
        return 1
    saved = waiting * seconds * (1 - 1 / min(cores, waiting))
    return min(cores, waiting) if saved > 2 * START_SECONDS else 1


def _run(state: MemberState, members: list[int], jobs: int, log: Log) -> None:
    make = functools.partial(make_state, str(state.folder), state.config.to_json())
    failures = []
    done = run_jobs(train_member, make if jobs > 1 else lambda: state, members, jobs)
    for result in done:
        index = members[result.position]
        if result.failure is None:
            _log_member(state, index, log)
            continue
        kind = ValueError if result.failure.type in ("ValueError", "TypeError") else RuntimeError
        text = result.failure.message if kind is ValueError else str(result.failure)
        failures.append(kind(f"member {index + 1} of the ensemble: {text}"))
        if kind is ValueError:
            break
        log(f"member {index + 1} failed: {result.failure}")
    if failures:
        raise failures[0]


def _log_member(state: MemberState, index: int, log: Log) -> None:
    summary = run_folder.read_summary(member_folder(state.folder, index))
    results = format_results(summary.get("validation") or summary["test"])
    part = "validation" if "validation" in summary else "test"
    log(
        f"member {index + 1} of {state.config.ensemble.members}: {summary['epochs']} epochs, "
        f"{summary['seconds']:.1f} s, {part}: {results}"
    )
