"""The plan of a run: the lines that `train --dry_run` prints."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from trainlib.data import Examples
from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.cross_validation import checked_folds
from trainlib.experiment.ensemble_checks import check_ensemble
from trainlib.experiment.ensemble_config import EnsembleConfig
from trainlib.experiment.fold_results import FoldConfig
from trainlib.experiment.preparation import PreparedRun, prepare_run
from trainlib.experiment.pretrain_config import NONE
from trainlib.experiment.range_test import is_rate_auto
from trainlib.experiment.result import Session
from trainlib.experiment.schedule_building import updates_per_epoch
from trainlib.experiment.task_building import build_task
from trainlib.experiment.training_data import steps_per_epoch
from trainlib.training.autotune import Autotuner
from trainlib.training.cluster import cluster
from trainlib.training.memory import free_memory
from trainlib.training.paths import printable, shown

MEBIBYTE = 2**20


def plan_lines(
    config: ExperimentConfig, run_dir: str | None = None, folds: FoldConfig | None = None
) -> list[str]:
    """Return the lines of a plan, after all checks that are made before training.

    The model is built and traced on one device. Nothing is timed, and no file is written.

    Args:
        config: the experiment.
        run_dir: the run folder. Default: None, a folder with the default name.
        folds: options of a cross-validation. Default: None, the plan of one run.

    Raises:
        ValueError, TypeError, OSError: the errors that `run_experiment` raises before its first
            step.
    """
    alone = dataclasses.replace(config, ensemble=EnsembleConfig())
    workers = cluster() if config.strategy in ("auto", "multi_worker") else None
    if workers is not None:
        alone = dataclasses.replace(alone, strategy="one_device")
    task = build_task(alone)
    if not config.ensemble.is_one:
        check_ensemble(config, task)
    if folds is not None:
        checked_folds(config, folds)
    prepared = prepare_run(alone, task, Session(), measure=False)
    rows = {
        "data": _data(prepared),
        "task": _task(prepared),
        "model": _model(prepared),
        "frozen": prepared.built.plan.describe().removeprefix("frozen: "),
        "pretrained": _pretraining(config),
        "optimizer": _optimizer(config),
        "memory": _memory(prepared),
        "steps": _steps(prepared),
        "execution": _execution(config, prepared),
        "runs": _runs(config, folds, 1 if workers is None else len(workers.addresses)),
        "run folder": shown(run_dir or run_folder.default_path(config, "folds-" if folds else "")),
    }
    return [f"{name:10}  {text}" for name, text in rows.items() if text]


def _data(prepared: PreparedRun) -> str:
    task = prepared.task
    sizes = [f"{x.size:,} {'training' if n == 'train' else n}" for n, x in task.parts().items()]
    if task.is_streamed:
        sizes.insert(0, "a pipeline of training batches")
    inputs = tf.nest.flatten(task.train.x)
    shapes = "; ".join(f"{x.dtype} {list(x.shape[1:])}" for x in inputs)
    return f"{printable(task.dataset.name)}: {', '.join(sizes)} examples; inputs {shapes}"


def _task(prepared: PreparedRun) -> str:
    task = prepared.task
    guess = f" (guessed: {task.dataset.guess}; --task decides it)" if task.dataset.guess else ""
    classes = f"{task.outputs} classes" if task.target.by_class else f"{task.outputs} numbers"
    return f"{classes}{guess}; loss {task.loss}; metrics {', '.join(task.metrics)}"


def _model(prepared: PreparedRun) -> str:
    config, full = prepared.config, prepared.built.full
    given = ", ".join(f"{k}={x}" for k, x in config.model.hyperparameters.items())
    trained = sum(math.prod(x.shape) for x in tf.nest.flatten(prepared.trainer.state.params))
    text = f"{printable(Path(config.model.name).name)}{given and f' ({given})'}"
    return f"{text}: {full.count_params():,} parameters, {trained:,} of them trained"


def _pretraining(config: ExperimentConfig) -> str:
    """Return the line about pretraining; "" without pretraining."""
    settings = config.pretrain
    if settings.method == NONE:
        return ""
    data = shown(settings.data or config.dataset)
    return f"{settings.method}, {settings.epochs} epochs on {data}"


def _optimizer(config: ExperimentConfig) -> str:
    names = ", ".join(function.name for function in config.schedule.schedules)
    rate = config.optimizer.hyperparameters.get("learning_rate")
    if is_rate_auto(config):
        rate = "found by a range test before training"
    text = "" if rate is None else f", learning rate {rate}"
    return f"{config.optimizer.name}{text}; schedule {names}"


def _memory(prepared: PreparedRun) -> str:
    """Return the line about memory: of the training state, of the data, and free memory."""
    state, task = prepared.trainer.state, prepared.task
    params = _bytes(state.params)
    sizes: Mapping[str, int] = {
        "parameters, gradients and optimizer state": 2 * params + _bytes(state.opt_state),
        "data": sum(_bytes_of_examples(x) for x in task.parts().values()),
    }
    free = free_memory()
    parts = [f"{size / MEBIBYTE:,.1f} MiB {name}" for name, size in sizes.items()]
    return ", ".join([*parts, *([] if free is None else [f"{free / MEBIBYTE:,.0f} MiB free"])])


def _bytes(tree: Any) -> int:
    return sum(math.prod(x.shape) * x.dtype.size for x in tf.nest.flatten(tree))


def _bytes_of_examples(examples: Examples) -> int:
    """Return the size of arrays in bytes; arrays that are read in parts count in full."""
    return sum(int(getattr(x, "nbytes", 0)) for x in tf.nest.flatten([examples.x, examples.y]))


def _steps(prepared: PreparedRun) -> str:
    config, task = prepared.config, prepared.task
    steps = steps_per_epoch(config, task)
    if not steps:
        return f"{config.epochs} epochs of an unknown number of batches of {config.batch_size}"
    text = f"{steps:,} batches of {config.batch_size} in each of {config.epochs} epochs"
    updates = config.epochs * updates_per_epoch(config, steps)
    return f"{text}: {updates:,} updates"


def _execution(config: ExperimentConfig, prepared: PreparedRun) -> str:
    context = prepared.trainer.context
    steps = config.epochs * steps_per_epoch(config, prepared.task)
    chosen = context.execution_of_run(Autotuner(), steps)
    if context.untuned and context.measures and chosen == context.execution:
        chosen += " (auto: a long run measures others too)"
    precision = prepared.config.precision or "the model's precision"
    return f"{chosen}; {precision}; strategy {config.strategy}, seed {config.seed}"


def _runs(config: ExperimentConfig, folds: FoldConfig | None, workers: int) -> str:
    if folds is not None:
        return f"{folds.folds * folds.repeats}: {folds.folds} folds, {folds.repeats} times"
    members = config.ensemble.members
    together = f" by {workers} workers together" if workers > 1 else ""
    return f"{members}{' members of an ensemble' if members > 1 else ''}{together}"
