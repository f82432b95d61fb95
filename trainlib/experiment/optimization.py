"""Build the optimizer of a configuration, with its clipping, rules by path and constraint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import trainlib.registry as registry
from trainlib.core.checks import check_number
from trainlib.core.tree import PatternError, kernels, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Schedule
from trainlib.experiment.average_config import build_average
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, takes
from trainlib.experiment.patterns import naming_patterns
from trainlib.experiment.schedule_building import (
    run_schedule,
    schedule_from_table,
    table_length,
    updates_per_epoch,
)
from trainlib.experiment.schedule_config import ScheduleConfig
from trainlib.experiment.user_functions import default_rate, make, optimizer_factory, takes_rate
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
    """The optimizer of a run, with its schedule and its hyperparameters for reports.

    Attributes:
        optimizer: the optimizer with clipping, constraint and accumulation.
        schedule: learning rate by update; None if the optimizer's state holds the rate.
        table: function of the parameters that returns the lines of `rules_table`.
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
        steps: batches per epoch.
        shared: compiled programs that are shared with other runs. Hyperparameters and bounds of
            clipping are then values in the optimizer's state, and the schedule is a table of rates
            in the programs. Default: None, hyperparameters are constants, except for a learning
            rate without a schedule.
        rules: rules by path for layers that are frozen at first or have other learning rates.
            Default: "", none.

    Raises:
        ValueError, TypeError: a hyperparameter is out of its range, or several contradict each
            other.
    """
    every = config.gradient_accumulation_steps
    updates = updates_per_epoch(config, steps)
    rate = base_rate(config)
    fixed = is_rate_in_state(config) or not takes_rate(config)
    schedule = None if fixed else run_schedule(config, rate, updates)
    used = rate if schedule is None else schedule
    holds = shared is not None and can_hold_hyperparameters(config)
    if shared is not None and schedule is not None and is_tabulated(config):
        used = schedule_from_table(schedule, shared, table_length(config, steps))
    optimizer = build_optimizer(config, used, holds, rules)
    is_constant = config.schedule == ScheduleConfig()
    is_constant &= config.transfer.unfrozen_learning_rate is None
    shown = _options(config, rate if schedule is None or is_constant else schedule)
    return Optimization(
        accumulate(optimizer, every) if every > 1 else optimizer,
        schedule,
        lambda params: rules_table(
            _all_rules(config, rules), params, shown, config.transfer.freeze is None
        ),
    )


def _all_rules(config: ExperimentConfig, rules: str) -> list[str]:
    """Return the rules by path of a configuration, and those for its frozen layers."""
    return [text for text in (config.param_rules, rules) if text]


def average_of_run(config: ExperimentConfig, steps: int) -> Optimizer | None:
    """Return the transform that averages the parameters of a run; None if none is configured.

    Args:
        config: the experiment.
        steps: batches per epoch.

    Raises:
        ValueError: fewer than two states would be averaged.
    """
    return build_average(config.weight_average, config.epochs, updates_per_epoch(config, steps))


def is_rate_in_state(config: ExperimentConfig) -> bool:
    """Return whether the optimizer's state holds the learning rate, where a monitor reduces it."""
    return config.monitor("reduce_on_plateau") is not None


def base_rate(config: ExperimentConfig) -> float:
    """Return the learning rate of a configuration, or the default of the optimizer's convention.

    Raises:
        ValueError, TypeError: the rate is negative, not finite or still "auto"; or it is given for
            a custom optimizer that takes none.
    """
    rate = config.optimizer.hyperparameters.get("learning_rate")
    if not takes_rate(config):
        _check_rate_is_own(config)
    if rate is None:
        rate = default_rate(config)
    if rate == AUTO:
        raise ValueError(
            "learning_rate is still 'auto': run a range test before the optimizer is made"
        )
    check_number("learning_rate", rate, at_least=0)
    return float(rate)


def _check_rate_is_own(config: ExperimentConfig) -> None:
    """Raise `ValueError` if a learning rate is given for an optimizer that takes none."""
    schedule = config.schedule
    names = [x.name for x in schedule.schedules]
    is_set = "learning_rate" in config.optimizer.hyperparameters or is_rate_in_state(config)
    if is_set or names != ["constant"] or schedule.warmup is not None:
        raise ValueError(
            f"optimizer {config.optimizer.name} has its own rates: leave learning_rate, "
            "the schedule and reduce_on_plateau out, or make it a function of learning_rate"
        )


def can_hold_hyperparameters(config: ExperimentConfig) -> bool:
    """Return whether the optimizer's state can hold the hyperparameters: not with rules by path."""
    return config.param_rules is None


def is_tabulated(config: ExperimentConfig) -> bool:
    """Return whether shared programs can hold the schedule as a table: not a custom schedule."""
    has_custom = any(is_spec(x.name) for x in config.schedule.schedules)
    return can_hold_hyperparameters(config) and not has_custom


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
        rules: as for `build_optimization`. Default: "".
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
