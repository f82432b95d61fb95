"""Preparation, calibration and evaluation, shared by runs in a folder and trials in memory.

`prepare_run` builds and checks all objects of a run, and resolves every "auto", before its first
step.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from trainlib.callbacks import Callback, EarlyStopping, ReduceLROnPlateau, SaveBest
from trainlib.data import take
from trainlib.experiment.augmentation import check_augmentation
from trainlib.experiment.calibration import calibrate_models, check_calibration
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.data_config import DataConfig
from trainlib.experiment.memory import check_memory
from trainlib.experiment.model_building import (
    Models,
    as_seen_by_loss,
    build_models,
    matched_task,
    with_vocabulary,
)
from trainlib.experiment.optimization import Optimization, check_constraint
from trainlib.experiment.pretraining import pretrain_models
from trainlib.experiment.range_test import (
    find_learning_rate,
    is_rate_auto,
    with_learning_rate,
)
from trainlib.experiment.result import Log, Session
from trainlib.experiment.saved_run import build_evaluator
from trainlib.experiment.task import PARTS, Task, fingerprint
from trainlib.experiment.training import build_trainer, training_callbacks
from trainlib.experiment.training_data import steps_per_epoch, training_arrays, training_data
from trainlib.experiment.user_functions import modules_used
from trainlib.tools.calibration import Calibration
from trainlib.tools.loss_curve import LRFinderResult
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.autotune import Autotuner
from trainlib.training.callback import Results, Stop, TrainingStatus, check_monitored
from trainlib.training.collectives import broadcast_from_chief
from trainlib.training.data_adapter import DataAdapter, as_data_adapter
from trainlib.training.evaluation import EVALUATION_BATCH_SIZE
from trainlib.training.inference import Inference
from trainlib.training.pool import SharedPrograms
from trainlib.training.strategies import get_strategy
from trainlib.training.trainer import Trainer

ProgramSource: TypeAlias = Callable[[ExperimentConfig, Task, Models], SharedPrograms]
"""Function that returns compiled programs that a trainer shares with other trainers."""


MONITORED: Mapping[type[Callback], str] = {
    SaveBest: "checkpoint_best",
    EarlyStopping: "early_stop_monitor",
    ReduceLROnPlateau: "reduce_on_plateau_monitor",
}
"""The setting with the name of the monitored result, by type of callback."""
UNTIMED = Autotuner(min_steps=sys.maxsize)
"""The autotuner of trials, which times no run: all trials are then executed in the same way."""
RATE_IN_PLANS = 1e-3
"""Learning rate in the plan of a run whose rate will be found by a range test."""


class PreparedRun(NamedTuple):
    """The objects of a run.

    Attributes:
        config: the configuration, with "auto" resolved.
        task: the data in parts, with their loss and targets.
        built: the model, as built by `build_models`.
        trainer: the trainer of the model.
        optimization: the optimizer, and its hyperparameters for reports.
        callbacks: the callbacks of the configuration.
        data: the training data.
        range_test: the learning-rate range test; None if there was none.
        pretraining: records of the stages of pretraining. Default: none.
    """

    config: ExperimentConfig
    task: Task
    built: Models
    trainer: Trainer
    optimization: Optimization
    callbacks: list[Callback]
    data: DataAdapter
    range_test: LRFinderResult | None
    pretraining: Sequence[Mapping[str, Any]] = ()


class LastStatus(Callback):
    """Callback that stores the request that ended training."""

    stop: Stop | None = None

    def on_train_end(self, status: TrainingStatus) -> None:
        self.stop = status.stop


def prepare_run(
    config: ExperimentConfig,
    task: Task,
    session: Session,
    *,
    program_source: ProgramSource | None = None,
    model: Any = None,
    measure: bool = True,
    pretrains: bool = True,
) -> PreparedRun:
    """Build the objects of a run and resolve "auto". Errors are raised before a file is written.

    Args:
        config: the experiment.
        task: data of the experiment, with its loss and targets.
        session: the part of this process in the run.
        program_source: function that returns the shared programs of a trial, which saves no
            checkpoints. Default: None, a run in a folder, whose programs are not shared.
        model: a Keras model to train further. Default: None, a new model.
        measure: whether to pretrain the model, run the range test and time the executions, where
            the configuration asks for them. False: the objects only serve to describe the run.
            Default: True.
        pretrains: whether to pretrain a new model, if the configuration says so. False: a
            checkpoint will be restored. Default: True.

    Raises:
        ValueError, TypeError, OSError: something that the configuration names does not exist, or
            does not suit the data.
    """
    if not config.ensemble.is_one:
        raise ValueError(
            f"ensemble is {config.ensemble.members}, but one model is trained here: leave it out, "
            "or use train or tl.run_ensemble"
        )
    with session.start_barrier(functools.partial(fingerprint, task)):
        strategy = get_strategy(config.strategy, config.replicas)  # before devices are used
    if model is None:
        check_memory(config, task)
        built = build_models(config, task)
    else:
        built = as_seen_by_loss(model, task, config.from_logits)
    task = matched_task(task, built)
    check_calibration(config, task, built)
    data = training_data(config, task)
    stages = []
    if pretrains and model is None:
        stages = pretrain_models(config, task, built, session.log if measure else None)
    config, range_test = _with_resolved_rate(config, task, built, session, strategy, measure)
    is_trial = program_source is not None and strategy is None
    shared = None
    if program_source is not None and is_trial and config.transfer.is_plain:
        shared = program_source(config, task, built)
    autotuner = None if program_source is None else UNTIMED
    trainer, optimization = build_trainer(config, task, built, shared, autotuner)
    check_constraint(config, trainer.state.params)
    callbacks = training_callbacks(config, task, session.log, saves=program_source is None)
    _check_monitored(callbacks, trainer, task)
    adapter = as_data_adapter("data", data, config.batch_size)
    arrays = _first_arrays(config, task, adapter)
    check_augmentation(trainer, arrays)
    if measure and not is_trial:
        steps = config.epochs * steps_per_epoch(config, task)
        trainer.autotune(arrays, epochs=-(-steps // arrays.batches()))
    config = _resolved(config, task, built, trainer)
    return PreparedRun(
        config, task, built, trainer, optimization, callbacks, adapter, range_test, stages
    )


def _with_resolved_rate(
    config: ExperimentConfig,
    task: Task,
    built: Models,
    session: Session,
    strategy: Any,
    measure: bool,
) -> tuple[ExperimentConfig, LRFinderResult | None]:
    """Return the configuration with a number for the learning rate "auto", and its range test."""
    if not is_rate_auto(config):
        return config, None
    if not measure:
        return with_learning_rate(config, RATE_IN_PLANS), None
    range_test = find_learning_rate(config, task, built)
    # All workers use the rate of the chief: their machines may round differently.
    rate = float(f"{broadcast_from_chief(strategy, range_test.suggestion):.2g}")
    session.log(f"learning rate: {rate:g}, found by a range test")
    return with_learning_rate(config, rate), range_test


def _resolved(
    config: ExperimentConfig, task: Task, built: Models, trainer: Trainer
) -> ExperimentConfig:
    """Return the configuration with the choices for "auto", by which a run can be repeated."""
    imports, code_path = modules_used(config, built.full)
    return dataclasses.replace(
        config,
        execution=trainer.execution,
        data=_resolved_data(config, task),
        model=with_vocabulary(config, task),
        norms=config.reports_norms,
        imports=imports,
        code_path=code_path,
    )


def _check_monitored(callbacks: Sequence[Callback], trainer: Trainer, task: Task) -> None:
    """Raise `ValueError`, with the name of the setting, if no epoch reports a monitored result."""
    vectors = _names_of_arrays(trainer, task)
    arrays = [*vectors, *(f"val_{name}" for name in vectors)]
    names = trainer.context.result_names(task.validation is not None)
    for callback in callbacks:
        setting = MONITORED.get(type(callback))
        try:
            check_monitored([callback], names, arrays)
        except ValueError as error:
            raise ValueError(f"{setting}: {error}" if setting else str(error)) from error


def _first_arrays(config: ExperimentConfig, task: Task, data: DataAdapter) -> ArrayAdapter:
    """Return the training data if they are arrays, else the first examples of the stream."""
    if isinstance(data, ArrayAdapter):
        return data
    return ArrayAdapter("data", training_arrays(config, task), config.batch_size)


def _resolved_data(config: ExperimentConfig, task: Task) -> DataConfig:
    """Return the settings of the data, with the resolved size and colors of images in a folder."""
    images = task.dataset.image_options
    if images is None:
        return config.data
    return dataclasses.replace(config.data, image_size=images.size, color_mode=images.color_mode)


def _names_of_arrays(trainer: Trainer, task: Task) -> list[str]:
    """Return the names of the results that are arrays, found by tracing the evaluation.

    Raises:
        ValueError: the loss or a metric does not suit the model, or a part of the data cannot be
            divided into batches of the size that a stateful layer requires.
    """
    stateful = trainer.context.stateful
    if stateful is not None:
        for name, examples in task.parts().items():
            trainer.context.adapt(f"the {name} part", task.arrays(examples))
    # The batch size of the evaluation at the end, which then needs no other trace.
    rows = EVALUATION_BATCH_SIZE if stateful is None else stateful[1]
    size = min(rows, task.train.size)
    if stateful is None and not trainer.context.programs.devices.open_rows:
        rows = size
    results = trainer.context.trace_evaluation(task.arrays(take(task.train, size)), rows)
    return [name for name, value in results.items() if isinstance(value, list)]


def calibrated(
    prepared: PreparedRun, stop: Stop | None, log: Log
) -> tuple[PreparedRun, dict[str, Calibration]]:
    """Fit a temperature on the validation data if the configuration says so.

    Args:
        prepared: the run after training.
        stop: the request that ended training before its last epoch; None if none did.
        log: function called with a line on the temperature.

    Returns:
        The run, whose model then has the temperature, and the effect of the temperature by part of
        the data; {} if none was fitted.
    """
    if not prepared.config.calibrate or (stop is not None and stop.resumable):
        return prepared, {}
    built, found = calibrate_models(prepared.config, prepared.task, prepared.built)
    changes = (f"{part} {x.ece_before:.4f} -> {x.ece_after:.4f}" for part, x in found.items())
    temperature = next(iter(found.values())).temperature
    log(f"temperature {temperature:.4g}: expected calibration error on {', '.join(changes)}")
    return prepared._replace(built=built._replace(plan=prepared.built.plan)), found


def evaluate_parts(
    prepared: PreparedRun, stop: Stop | None, calibration: dict[str, Calibration]
) -> dict[str, Results | None]:
    """Return the results of a run's model by part of the data; None for a part without examples.

    Args:
        prepared: the run after training.
        stop: the request that ended training before its last epoch; None if none did. If the run
            can be resumed, nothing is evaluated.
        calibration: as returned by `calibrated`.
    """
    results: dict[str, Results | None] = dict.fromkeys(PARTS)
    if stop is not None and stop.resumable:
        return results
    task = prepared.task
    evaluated: Inference = prepared.trainer
    if calibration:
        evaluated = build_evaluator(prepared.config, task, prepared.built)
    return results | {n: evaluated.evaluate(task.arrays(x)) for n, x in task.parts().items()}
