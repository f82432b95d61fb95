"""From flags to the optimizer: its schedule, clipping, rules by path and constraint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import trainlib.registry as registry
from trainlib.cli.flag_types import Values
from trainlib.cli.flags import (
    AS_LONG_AS_THE_RUN,
    AUTO,
    GROUPS,
    chosen,
    hyperparameter_flags,
    monitor_options,
    rate_argument,
    schedule_names,
    warmup_options,
)
from trainlib.core.checks import check_number
from trainlib.core.tree import kernels
from trainlib.core.types import Optimizer, ScalarOrSchedule, Schedule
from trainlib.schedules import join_schedules, linear_warmup, per_epoch
from trainlib.transforms import (
    accumulate,
    chain,
    constrain,
    inject_hyperparams,
    param_rules,
    rules_table,
)


class Optimization(NamedTuple):
    """optimizer: with its clipping, rules and constraint. rate: by steps; None where the
    optimizer's state holds it. table: `(params) -> lines`, what --param_rules come to.
    """

    optimizer: Optimizer
    rate: Schedule | None
    table: Callable[[Any], list[str]]


def build_optimization(values: Values, steps: int) -> Optimization:
    """The optimizer that the flags name, for epochs of so many steps."""
    every = values.gradient_accumulation_steps
    check_number("gradient_accumulation_steps", every, at_least=1)
    updates = -(-steps // every)
    rate = base_rate(values)
    schedule = None if in_state(values) else schedule_of(values, rate, updates)
    optimizer = optimizer_of(values, rate if schedule is None else schedule)
    options = chosen(values, "optimizer", values.optimizer)
    shown = options | {"learning_rate": rate if schedule is None else schedule}
    return Optimization(
        accumulate(optimizer, every) if every > 1 else optimizer,
        schedule and (lambda k: schedule(k // steps * updates + k % steps // every)),
        lambda params: rules_table(values.param_rules, params, shown),
    )


def in_state(values: Values) -> bool:
    """Whether the learning rate is a number in the optimizer's state, which a plateau lowers."""
    if monitor_options(values, "reduce_on_plateau") is None:
        return False
    if values.schedule != "constant" or warmup_options(values):
        raise ValueError(
            "--reduce_on_plateau sets the learning rate itself: it goes with --schedule=constant, "
            "without a warm-up"
        )
    return True


def base_rate(values: Values) -> float:
    """--learning_rate, or the default of the optimizer in its convention."""
    factory = registry.lookup("optimizer", values.optimizer)
    options = chosen(values, "optimizer", values.optimizer)
    default = registry.hyperparameters(factory, options.get("convention"))["learning_rate"].default
    rate = options.get("learning_rate", default)
    if rate == AUTO:
        raise ValueError("learning_rate auto: must be found before the optimizer is made")
    check_number("learning_rate", rate, at_least=0)
    return float(rate)


def optimizer_of(values: Values, learning_rate: ScalarOrSchedule) -> Optimizer:
    """The optimizer at that rate: behind its clipping, with its rules, before its constraint."""
    factory = registry.lookup("optimizer", values.optimizer)
    options = chosen(values, "optimizer", values.optimizer) | {"learning_rate": learning_rate}
    clipping, constraint = _clipping(values), _constraint(values)
    if values.param_rules:
        before = chain(*clipping) if clipping else None
        optimizer = param_rules(values.param_rules, factory, before=before, **options)
        return chain(optimizer, *constraint) if constraint else optimizer
    if not callable(learning_rate):
        factory = inject_hyperparams(factory)
    parts = [*clipping, factory(**options), *constraint]
    return chain(*parts) if len(parts) > 1 else parts[0]


def _clipping(values: Values) -> list[Optimizer]:
    """The clipping that is asked for: one kind, or none."""
    clipping: list[Optimizer] = [
        clip(**given)
        for clip in registry.CLIPPING.values()
        if (given := _given(values, registry.hyperparameters(clip)))
    ]
    if len(clipping) > 1:
        names = [f"--{flag}" for flag in hyperparameter_flags("clipping")]
        raise ValueError(f"give only one of {', '.join(names)}")
    return clipping


def _given(values: Values, names: Iterable[str]) -> dict[str, Any]:
    return {name: values[name].value for name in names if values[name].value is not None}


def _constraint(values: Values) -> list[Optimizer]:
    """The constraint on the kernels, or on the parameters of a pattern, if one is asked for."""
    if values.constraint is not None:
        registry.lookup("constraint", values.constraint)
    options = chosen(values, "constraint", values.constraint)
    if values.constraint is None:
        if values.constrained_params is not None:
            raise ValueError("--constrained_params needs --constraint")
        return []
    factory = registry.CONSTRAINTS[values.constraint]
    if "axis" in registry.hyperparameters(factory):
        options.setdefault("axis", "units")  # right for dense kernels and convolutions alike
    return [constrain(factory(**options), values.constrained_params or kernels)]


def schedule_of(values: Values, learning_rate: float, updates: int) -> Schedule:
    """The schedule for epochs of so many updates; over the whole run where no length is given."""
    warmup = warmup_options(values)
    total = values.epochs if values.per_epoch else values.epochs * updates
    total -= warmup.get("warmup_steps", 0)
    names, starts = schedule_names(values), [0, *values.join_at]
    if len(names) != len(starts):
        raise ValueError(
            f"--join_at must hold the step at which each schedule after the first begins: "
            f"--schedule names {len(names)}, --join_at {len(values.join_at)} steps"
        )
    lengths = [end - start for start, end in zip(starts, [*starts[1:], total], strict=True)]
    parts = [
        _schedule(values, name, learning_rate, length)
        for name, length in zip(names, lengths, strict=True)
    ]
    schedule = join_schedules(parts, starts[1:]) if len(parts) > 1 else parts[0]
    if warmup:
        schedule = linear_warmup(schedule, **warmup)
    return per_epoch(schedule, updates) if values.per_epoch else schedule


def _schedule(values: Values, name: str, learning_rate: float, length: int) -> Schedule:
    """One schedule, over so many steps where no length of it is given."""
    factory = registry.lookup("schedule", name, GROUPS["schedule"])
    options = chosen(values, "schedule", name)
    rate = rate_argument(factory)
    for argument, hyperparameter in registry.hyperparameters(factory).items():
        if argument in options or argument == rate or not hyperparameter.required:
            continue
        if argument not in AS_LONG_AS_THE_RUN:
            raise ValueError(f"schedule {name} needs --{argument}")
        own_warmup = options.get("warmup_steps", 0) if argument == "decay_steps" else 0
        options[argument] = max(length - own_warmup, 1)
    if name == "cosine_decay" and options.get("warmup_steps") and "warmup_target" not in options:
        # As other schedules do: up from 0 to the learning rate.
        options["warmup_target"], learning_rate = learning_rate, 0.0
    if rate is not None:
        options[rate] = learning_rate
    elif values.learning_rate is not None:
        raise ValueError(f"schedule {name} has its own rates: leave --learning_rate out")
    made: Schedule = factory(**options)
    return made
