"""`ScheduleConfig`: the learning-rate schedules of an experiment and their warm-up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainlib.core.checks import check_integer
from trainlib.experiment.fields import (
    ConvertedField,
    FunctionsField,
    OptionalFunctionField,
    check_settings,
    setting,
    short_repr,
)
from trainlib.experiment.functions import LENGTHS, FunctionConfig, check_shared, takes

WARMUP = "linear_warmup"


@dataclass(frozen=True, kw_only=True, repr=False)
class ScheduleConfig:
    """Configuration of the learning rate: one schedule or several in sequence, after a warm-up.

    A hyperparameter that several schedules take must have the same value in all of them.

    Args:
        schedules: the schedules in order: names or `tl.config(...)`, or one of these alone.
            Default: "constant".
        warmup: `tl.config("linear_warmup", warmup_steps=...)`, a linear increase to the first
            learning rate, for schedules that have no warm-up. Default: None.
        join_at: steps at which the second, third, ... schedule begins. Default: ().
        per_epoch: whether all steps are counted in epochs. By default, a boundary of
            piecewise_constant is then the first epoch of the next rate. Default: False.

    Raises:
        ValueError, TypeError: a schedule does not exist or lacks a hyperparameter, or the schedules
            contradict each other.

    Example:
        >>> schedule = tl.ScheduleConfig(
        ...     schedules=["constant", tl.config("cosine_decay", alpha=0.1)], join_at=[1000]
        ... )
        >>> schedule.schedules[1]
        config('cosine_decay', alpha=0.1)
    """

    schedules: FunctionsField = FunctionsField(
        "schedule",
        "constant",
        "Learning-rate schedule, or several. Several are comma-separated and follow one another. "
        "Names: {names}; or module:function of the step, or of learning_rate and total_steps that "
        "returns one.",
    )
    warmup: OptionalFunctionField = OptionalFunctionField("schedule", None)
    join_at: tuple[int, ...] = setting(
        "ints",
        (),
        "Steps at which the schedules after the first begin; comma-separated.",
    )
    per_epoch: bool = setting(
        "bool",
        False,
        "Count all steps of the schedule in epochs; a boundary is then the first epoch, counted "
        "from 0, of the next learning rate.",
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.schedules:
            raise ValueError("schedule must hold at least one schedule, such as constant")
        check_shared("schedule", self.schedules)
        for schedule in self.schedules:
            _check_complete(schedule)
        if len(self.schedules) != 1 + len(self.join_at):
            raise ValueError(
                "join_at must hold the step at which each schedule after the first begins: "
                f"schedule names {len(self.schedules)}, join_at {len(self.join_at)} steps"
            )
        for step in self.join_at:
            check_integer("join_at", step, at_least=0)
        if self.warmup is not None:
            self._check_warmup(self.warmup)

    def _check_warmup(self, warmup: FunctionConfig) -> None:
        if warmup.name != WARMUP or "warmup_steps" not in warmup.hyperparameters:
            raise ValueError(
                f"schedule.warmup must be tl.config({WARMUP!r}, warmup_steps=...), got {warmup!r}"
            )
        for schedule in self.schedules:
            if "warmup_steps" in takes("schedule", schedule.name):
                raise ValueError(
                    f"schedule.warmup: schedule {schedule.name} takes warmup_steps "
                    "itself; give it there"
                )

    @property
    def follows_run_length(self) -> bool:
        """Whether the length of a schedule depends on the epochs; False for a custom schedule."""
        return any(
            declared.required and name in LENGTHS and name not in schedule.hyperparameters
            for schedule in self.schedules
            for name, declared in takes("schedule", schedule.name).items()
        )


_NEEDS: Mapping[tuple[str, str], tuple[str, Any]] = {
    ("one_cycle", "pct_final"): ("three_phase", True),
    ("cyclic", "gamma"): ("mode", "exp_range"),
    ("cosine_decay", "warmup_target"): ("warmup_steps", None),
    ("linear_warmup", "warmup_start"): ("warmup_steps", None),
}
"""Hyperparameters of schedules that need a value of another one, None for any value but 0."""


def _check_complete(schedule: FunctionConfig) -> None:
    """Raise `ValueError` if a schedule lacks a hyperparameter that it needs."""
    known = takes("schedule", schedule.name)
    for name, declared in known.items():
        if declared.required and name not in LENGTHS and name not in schedule.hyperparameters:
            raise ValueError(f"schedule {schedule.name} needs {name}")
    for (of, name), (other, value) in _NEEDS.items():
        given = schedule.hyperparameters
        if of != schedule.name or given.get(name, known[name].default) == known[name].default:
            continue
        found = given.get(other)
        if found != value if value is not None else not found:
            wanted = other if value in (None, True) else f"{other}={value}"
            raise ValueError(f"{name} of schedule {of} has no effect without {wanted}")


class ScheduleField(
    ConvertedField[
        ScheduleConfig, ScheduleConfig | FunctionConfig | str | Iterable[FunctionConfig | str]
    ]
):
    """Field for a `ScheduleConfig`, which may be given as its schedules alone."""

    def convert(self, value: Any) -> ScheduleConfig:
        return value if isinstance(value, ScheduleConfig) else ScheduleConfig(schedules=value)
