"""What a search returns and reports: its result, how far it is, and how it ends otherwise."""

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
    """A search that was interrupted; it can be resumed.

    Attributes:
        folder: its folder.
        finished: number of finished trials.
        trials: number of trials in all.
    """

    def __init__(self, folder: Path, finished: int, trials: int) -> None:
        super().__init__(f"{finished} of {trials} trials")
        self.folder, self.finished, self.trials = folder, finished, trials


class SearchStatus(NamedTuple):
    """How far a search is.

    Attributes:
        last: the trial that has just ended.
        best: the best trial so far; None if none is complete.
        finished: number of finished trials.
        trials: number of trials in all.
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
        params: the values of the search in it, by flag.
        value: its monitored result.
        trials: all finished trials, by number.
        importances: how much of the differences between trials each parameter explains.
        folder: the folder of the search.
        best: the run of the best configuration; None without `refit`.
    """

    config: ExperimentConfig
    params: Mapping[str, Any]
    value: float
    trials: Sequence[TrialRecord]
    importances: Mapping[str, float]
    folder: Path
    best: ExperimentResult | None
