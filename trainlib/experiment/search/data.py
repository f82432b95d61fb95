"""The data of trials: loaded once in a process, and split into folds."""

from __future__ import annotations

from collections.abc import Hashable

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.folds import fold_task, split_folds, whole_task
from trainlib.experiment.splits import split_seed
from trainlib.experiment.task import Task
from trainlib.experiment.task_building import build_task, outputs_for

KEPT = 2
"""Number of tasks that are kept: trials may prepare the data in different ways."""


class TaskCache:
    """The tasks of the last configurations, so that trials do not load the data again.

    Args:
        folds: number of folds; 1: none.
    """

    def __init__(self, folds: int = 1) -> None:
        self._folds = folds
        self._tasks: dict[Hashable, tuple[Task, ...]] = {}

    def task(self, config: ExperimentConfig) -> Task:
        """Return the task of a configuration, as for `build_task`; for a cache without folds.

        Raises:
            ValueError, TypeError, OSError: as for `build_task`.
        """
        return self.tasks(config)[0]

    def tasks(self, config: ExperimentConfig) -> tuple[Task, ...]:
        """Return the task of a configuration, or the task of each fold.

        The test part of a fold's task is the held-out examples.

        Raises:
            ValueError, TypeError, OSError: as for `build_task`, `whole_task` and `split_folds`.
        """
        key = _key(config)
        tasks = self._tasks.pop(key, None) or self._load(config)
        if not tasks[0].is_streamed:  # a pipeline that is read again may yield other examples
            self._tasks[key] = tasks
        while len(self._tasks) > KEPT:
            del self._tasks[next(iter(self._tasks))]
        # Each fold has its own columns: its training examples may lack a category.
        return tuple(
            task._replace(signature=outputs_for(config, task.dataset)[0]) for task in tasks
        )

    def _load(self, config: ExperimentConfig) -> tuple[Task, ...]:
        if self._folds == 1:
            return (build_task(config),)
        whole = whole_task(config)
        folds = split_folds(whole, self._folds, seed=split_seed(config))
        return tuple(fold_task(config, whole.dataset, fold) for fold in folds)


def _key(config: ExperimentConfig) -> Hashable:
    """Return the settings on which the task of a configuration depends, except its signature."""
    losses = config.loss, config.output_losses, config.metrics
    settings = (config.dataset, config.data, config.seed, *losses)
    code = (config.imports, config.code_path, config.precision)
    return (*settings, *code, config.model.name, config.regularizer is None)
