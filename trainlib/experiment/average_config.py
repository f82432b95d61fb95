"""`AverageConfig`: averages of the parameters that are evaluated and saved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainlib.core.types import Optimizer
from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.transforms import ema, swa

NONE, EMA, SWA = "none", "ema", "swa"


@dataclass(frozen=True, kw_only=True, repr=False)
class AverageConfig:
    """Configuration of the averages of the parameters that are evaluated and saved.

    Training continues with the parameters themselves. Validation, early stopping, the best
    checkpoint, the results and the saved model use the average.

    Args:
        kind: "none", the default; "ema", the exponential moving average of `tl.ema`; or "swa", the
            mean of several states of the last part of the run, as for `tl.swa`.
        decay: decay rate of "ema", in [0, 1). Default: 0.999.
        start: fraction of the run after which "swa" averages states, in [0, 1). Default: 0.75.
        every: updates between two states that "swa" averages, at least 1. Default: None, one epoch.

    Raises:
        ValueError, TypeError: a setting has another type, is out of its range, or belongs to
            another kind.

    Example:
        >>> tl.AverageConfig(kind="ema", decay=0.99)
        AverageConfig(kind='ema', decay=0.99)
    """

    kind: str = setting(
        "str",
        NONE,
        "Evaluate and save averages of the parameters. ema: their moving average over the updates; "
        "swa: the mean of the states at the ends of the last epochs; the statistics of batch "
        "normalization are estimated again.",
        flag="weight_average",
        group="Average of the parameters",
        choices=(NONE, EMA, SWA),
    )
    decay: float = setting(
        "float", 0.999, "Decay rate of the moving average.", flag="ema_decay", at_least=0, below=1
    )
    start: float = setting(
        "float",
        0.75,
        "Fraction of the run after which states are averaged.",
        flag="swa_start",
        at_least=0,
        below=1,
    )
    every: int | None = setting(
        "int",
        None,
        "Updates between the states that are averaged; default: one epoch.",
        flag="swa_every",
        at_least=1,
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        default = AverageConfig.__dataclass_fields__
        for kind, name, flag in (
            (EMA, "decay", "ema_decay"),
            (SWA, "start", "swa_start"),
            (SWA, "every", "swa_every"),
        ):
            if self.kind != kind and getattr(self, name) != default[name].default:
                raise ValueError(f"{flag} needs weight_average={kind}")

    @property
    def follows_run_length(self) -> bool:
        """Whether the updates whose states are averaged depend on the number of epochs."""
        return self.kind == SWA and self.start > 0

    @property
    def text(self) -> str:
        """Short description of the average, such as "ema, decay 0.999"; "" for none."""
        if self.kind == NONE:
            return ""
        if self.kind == EMA:
            return f"ema, decay {self.decay:g}"
        often = "epoch" if self.every is None else f"{self.every} updates"
        return f"swa, from {self.start:g} of the run, each {often}"


def build_average(config: AverageConfig, epochs: int, updates: int) -> Optimizer | None:
    """Return the transform that averages the parameters of a run; None for the kind "none".

    Args:
        config: the configuration of the average.
        epochs: epochs of the run.
        updates: updates per epoch.

    Raises:
        ValueError: fewer than two states would be averaged.
    """
    if config.kind == NONE:
        return None
    if config.kind == EMA:
        return ema(config.decay)
    total, every = epochs * updates, config.every or updates
    first = max(1, math.ceil(config.start * total / every - 1e-9)) * every
    if first + every > total:
        raise ValueError(
            f"swa_start={config.start:g} leaves fewer than two states of {epochs} epochs to "
            "average: give more epochs, an earlier start, or states more often by swa_every"
        )
    return swa(first, every)
