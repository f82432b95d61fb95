"""The finished trials of a search: their records, the best of them, and their table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainlib.training.files import as_csv

STATES = ("complete", "pruned", "failed")


class TrialRecord(NamedTuple):
    """A finished trial of a search.

    Attributes:
        number: number of the trial in the study, from 0.
        state: "complete"; "pruned", if the trial was ended early; or "failed".
        value: the monitored result, the mean over the folds. For a pruned trial its last value;
            None for a failed one.
        params: values of the searched parameters by flag: numbers, or the text of a choice.
        scores: the monitored result of each fold.
        epochs: epochs trained, over all folds.
        seconds: seconds of training.
        error: reason of the failure; "" if the trial did not fail.
    """

    number: int
    state: str
    value: float | None
    params: Mapping[str, Any]
    scores: Sequence[float] = ()
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def outcome(self) -> dict[str, Any]:
        """Fields that are stored besides number, state, value and parameters."""
        return {
            "scores": list(self.scores),
            "epochs": self.epochs,
            "seconds": self.seconds,
            "error": self.error,
        }


def is_better(first: TrialRecord, second: TrialRecord | None, is_minimized: bool) -> bool:
    """Return whether a complete trial is better than another; the earlier one wins a draw."""
    if first.value is None or first.state != "complete":
        return False
    if second is None or second.value is None:
        return True
    return first.value < second.value if is_minimized else first.value > second.value


def best_of(trials: Sequence[TrialRecord], is_minimized: bool) -> TrialRecord | None:
    """Return the best of the complete trials; None if none is complete."""
    best: TrialRecord | None = None
    for trial in trials:
        if is_better(trial, best, is_minimized):
            best = trial
    return best


def to_csv(trials: Sequence[TrialRecord], monitor: str) -> str:
    """Return the table of trials as CSV: one a line, with a column for each parameter."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    folds = max((len(trial.scores) for trial in trials), default=0)
    scores = [f"{monitor}_{k + 1}" for k in range(folds)] if folds > 1 else []
    rows = []
    for trial in trials:
        values = [trial.params.get(name, "") for name in names]
        of_folds = [*trial.scores, *[""] * folds][: len(scores)]
        value = "" if trial.value is None or math.isnan(trial.value) else trial.value
        row = [trial.number, trial.state, value, *values, *of_folds]
        rows.append([*row, trial.epochs, round(trial.seconds, 3), trial.error])
    return as_csv(["number", "state", monitor, *names, *scores, "epochs", "seconds", "error"], rows)
