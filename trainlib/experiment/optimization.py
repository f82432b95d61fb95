"""The optimizer of a configuration, with its schedule, clipping and constraint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import trainlib.registry as registry
from trainlib.core.checks import check_number
from trainlib.core.tree import PatternError, kernels, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Schedule, Tensor
from trainlib.experiment.average_config import build_average
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, LENGTHS, FunctionConfig, rate_argument, takes
from trainlib.experiment.parts import ScheduleConfig
from trainlib.experiment.patterns import naming_patterns
from trainlib.experiment.user_functions import (
    default_rate,
    make,
    optimizer_factory,
    takes_rate,
    user_schedule,
)
from trainlib.schedules import join_schedules, linear_warmup, per_epoch
from trainlib.schedules.base import from_equation, rate_at_step
from trainlib.training.chunks import power_above
from trainlib.training.pool import SharedPrograms
from trainlib.transforms import (
    accumulate,
    chain,
    constrain,
    inject_hyperparams,
    lazy,
    param_rules,
    rules_table,
)
from trainlib.user_code import is_spec


class Optimization(NamedTuple):
    """An optimizer and what is reported about it.

    Attributes:
        optimizer: the optimizer with clipping, constraint and accumulation.
        schedule: learning rate by batch; None if the optimizer's state holds the rate.
        table: function of the parameters that returns lines: the hyperparameters by path.
    """

    optimizer: Optimizer
    schedule: Schedule | None
    table: Callable[[Any], list[str]]


def build_optimization(
    config: ExperimentConfig,
    steps: int,
    shared: SharedPrograms | None = None,
    rules: str = "",
) -> Optimization:
    """Return the optimizer of a configuration.

    Args:
        config: the experiment; its learning rate is not "auto".
        steps: batches of an epoch.
        shared: programs in which numbers of the optimizer are values: its state holds its
            hyperparameters and the bounds of clipping, and the programs hold the schedule, as a
            table. Default: None, constants but for a learning rate without a schedule.
        rules: rules for layers that are frozen at first, or learn at other rates. Default: "".

    Raises:
        ValueError, TypeError: a hyperparameter is out of its range, or several do not go together.
    """
    every = config.gradient_accumulation_steps
    updates = updates_of_epoch(config, steps)
    rate = base_rate(config)
    fixed = is_rate_in_state(config) or not takes_rate(config)
    schedule = None if fixed else _schedule_of_run(config, rate, updates)
    used = rate if schedule is None else schedule
    holds = shared is not None and holds_numbers(config)
    if shared is not None and schedule is not None and is_tabulated(config):
        used = _in_table(schedule, shared, table_length(config, steps))
    optimizer = build_optimizer(config, used, holds, rules)
    is_constant = config.schedule == ScheduleConfig()
    is_constant &= config.transfer.unfrozen_learning_rate is None
    shown = _options(config, rate if schedule is None or is_constant else schedule)
    return Optimization(
        accumulate(optimizer, every) if every > 1 else optimizer,
        schedule and (lambda k: schedule(k // steps * updates + k % steps // every)),
        lambda params: rules_table(
            _all_rules(config, rules), params, shown, config.transfer.freeze is None
        ),
    )


def _all_rules(config: ExperimentConfig, rules: str) -> list[str]:
    """Return the rules of a configuration, and those for its layers."""
    return [text for text in (config.param_rules, rules) if text]


def _schedule_of_run(config: ExperimentConfig, rate: float, updates: int) -> Schedule:
    """Return the learning rate by update, which may be another from the first unfreezing on."""
    schedule, later = build_schedule(config, rate, updates), config.transfer.unfrozen_learning_rate
    if later is None:
        return schedule
    unfrozen = build_schedule(config, later, updates)
    begin = min(config.transfer.unfreezing) * updates
    return from_equation(
        lambda k: tf.where(k < begin, rate_at_step(schedule, k), rate_at_step(unfrozen, k)),
        "float32",
    )


def updates_of_epoch(config: ExperimentConfig, steps: int) -> int:
    """Return the number of updates of an epoch of so many batches."""
    return -(-steps // config.gradient_accumulation_steps)


def average_of_run(config: ExperimentConfig, steps: int) -> Optimizer | None:
    """Return the average of the parameters of a run; None if there is none.

    Args:
        config: the experiment.
        steps: batches of an epoch.

    Raises:
        ValueError: fewer than two states would be averaged.
    """
    return build_average(config.weight_average, config.epochs, updates_of_epoch(config, steps))


def is_rate_in_state(config: ExperimentConfig) -> bool:
    """Return whether the learning rate is held in the optimizer's state, to be reduced there."""
    return config.monitor("reduce_on_plateau") is not None


def base_rate(config: ExperimentConfig) -> float:
    """Return the learning rate of a configuration, or the default of the optimizer's convention.

    Raises:
        ValueError, TypeError: it is negative or not finite, or is still "auto"; or it is set by
            the configuration, and a custom optimizer takes none.
    """
    rate = config.optimizer.hyperparameters.get("learning_rate")
    if not takes_rate(config):
        _check_rate_is_own(config)
    if rate is None:
        rate = default_rate(config)
    if rate == AUTO:
        raise ValueError("learning_rate auto: find it by a range test before the optimizer is made")
    check_number("learning_rate", rate, at_least=0)
    return float(rate)


