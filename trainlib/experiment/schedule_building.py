"""Build the learning-rate schedule of a configuration."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import trainlib.registry as registry
from trainlib.core.types import Schedule, Tensor
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import LENGTHS, FunctionConfig, rate_argument, takes
from trainlib.experiment.schedule_config import ScheduleConfig
from trainlib.experiment.user_functions import user_schedule
from trainlib.schedules import join_schedules, linear_warmup, per_epoch
from trainlib.schedules.base import from_equation, rate_at_step
from trainlib.training.chunks import power_above
from trainlib.training.pool import SharedPrograms
from trainlib.user_code import is_spec


def run_schedule(config: ExperimentConfig, rate: float, updates: int) -> Schedule:
    """Return the schedule of a run, in updates, with another rate after the first unfreezing.

    Args:
        config: the experiment.
        rate: learning rate until the first unfreezing.
        updates: updates per epoch.
    """
    schedule, later = build_schedule(config, rate, updates), config.transfer.unfrozen_learning_rate
    if later is None:
        return schedule
    unfrozen = build_schedule(config, later, updates)
    begin = min(config.transfer.unfreezing) * updates
    return from_equation(
        lambda k: tf.where(k < begin, rate_at_step(schedule, k), rate_at_step(unfrozen, k)),
        "float32",
    )


def updates_per_epoch(config: ExperimentConfig, steps: int) -> int:
    """Return the number of updates per epoch, given the number of batches."""
    return -(-steps // config.gradient_accumulation_steps)


def table_length(config: ExperimentConfig, steps: int) -> int:
    """Return the number of learning rates in the table of a schedule, a power of two.

    Args:
        config: the experiment.
        steps: batches per epoch.
    """
    if config.schedule == ScheduleConfig():
        return 1
    updates = updates_per_epoch(config, steps)
    return power_above(config.epochs * updates + 1)


def schedule_from_table(schedule: Schedule, shared: SharedPrograms, length: int) -> Schedule:
    """Return a schedule that reads its rates from a variable of shared programs.

    Args:
        schedule: the schedule.
        shared: programs that hold the table.
        length: number of rates in the table; later steps have the last rate.
    """
    rates = np.asarray(schedule(np.arange(length)), np.float64)
    table = shared.number("schedule", np.broadcast_to(rates, [length]))

    def rate(step: Tensor) -> Tensor:
        return tf.gather(table, tf.minimum(tf.cast(step, tf.int64), length - 1))

    return rate


def build_schedule(config: ExperimentConfig, learning_rate: float, updates: int) -> Schedule:
    """Return the schedule of a configuration, in updates. By default it spans all epochs.

    Args:
        config: the experiment.
        learning_rate: the optimizer's learning rate: the first, largest or last rate of the
            schedule, whichever the schedule is defined by.
        updates: updates per epoch.

    Raises:
        ValueError, TypeError: a hyperparameter is out of its range.
    """
    declared = config.schedule
    warmup = {} if declared.warmup is None else dict(declared.warmup.hyperparameters)
    total = config.epochs if declared.per_epoch else config.epochs * updates
    total -= warmup.get("warmup_steps", 0)
    starts = [0, *declared.join_at]
    lengths = [end - start for start, end in zip(starts, [*starts[1:], total], strict=True)]
    parts = [
        _one_schedule(
            config, _first_epochs(part) if declared.per_epoch else part, learning_rate, length
        )
        for part, length in zip(declared.schedules, lengths, strict=True)
    ]
    schedule = join_schedules(parts, starts[1:]) if len(parts) > 1 else parts[0]
    if warmup:
        schedule = linear_warmup(schedule, **warmup)
    return per_epoch(schedule, updates) if declared.per_epoch else schedule


def _first_epochs(chosen: FunctionConfig) -> FunctionConfig:
    """Return a schedule in which, by default, a boundary is the first epoch of the next rate.

    "0.01 for 5 epochs, then 0.001" has the boundary 5.
    """
    given = chosen.hyperparameters
    has_boundary = "boundary" in takes("schedule", chosen.name)
    if not has_boundary or {"boundary", "convention"} & given.keys():
        return chosen
    return FunctionConfig(chosen.name, {**given, "boundary": "new"})


def _one_schedule(
    config: ExperimentConfig, chosen: FunctionConfig, learning_rate: float, length: int
) -> Schedule:
    """Return one schedule; it takes `length` steps unless its hyperparameters set its length."""
    if is_spec(chosen.name):
        return user_schedule(config, chosen.name, learning_rate=learning_rate, total_steps=length)
    options = dict(chosen.hyperparameters)
    for name, hyperparameter in takes("schedule", chosen.name).items():
        if name in LENGTHS and hyperparameter.required and name not in options:
            warmup = options.get("warmup_steps", 0) if name == "decay_steps" else 0
            options[name] = max(length - warmup, 1)
    if chosen.name == "cosine_decay" and options.get("warmup_steps"):
        if "warmup_target" not in options:
            # As in other schedules: up from 0 to the learning rate.
            options["warmup_target"], learning_rate = learning_rate, 0.0
    argument = rate_argument("schedule", chosen.name)
    if argument is not None:
        options.setdefault(argument, learning_rate)
    made: Schedule = registry.SCHEDULES[chosen.name](**options)
    return made
