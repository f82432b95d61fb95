"""`TuneConfig`: the options of a search."""

from __future__ import annotations

from dataclasses import dataclass

from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.experiment.monitored import check_validation_monitor
from trainlib.monitors.improvement import MODES, is_minimized
from trainlib.training.paths import absolute

SAMPLERS = ("random", "tpe", "gp", "cmaes", "grid")
PRUNERS = ("none", "median", "hyperband")
TRIALS = 50
"""Default number of trials; a grid has one for each combination."""


@dataclass(frozen=True, kw_only=True, repr=False)
class TuneConfig:
    """Options of `tl.tune`.

    Args:
        trials: total number of trials of the study, at least 1. Default: None, 50, or all
            combinations with the sampler "grid".
        sampler: sampler of the values: "random"; "tpe" (tree-structured Parzen estimator), the
            default; "gp" (Gaussian process, needs torch and scipy); "cmaes" (CMA-ES, for numbers);
            or "grid".
        pruner: rule that ends bad trials early: "none", the default; "median", trials worse than
            the median at the same epoch; or "hyperband".
        monitor: result on the validation data by which trials are compared. Default: "val_loss".
        monitor_mode: "min", "max", or "auto", the default: inferred from the name.
        folds: number of folds of a cross-validation. From 2 on a trial is compared by the mean of
            its results on the held-out examples. Default: 1, by the validation data.
        jobs: number of processes that run trials; they share the processor's cores. Default: 1,
            this process.
        storage: file or URL of the database of the study, which several machines may share.
            Default: None, a file in the folder of the search.
        study: name of the study in the storage. Default: "tune".
        refit: whether to train the best configuration again, in a run folder. Default: True.

    Raises:
        ValueError, TypeError: an option of another type or out of its range.

    Example:
        >>> tl.TuneConfig(trials=20, sampler="random")
        TuneConfig(trials=20, sampler='random')
    """

    trials: int | None = setting(
        "int",
        None,
        f"Total number of trials of the study; default: {TRIALS}, or all combinations with "
        "--sampler=grid.",
        group="Search",
        at_least=1,
    )
    sampler: str = setting(
        "str",
        "tpe",
        "Sampler of the values. random; tpe: tree-structured Parzen estimator; gp: Gaussian "
        "process, which needs torch and scipy; cmaes: CMA-ES, for numbers; grid: all combinations.",
        choices=SAMPLERS,
    )
    pruner: str = setting(
        "str",
        "none",
        "Rule that ends bad trials early. median: trials worse than the median of the others at "
        "the same epoch; hyperband: as Hyperband does.",
        choices=PRUNERS,
    )
    monitor: str = setting(
        "str",
        "val_loss",
        "Validation result that ranks the trials; for example val_accuracy.",
    )
    monitor_mode: str = setting(
        "str",
        "auto",
        "Whether lower (min) or higher (max) results are better; auto: inferred from the name.",
        choices=MODES,
    )
    folds: int = setting(
        "int",
        1,
        "Folds of a cross-validation for each trial; trials are compared by the mean result. 1: by "
        "the result on the validation data.",
        at_least=1,
    )
    jobs: int = setting(
        "int",
        1,
        "Number of processes that run trials; they share the processor's cores.",
        at_least=1,
    )
    storage: str | None = setting(
        "str",
        None,
        "File or URL of the database in which Optuna stores the study. A file is an SQLite "
        "database if its name ends in .db, else a journal. Several commands, on several machines, "
        "may use one. Default: a journal in the run folder.",
    )
    study: str = setting("str", "tune", "Name of the study in the storage.")
    refit: bool = setting(
        "bool", True, "Train the best configuration again; into the folder best of the run folder."
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        if self.storage is not None:
            object.__setattr__(self, "storage", _absolute(self.storage))
        check_validation_monitor(self.monitor, self.monitor_mode)

    @property
    def is_minimized(self) -> bool:
        """Whether lower results are better."""
        return is_minimized(self.monitor, self.monitor_mode)


def _absolute(storage: str) -> str:
    """Return a storage with the absolute path of its file; the URL of a server as it is."""
    scheme, separator, path = storage.rpartition("sqlite:///")
    if "://" in storage and not separator:
        return storage
    return f"{scheme}{separator}{absolute(path)}"