def _check_rate_is_own(config: ExperimentConfig) -> None:
    """Raise `ValueError` where a learning rate is set for an optimizer that takes none."""
    schedule = config.schedule
    names = [x.name for x in schedule.schedules]
    is_set = "learning_rate" in config.optimizer.hyperparameters or is_rate_in_state(config)
    if is_set or names != ["constant"] or schedule.warmup is not None:
        raise ValueError(
            f"optimizer {config.optimizer.name} has its own rates: leave learning_rate, "
            "the schedule and reduce_on_plateau out, or make it a function of learning_rate"
        )


def holds_numbers(config: ExperimentConfig) -> bool:
    """Return whether the state of an optimizer can hold its hyperparameters, one value of each."""
    return config.param_rules is None


def is_tabulated(config: ExperimentConfig) -> bool:
    """Return whether shared programs hold the schedule as a table: one of the registry."""
    return holds_numbers(config) and not any(is_spec(x.name) for x in config.schedule.schedules)


def table_length(config: ExperimentConfig, steps: int) -> int:
    """Return the number of learning rates in the table of a schedule, a power of two.

    Args:
        config: the experiment.
        steps: batches of an epoch.
    """
    if config.schedule == ScheduleConfig():
        return 1
    updates = updates_of_epoch(config, steps)
    return power_above(config.epochs * updates + 1)


def _in_table(schedule: Schedule, shared: SharedPrograms, length: int) -> Schedule:
    """Return a schedule that reads its rates from a variable of shared programs."""
    rates = np.asarray(schedule(np.arange(length)), np.float64)
    table = shared.number("schedule", np.broadcast_to(rates, [length]))

    def rate(step: Tensor) -> Tensor:
        return tf.gather(table, tf.minimum(tf.cast(step, tf.int64), length - 1))

    return rate


def build_optimizer(
    config: ExperimentConfig,
    learning_rate: ScalarOrSchedule,
    holds: bool = False,
    rules: str = "",
) -> Optimizer:
    """Return the optimizer at a rate: clipping first, then the update, the constraint last.

    Args:
        config: the experiment.
        learning_rate: a number or a schedule, in place of the configuration's.
        holds: whether the state holds the bounds of clipping, and hyperparameters beside a schedule
            too. Default: False.
        rules: as of `build_optimization`. Default: "".
    """
    factory = optimizer_factory(config)
    options = _options(config, learning_rate)
    given = config.optimizer.hyperparameters
    if callable(learning_rate) and given.get("learning_rate", AUTO) != AUTO:
        factory(**given)  # it checks numbers, not schedules
    clipping, constraint = _clipping(config, holds), _constraint(config)
    if all_rules := _all_rules(config, rules):
        if config.lazy_embeddings:
            raise ValueError(
                "lazy_embeddings is for one rule for all parameters: leave it out, or leave out "
                "the rules by path and what freezes layers or lowers their rates"
            )
        before = chain(*clipping) if clipping else None
        strict = config.transfer.freeze is None
        optimizer = param_rules(all_rules, factory, before=before, strict=strict, **options)
        return chain(optimizer, *constraint) if constraint else optimizer
    if (holds or not callable(learning_rate)) and takes_rate(config):
        factory = inject_hyperparams(factory)
    parts = [*clipping, factory(**options), *constraint]
    optimizer = chain(*parts) if len(parts) > 1 else parts[0]
    return _lazy(optimizer) if config.lazy_embeddings else optimizer


def _lazy(optimizer: Optimizer) -> Optimizer:
    """Return the lazy form of an optimizer.

    Raises:
        ValueError: it has none; from `init`, there is no embedding.
    """
    try:
        made = lazy(optimizer)
    except ValueError as error:
        raise ValueError(f"lazy_embeddings: {error}") from None

    def init(params: Any) -> Any:
        try:
            return made.init(params)
        except PatternError:
            message = "lazy_embeddings is for models with an embedding: leave it out"
            raise ValueError(message) from None

    return made._replace(init=init)


def _options(config: ExperimentConfig, learning_rate: ScalarOrSchedule) -> dict[str, Any]:
    return {**config.optimizer.hyperparameters, "learning_rate": learning_rate}


def _clipping(config: ExperimentConfig, holds: bool) -> list[Optimizer]:
    clipping = config.clipping
    if clipping is None:
        return []
    factory = registry.CLIPPING[clipping.name]
    factory = inject_hyperparams(factory) if holds else factory
    return [factory(**clipping.hyperparameters)]


def _constraint(config: ExperimentConfig) -> list[Optimizer]:
    """Return the constraint on the kernels, or on the parameters of a pattern, if there is one."""
    chosen = config.constraint
    if chosen is None:
        return []
    options = dict(chosen.hyperparameters)
    if "axis" in takes("constraint", chosen.name):
        options.setdefault("axis", "units")  # right for dense kernels and convolutions alike
    constraint = make(config, "constraint", chosen.name, **options)
    return [constrain(constraint, config.constrained_params or kernels)]


def check_constraint(config: ExperimentConfig, params: Any) -> None:
    """Apply the constraint once, so that what does not fit the parameters is refused early.

    Raises:
        ValueError: an axis that no parameter has, or a pattern that matches none.
    """
    with naming_patterns(config):
        for constraint in _constraint(config):
            constraint.update(zeros_like(params), constraint.init(params), params)


def build_schedule(config: ExperimentConfig, learning_rate: float, updates: int) -> Schedule:
    """Return the learning rate by update; if no length is given, it spans the whole run.

    Args:
        config: the experiment.
        learning_rate: the highest, first or last learning rate, as each schedule takes it.
        updates: updates of an epoch.

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
    """Return a schedule whose boundaries are, by default, the first epochs of the next rates.

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
    """Return a schedule, over `length` steps where its hyperparameters give no length."""
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
