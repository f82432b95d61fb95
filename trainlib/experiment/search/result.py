"""The result of a search, its progress, and the exceptions that end it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.result import ExperimentResult
from trainlib.tools.trial_records import TrialRecord


class NoTrialError(RuntimeError):
    """All trials of a search have failed."""


class SearchInterrupted(KeyboardInterrupt):
    """A search was interrupted; it can be resumed.

    Attributes:
        folder: folder of the search.
        finished: number of finished trials.
        trials: total number of trials.
    """

    def __init__(self, folder: Path, finished: int, trials: int) -> None:
        super().__init__(f"{finished} of {trials} trials")
        self.folder, self.finished, self.trials = folder, finished, trials


class SearchStatus(NamedTuple):
    """Progress of a search after one of its trials.

    Attributes:
        last: the trial that has just ended.
        best: the best trial so far; None if none is complete.
        finished: number of finished trials.
        trials: total number of trials.
    """

    last: TrialRecord
    best: TrialRecord | None
    finished: int
    trials: int


@dataclass(frozen=True)
class TuneResult:
    """Result of `tl.tune`.

    Attributes:
        config: the best configuration.
        params: values of the searched parameters in the best configuration, by flag.
        value: monitored result of the best configuration.
        trials: all finished trials, in the order of their numbers.
        importances: importance of each parameter; the sum is 1.
        folder: the folder of the search.
        best: result of the run of the best configuration; None without `refit`.
    """

    config: ExperimentConfig
    params: Mapping[str, Any]
    value: float
    trials: Sequence[TrialRecord]
    importances: Mapping[str, float]
    folder: Path
    best: ExperimentResult | None
