"""`CompareConfig`: the options of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.experiment.monitored import check_validation_monitor
from trainlib.monitors.improvement import MODES, is_minimized

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Default learning rates of a tuning."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CompareConfig:
    """Options of `tl.compare`.

    Args:
        monitor: result on the validation data by which contenders are ranked and learning rates
            are chosen. Default: "val_loss".
        monitor_mode: "min", "max", or "auto", the default: inferred from the name.
        tune_learning_rate: whether each contender is first trained with each of `learning_rates`
            and the first seed, and then runs with the best one. Default: False.
        learning_rates: at least two learning rates above 0. Default: from 3e-4 to 0.3, two per
            decade.
        baseline: name of the contender with which the others are compared. Default: None, all
            pairs are compared.
        jobs: number of processes that run contenders; they share the processor's cores. Default:
            1, this process.

    Raises:
        ValueError, TypeError: an option has another type or is out of its range.

    Example:
        >>> tl.CompareConfig(monitor="val_accuracy", jobs=2)
        CompareConfig(monitor='val_accuracy', jobs=2)
    """

    monitor: str = setting(
        "str",
        "val_loss",
        "Validation result that ranks the contenders; it also chooses their learning rates.",
        group="Comparison",
    )
    monitor_mode: str = setting(
        "str",
        "auto",
        "Whether lower (min) or higher (max) results are better; auto: inferred from the name.",
        choices=MODES,
    )
    tune_learning_rate: bool = setting(
        "bool",
        False,
        "Tune the learning rate of each contender first; it is trained with each of "
        "--learning_rates and the first seed, and then runs with its best learning rate.",
    )
    learning_rates: tuple[float, ...] = setting(
        "floats", RATES, "Learning rates that --tune_learning_rate tries."
    )
    baseline: str | None = setting(
        "str",
        None,
        "Name of the contender with which the others are compared; default: all pairs.",
    )
    jobs: int = setting(
        "int",
        1,
        "Number of processes that run contenders; they share the processor's cores.",
        at_least=1,
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        rates = self.learning_rates
        if len(set(rates)) < max(2, len(rates)) or not all(0 < x < float("inf") for x in rates):
            raise ValueError(
                f"learning_rates must be at least two different numbers above 0, got {list(rates)}"
            )
        check_validation_monitor(self.monitor, self.monitor_mode)

    @property
    def is_minimized(self) -> bool:
        """Whether lower results are better."""
        return is_minimized(self.monitor, self.monitor_mode)
