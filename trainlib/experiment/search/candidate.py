"""One trial of a search: a configuration is trained, once or on each fold, and evaluated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from trainlib.callbacks import Callback
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.search.data import TaskCache
from trainlib.experiment.search.settings import SearchedConfig
from trainlib.experiment.task import Task
from trainlib.experiment.trial import run_trial
from trainlib.training.callback import Requests, Stop, TrainingStatus
from trainlib.training.pool import TrainerPool

PRUNED = Stop("pruned")


class SearchError(ValueError):
    """An error that would occur in every trial of a search."""


class Candidate(NamedTuple):
    """A trial to run.

    Attributes:
        number: number of the trial in the study, from 0.
        drawn: values of the searched parameters, by flag.
    """

    number: int
    drawn: dict[str, Any]


class Outcome(NamedTuple):
    """Result of a trial that did not fail.

    Attributes:
        scores: the monitored result of each fold; one result without folds.
        epochs: epochs trained, over all folds.
        seconds: seconds of training.
        is_pruned: whether the trial was ended early.
    """

    scores: tuple[float, ...]
    epochs: int
    seconds: float
    is_pruned: bool

    @property
    def value(self) -> float:
        """The mean of the scores."""
        return math.fsum(self.scores) / len(self.scores)


class Worker:
    """State of a process that runs trials: the data, the compiled programs, the study.

    Args:
        searched: the configuration with its search space, which makes those of trials.
        monitor: name of the result by which trials are compared.
        folds: number of folds of a cross-validation; 1 for none.
        place: storage, name and pruner of the study (`StudyPlace`); None if no trial is pruned.
    """

    def __init__(
        self, searched: SearchedConfig, monitor: str, folds: int, place: Any | None
    ) -> None:
        self.searched, self.monitor, self.folds, self.place = searched, monitor, folds, place
        self.tasks = TaskCache(folds)
        self.pool = TrainerPool()
        self._study: Any = None

    def check(self, config: ExperimentConfig, pruner: str = "none") -> None:
        """Load the data, and check that trials can be run.

        Args:
            config: the configuration that is varied.
            pruner: name of the pruner. Default: "none".

        Raises:
            SearchError: there are no validation data, or no result has the name of the monitor.
            ValueError, TypeError, OSError: as for `build_task`.
        """
        task = tasks_of(self, config)[0]
        monitored = self.monitor.removeprefix("val_")
        names = task.result_names
        if not any(name in monitored or monitored in name for name in names):
            raise _unknown(self.monitor, names)
        needing = self._needing_validation(config, pruner)
        if task.validation is None and needing:
            raise SearchError(
                f"{needing[0]} needs validation data in each fold, but validation_split is 0: set "
                f"validation_split above 0, or leave {needing[0]} out"
            )

    def _needing_validation(self, config: ExperimentConfig, pruner: str) -> list[str]:
        """Return the settings that judge the epochs of all trials by validation data."""
        searched = {parameter.name for parameter in self.searched.space.parameters}
        monitors = [
            x.name
            for x in config.monitors
            if x.name not in searched and f"{x.name}_monitor" not in searched
            if x.hyperparameters.get("monitor", "val_").startswith("val_")
        ]
        return monitors if pruner == "none" else [f"pruner {pruner}", *monitors]

    def pruning(self, number: int, epochs: int) -> Pruning | None:
        """Return the callback that prunes a trial of some epochs; None without a pruner."""
        if self.place is None:
            return None
        self._study = self._study or self.place.open()
        return Pruning(self._study.running(number), self.monitor, epochs)


class Pruning(Callback):
    """Callback that reports the monitored result after each epoch, and ends a bad trial.

    A trial that has trained all its epochs is complete, even if the pruner would end it.

    Args:
        trial: the trial of Optuna.
        monitor: name of the result.
        steps: epochs of the trial, over all folds.
    """

    def __init__(self, trial: Any, monitor: str, steps: int) -> None:
        self._trial = trial
        self._monitor = monitor
        self._steps = steps
        self.monitored = (monitor,)
        self.first_step = 0
        self.is_pruned = False

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        """Report the result, and stop the trial if the pruner says so."""
        value = status.results.get(self._monitor)
        if value is None or not math.isfinite(value):
            return None
        step = self.first_step + status.epoch
        self._trial.report(value, step)
        self.is_pruned = bool(self._trial.should_prune()) and step < self._steps
        return PRUNED if self.is_pruned else None


def run_candidate(worker: Worker, candidate: Candidate) -> Outcome:
    """Train and evaluate a configuration.

    Raises:
        SearchError: there are no validation data, or no such result on them.
        ValueError, FloatingPointError, ...: the trial has failed.
    """
    config = worker.searched.config(candidate.drawn)
    pruning = worker.pruning(candidate.number, config.epochs * worker.folds)
    scores: list[float] = []
    epochs, seconds = 0, 0.0
    for k, task in enumerate(tasks_of(worker, config)):
        if pruning is not None:
            pruning.first_step = k * config.epochs
        callbacks = [] if pruning is None else [pruning]
        result = run_trial(config, task, pool=worker.pool, callbacks=callbacks)
        epochs += len(result.history)
        seconds += result.seconds
        judged = result.validation if worker.folds == 1 else result.test  # held-out examples
        scores.append(_score(worker.monitor, judged or {}))
        if pruning is not None and pruning.is_pruned:
            break
    is_pruned = pruning is not None and pruning.is_pruned
    return Outcome(tuple(scores), epochs, seconds, is_pruned)


def tasks_of(worker: Worker, config: ExperimentConfig) -> tuple[Task, ...]:
    """Return the data of a trial, without the test part: once, or for each fold.

    Raises:
        SearchError: there are no validation data.
    """
    if worker.folds > 1:
        return worker.tasks.tasks(config)
    task = worker.tasks.task(config)._replace(test=None)
    if task.validation is None:
        raise SearchError(
            "validation_split is 0, but trials are compared on validation data: give one above 0, "
            "or folds"
        )
    return (task,)


def _score(monitor: str, results: dict[str, Any]) -> float:
    """Return the monitored result of a trained model.

    Raises:
        SearchError: there is no such number.
        FloatingPointError: it is not finite.
    """
    value = results.get(monitor.removeprefix("val_"))
    if not isinstance(value, (int, float)):
        raise _unknown(monitor, [name for name, x in results.items() if isinstance(x, float)])
    if not math.isfinite(value):
        raise FloatingPointError(f"{monitor} is {value}")
    return float(value)


def _unknown(monitor: str, names: Sequence[str]) -> SearchError:
    choices = ", ".join(f"val_{name}" for name in names)
    return SearchError(f"monitor is {monitor!r}, but the results are {choices}")
