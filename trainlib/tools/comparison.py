"""Contenders of a comparison: their results over seeds, their ranking, and their differences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from trainlib.tools.paired_tests import PairedDifference, holm, paired_difference

VALIDATION, TEST = "validation", "test"
VALIDATION_PREFIX = "val_"


@dataclass(frozen=True)
class SeedRun:
    """One run of a contender.

    Attributes:
        seed: seed of the run.
        history: results of each epoch. Default: (), the run failed.
        validation: results of the final model on the validation part. Default: {}, the run failed.
        test: results on the test part. Default: {}, there is none.
        seconds: seconds of training. Default: 0.
        failure: reason of the failure. Default: "", the run did not fail.
    """

    seed: int
    history: Sequence[Mapping[str, Any]] = ()
    validation: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str = ""

    def result(self, part: str, name: str) -> float:
        """Return a result of the final model on a part of the data; NaN if it is missing."""
        value = getattr(self, part).get(name)
        return float(value) if isinstance(value, (int, float)) else math.nan

    def monitored(self, monitor: str) -> float:
        """Return the result on the validation part that contenders are ranked by."""
        return self.result(VALIDATION, monitor.removeprefix(VALIDATION_PREFIX))


@dataclass(frozen=True)
class Contender:
    """A configuration that is compared with others, and its runs.

    Attributes:
        name: name of the contender.
        runs: runs, one for each seed.
        tuning: monitored result by learning rate. Default: {}, the rate was not tuned.
        learning_rate: the tuned learning rate. Default: None, it was not tuned.
    """

    name: str
    runs: tuple[SeedRun, ...]
    tuning: Mapping[float, float] = field(default_factory=dict)
    learning_rate: float | None = None

    def values(self, part: str, name: str) -> np.ndarray:
        """Return a result of each run on a part of the data, float64 [runs]."""
        return np.array([run.result(part, name) for run in self.runs], np.float64)

    def monitored(self, monitor: str) -> np.ndarray:
        """Return the result that contenders are ranked by, of each run."""
        return np.array([run.monitored(monitor) for run in self.runs], np.float64)

    def status(self, monitor: str) -> str:
        """Return "" if all runs have a finite result; else how many failed or diverged."""
        failed = sum(bool(run.failure) for run in self.runs)
        bad = int((~np.isfinite(self.monitored(monitor))).sum()) - failed
        words = [("failed", failed), ("diverged", bad)]
        return ", ".join(f"{n} of {len(self.runs)} {word}" for word, n in words if n)

    @property
    def is_rate_at_end(self) -> bool:
        """Whether the tuned learning rate is the smallest or the largest that was tried."""
        rates = list(self.tuning)
        return len(rates) > 1 and self.learning_rate in (min(rates), max(rates))


class Difference(NamedTuple):
    """The difference between two contenders over their seeds: `first - second`.

    Attributes:
        first: name of the first contender.
        second: name of the second contender.
        paired: the mean difference, its confidence interval, effect size and p-value.
        corrected: the p-value, corrected by Holm's method for all tests of the comparison.
    """

    first: str
    second: str
    paired: PairedDifference
    corrected: float


def ranked(contenders: Iterable[Contender], monitor: str, minimized: bool) -> list[Contender]:
    """Return contenders by their mean result on the validation part, the best first.

    Contenders with a failed or diverged run come last.
    """
    sign = 1 if minimized else -1

    def key(contender: Contender) -> tuple[bool, float]:
        mean = sign * float(np.mean(contender.monitored(monitor)))
        return (True, 0.0) if contender.status(monitor) else (False, mean)

    return sorted(contenders, key=key)


def best_rate(tuning: Mapping[float, float], minimized: bool) -> float | None:
    """Return the learning rate with the best result; None if no result is finite."""
    finite = {rate: value for rate, value in tuning.items() if math.isfinite(value)}
    if not finite:
        return None
    return (min if minimized else max)(finite, key=lambda rate: finite[rate])


def part_of_tests(contenders: Sequence[Contender], name: str) -> str:
    """Return the part of the data on which contenders are tested for differences.

    This is the test part, if there is one: the ranking and the learning rates do not depend on it.
    """
    has_test = any(np.isfinite(contender.values(TEST, name)).any() for contender in contenders)
    return TEST if has_test else VALIDATION


def differences(
    contenders: Sequence[Contender], monitor: str, baseline: str | None = None
) -> list[Difference]:
    """Return the differences between contenders in the monitored result, on `part_of_tests`.

    Contenders with a failed or diverged run are left out.

    Args:
        contenders: contenders whose runs have the same seeds.
        monitor: name of the result, such as "val_loss".
        baseline: name of the contender with which the others are compared. Default: None, all
            pairs.
    """
    name = monitor.removeprefix(VALIDATION_PREFIX)
    part = part_of_tests(contenders, name)
    values = {
        contender.name: contender.values(part, name)
        for contender in contenders
        if not contender.status(monitor)
    }
    values = {name: x for name, x in values.items() if np.isfinite(x).all()}
    names = list(values)
    if baseline is None:
        pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    else:
        pairs = [(a, baseline) for a in names if a != baseline and baseline in values]
    found = [paired_difference(values[a].tolist(), values[b].tolist()) for a, b in pairs]
    corrected = holm([x.p_value for x in found])
    return [Difference(*pair, x, p) for pair, x, p in zip(pairs, found, corrected, strict=True)]


def against(found: Iterable[Difference], name: str) -> dict[str, Difference]:
    """Return the differences `other - name` of all other contenders, by the other's name."""
    result = {}
    for difference in found:
        if difference.second == name:
            result[difference.first] = difference
        elif difference.first == name:
            result[difference.second] = swapped(difference)
    return result


def swapped(difference: Difference) -> Difference:
    """Return the difference with the contenders in the other order."""
    x = difference.paired
    paired = x._replace(mean=-x.mean, low=-x.high, high=-x.low, effect=-x.effect)
    return Difference(difference.second, difference.first, paired, difference.corrected)


def as_dict(contender: Contender) -> dict[str, Any]:
    """Return a contender without the histories of its runs, for JSON."""
    runs = [dataclasses.asdict(dataclasses.replace(run, history=())) for run in contender.runs]
    for run in runs:
        del run["history"]
    tuning = [{"learning_rate": rate, "result": x} for rate, x in contender.tuning.items()]
    return {"learning_rate": contender.learning_rate, "tuning": tuning, "runs": runs}
