"""A comparison while it runs: its runs, then the tables and the report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.experiment import run_folder
from trainlib.experiment.comparison import folder as folders
from trainlib.experiment.comparison.checks import as_seed
from trainlib.experiment.comparison.folder import SavedComparison
from trainlib.experiment.comparison.options import CompareConfig
from trainlib.experiment.comparison.runs import (
    RunKey,
    Worker,
    append_run,
    ended,
    read_runs,
    run_one,
)
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.flat import flatten
from trainlib.experiment.jobs import run_jobs
from trainlib.experiment.provenance import provenance
from trainlib.experiment.range_test import with_learning_rate
from trainlib.experiment.values import written
from trainlib.report.contenders_page import ContendersReport, write_contenders_page
from trainlib.report.figures import has_matplotlib
from trainlib.tools.comparison import Contender, Difference, SeedRun, best_rate, differences, ranked
from trainlib.training.files import write_text


class NoContenderError(RuntimeError):
    """All runs of a comparison have failed."""


class ComparisonStatus(NamedTuple):
    """Progress of a comparison after one of its runs.

    Attributes:
        key: contender, seed and learning rate of the run that has just ended.
        run: results of that run.
        best: the best contender so far, and the mean of its monitored result; None while learning
            rates are tuned.
        finished: number of runs that have ended.
        runs: total number of runs.
    """

    key: RunKey
    run: SeedRun
    best: tuple[str, float] | None
    finished: int
    runs: int


@dataclass(frozen=True)
class Comparison:
    """Result of `tl.compare`.

    Attributes:
        contenders: the contenders with their runs, the best first.
        differences: differences between contenders.
        configs: configurations of the contenders by name, with tuned learning rates.
        options: options of the comparison.
        folder: folder of the comparison.
    """

    contenders: tuple[Contender, ...]
    differences: tuple[Difference, ...]
    configs: Mapping[str, ExperimentConfig]
    options: CompareConfig
    folder: Path

    @property
    def best(self) -> Contender:
        """The contender with the best mean on the validation data."""
        return self.contenders[0]


class RunningComparison:
    """A comparison in progress; runs that have ended are read from its folder.

    Args:
        saved: the contenders, the number of seeds and the options.
        folder: folder of the comparison.
        on_run: function called after each run.
    """

    def __init__(
        self, saved: SavedComparison, folder: Path, on_run: Callable[[ComparisonStatus], Any]
    ) -> None:
        self.configs, self.seeds, self.options = saved
        self.folder = folder
        self.on_run = on_run
        self.runs = read_runs(folder)
        first = next(iter(self.configs.values()))
        self.seed = first.seed

    def run(self) -> None:
        """Make the remaining runs: first those that tune learning rates."""
        self._run(self._tuning_keys())
        self._run(self._keys())

    def _run(self, keys: Iterable[RunKey]) -> None:
        left = [key for key in keys if key not in self.runs]
        configs = (as_seed(self.configs[x.contender], x.seed, x.learning_rate) for x in left)
        for result in run_jobs(run_one, Worker, configs, min(self.options.jobs, len(left) or 1)):
            key = left[result.position]
            run = ended(key, result)
            self.runs[key] = run
            append_run(self.folder, key, run)
            self.on_run(ComparisonStatus(key, run, self._best(), self.finished, self.size))

    def _tuning_keys(self) -> Iterator[RunKey]:
        if self.options.tune_learning_rate:
            for name in self.configs:
                for rate in self.options.learning_rates:
                    yield RunKey(name, self.seed, rate)

    def _keys(self) -> Iterator[RunKey]:
        """Yield the keys of the runs that are compared, seed by seed."""
        rates = {name: self._rate(name) for name in self.configs}
        for seed in range(self.seed, self.seed + self.seeds):
            for name, rate in rates.items():
                if rate is not None or not self.options.tune_learning_rate:
                    yield RunKey(name, seed, rate)

    @property
    def finished(self) -> int:
        """Number of runs that have ended."""
        return len(self.runs)

    @property
    def size(self) -> int:
        """Total number of runs; the best tuning run of a contender is one of its compared runs."""
        tuning = len(self.options.learning_rates) if self.options.tune_learning_rate else 0
        return len(self.configs) * (self.seeds + max(0, tuning - 1))

    def _tuning(self, name: str) -> dict[float, float]:
        """Return the monitored result of a contender by learning rate."""
        if not self.options.tune_learning_rate:
            return {}
        keys = {rate: RunKey(name, self.seed, rate) for rate in self.options.learning_rates}
        monitor = self.options.monitor
        return {rate: self.runs[x].monitored(monitor) for rate, x in keys.items() if x in self.runs}

    def _rate(self, name: str) -> float | None:
        return best_rate(self._tuning(name), self.options.is_minimized)

    def _contender(self, name: str) -> Contender:
        """Return a contender with its runs so far."""
        tuning, rate = self._tuning(name), self._rate(name)
        if tuning and rate is None:  # all tuning runs failed; they hold the failures
            return Contender(name, self._of(name, tuning, [self.seed]), tuning)
        seeds = range(self.seed, self.seed + self.seeds)
        return Contender(name, self._of(name, [rate], seeds), tuning, rate)

    def _of(
        self, name: str, rates: Iterable[float | None], seeds: Iterable[int]
    ) -> tuple[SeedRun, ...]:
        keys = (RunKey(name, seed, rate) for rate in rates for seed in seeds)
        return tuple(self.runs[key] for key in keys if key in self.runs)

    def _best(self) -> tuple[str, float] | None:
        """Return the best contender so far, among those with the most seeds."""
        contenders = [x for x in map(self._contender, self.configs) if x.runs]
        most = max((len(x.runs) for x in contenders), default=0)
        monitor = self.options.monitor
        found = [x for x in contenders if len(x.runs) == most and not x.status(monitor)]
        if not found:
            return None
        best = ranked(found, monitor, self.options.is_minimized)[0]
        return best.name, float(best.monitored(monitor).mean())

    def _command(self, flags: Mapping[str, str]) -> str:
        """Return the command that repeats the comparison; "" if a file name has a comma."""
        files = list(flags.values())
        if any("," in file for file in files):
            return ""
        parts = [f"--flagfiles={','.join(files)}", f"--seeds={self.seeds}"]
        parts += [f"--monitor={self.options.monitor}"] if self.options.monitor != "val_loss" else []
        return " ".join(["compare", *map(shlex.quote, parts)])

    def finish(self) -> Comparison:
        """Write the tables and the report, and return the result.

        Raises:
            NoContenderError: all runs have failed.
        """
        options = self.options
        contenders = ranked(
            map(self._contender, self.configs), options.monitor, options.is_minimized
        )
        found = differences(contenders, options.monitor, options.baseline)
        configs = {
            x.name: self.configs[x.name]
            if x.learning_rate is None
            else with_learning_rate(self.configs[x.name], x.learning_rate)
            for x in contenders
        }
        write_text(
            self.folder / folders.RESULTS_FILE, folders.results_csv(contenders, options.monitor)
        )
        write_text(self.folder / folders.DIFFERENCES_FILE, folders.differences_csv(found))
        summary = folders.summary(contenders, found, options)
        run_folder.write_json(self.folder / run_folder.SUMMARY_FILE, summary)
        flags = folders.write_flags(self.folder, configs)
        if all(run.failure for x in contenders for run in x.runs):
            failure = contenders[0].runs[0].failure
            raise NoContenderError(f"all runs have failed; {contenders[0].name}: {failure}")
        if any(config.report for config in configs.values()) and has_matplotlib():
            texts = {
                name: {flag: written(x) for flag, x in flatten(config).items()}
                for name, config in configs.items()
            }
            ranking = options.monitor, options.is_minimized, options.baseline
            made = provenance(self._command(flags), next(iter(self.configs.values())), summary)
            report = ContendersReport(
                self.folder.name, contenders, found, *ranking, texts, flags, made
            )
            write_contenders_page(report, self.folder)
        return Comparison(tuple(contenders), tuple(found), configs, options, self.folder)
