"""The loop of a search: ask Optuna for trials, run them in processes, and report their results."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from trainlib.experiment.jobs import JobResult, run_jobs
from trainlib.experiment.search.candidate import (
    Candidate,
    Outcome,
    SearchError,
    Worker,
    run_candidate,
)
from trainlib.experiment.search.settings import SearchedConfig
from trainlib.experiment.search.study import SearchStudy, suggest
from trainlib.tools.trial_records import TrialRecord

ADAPTIVE = ("tpe", "gp", "cmaes")
"""Samplers whose choices depend on the results of earlier trials."""
AHEAD = 2
"""Trials per process whose values are chosen before the results of the running ones are known."""

OnReport = Callable[[TrialRecord], Any]


class TrialQueue(Iterator[Candidate]):
    """Iterator over the trials to run; it may be empty until a running trial ends.

    The order in which parallel trials end varies, and with it the choices of an adaptive sampler.
    So that the same seed gives the same trials, the values of trial n are chosen when the results
    of all trials up to n - `ahead` have been reported, in the order of their numbers.

    Args:
        study: the study, which chooses the values of trials.
        searched: the configuration with its search space, which makes those of trials.
        owner: name by which the search marks its trials in the study.
        trials: total number of trials of the study.
        ahead: number of trials whose values are chosen in advance; 0: each when it starts.
    """

    def __init__(
        self, study: SearchStudy, searched: SearchedConfig, owner: str, trials: int, ahead: int
    ) -> None:
        self._study, self._searched, self._owner = study, searched, owner
        self._trials, self._ahead = trials, ahead
        self._waiting: deque[Candidate] = deque()
        self._ended: dict[int, TrialRecord] = {}
        self._open: dict[int, None] = {}  # in their order
        self._started: list[Candidate] = []
        for number, drawn in study.unfinished(owner):
            self._add(number, drawn)
        self._fill()

    def __next__(self) -> Candidate:
        if not self._waiting and not self._ahead:
            self._ask()
        if not self._waiting:
            raise StopIteration
        self._started.append(self._waiting.popleft())
        return self._started[-1]

    def end(self, result: JobResult[Outcome]) -> Iterator[TrialRecord]:
        """Store the result of a trial, and yield the trials that can now be reported, in order."""
        candidate = self._started[result.position]
        self._ended[candidate.number] = _record(candidate, result)
        if not self._ahead:
            yield from self.rest()
        while self._open and (first := next(iter(self._open))) in self._ended:
            yield self._report(first)
            self._fill()

    def rest(self) -> Iterator[TrialRecord]:
        """Report all remaining trials that have ended to the study."""
        for number in list(self._ended):
            yield self._report(number)

    def _report(self, number: int) -> TrialRecord:
        del self._open[number]
        record = self._ended.pop(number)
        self._study.tell(record)
        return record

    def _fill(self) -> None:
        while len(self._open) < self._ahead and self._ask():
            pass

    def _ask(self) -> bool:
        """Ask for a trial; return False if the study has its total number of trials."""
        if self._study.size() >= self._trials:
            return False
        trial = self._study.ask(self._owner)
        self._add(trial.number, self._searched.draw(functools.partial(suggest, trial)))
        return True

    def _add(self, number: int, drawn: dict[str, Any]) -> None:
        self._open[number] = None
        self._waiting.append(Candidate(number, drawn))


def run_trials(
    queue: TrialQueue, make_worker: Callable[[], Worker], jobs: int, on_report: OnReport
) -> None:
    """Run the trials of a queue, and report those that have ended, even after an interrupt.

    Args:
        queue: the queue of trials.
        make_worker: function that makes the state of a process that runs trials.
        jobs: number of processes.
        on_report: function called with each finished trial.

    Raises:
        SearchError: an error that would occur in every trial.
    """
    try:
        for result in run_jobs(run_candidate, make_worker, queue, jobs):
            if result.failure is not None and result.failure.type == SearchError.__name__:
                raise SearchError(result.failure.message)
            for record in queue.end(result):
                on_report(record)
    finally:
        for record in queue.rest():
            on_report(record)


def _record(candidate: Candidate, result: JobResult[Outcome]) -> TrialRecord:
    """Return the record of a trial that has ended."""
    number, drawn = candidate
    if result.value is None:
        return TrialRecord(number, "failed", None, drawn, error=str(result.failure))
    outcome = result.value
    state = "pruned" if outcome.is_pruned else "complete"
    return TrialRecord(
        number, state, outcome.value, drawn, outcome.scores, outcome.epochs, outcome.seconds
    )
