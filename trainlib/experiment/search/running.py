"""A search in progress: its trials, the run of the best configuration, and its files."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.provenance import command_line, provenance
from trainlib.experiment.result import ExperimentResult, Log, Session
from trainlib.experiment.run import run_experiment
from trainlib.experiment.search import folder as folders
from trainlib.experiment.search.candidate import Worker
from trainlib.experiment.search.loop import ADAPTIVE, AHEAD, TrialQueue, run_trials
from trainlib.experiment.search.options import TRIALS, TuneConfig
from trainlib.experiment.search.result import NoTrialError, SearchStatus, TuneResult
from trainlib.experiment.search.settings import SearchedConfig
from trainlib.experiment.search.storage import without_password
from trainlib.experiment.search.study import SearchStudy, StudyPlace
from trainlib.report.run_page import REPORT_FILE
from trainlib.report.search_page import SearchReport, write_search_page
from trainlib.tools.trial_records import TrialRecord, best_of
from trainlib.training.paths import shown


@dataclasses.dataclass
class RunningSearch:
    """A search in progress.

    Attributes:
        config: the configuration that is varied.
        searched: the configuration with its search space, which makes those of trials.
        options: options of the search.
        folder: folder of the search.
        place: storage and name of the study.
        study: the study.
        worker: state of this process, which trains the best configuration.
        combinations: number of combinations of a grid; 0 for other samplers.
        trials: the finished trials.
    """

    config: ExperimentConfig
    searched: SearchedConfig
    options: TuneConfig
    folder: Path
    place: StudyPlace
    study: SearchStudy
    worker: Worker
    combinations: int
    trials: list[TrialRecord] = dataclasses.field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of trials of the study."""
        size = self.options.trials or self.combinations or TRIALS
        return min(size, self.combinations) if self.combinations else size

    def _shown_options(self) -> TuneConfig:
        """Return the options for the files of the folder, without the password of the storage."""
        storage = self.options.storage
        return dataclasses.replace(self.options, storage=storage and without_password(storage))

    def _owner(self) -> str:
        """Write the arguments of the search, and return its owner in the study."""
        options = self._shown_options()
        if (self.folder / folders.SEARCH_FILE).is_file():
            saved = folders.read_search(self.folder)._replace(options=options)
        else:
            saved = folders.new_search(self.searched.space, options)
        folders.write_search(self.folder, saved)
        return saved.owner

    def run(self, on_trial: Callable[[SearchStatus], Any]) -> None:
        """Run the remaining trials."""
        options, study = self.options, self.study
        self.trials = study.records()
        is_ordered = options.sampler in ADAPTIVE and options.jobs > 1
        ahead = AHEAD * options.jobs if is_ordered else 0
        queue = TrialQueue(study, self.searched, self._owner(), self.size, ahead)
        place = None if options.pruner == "none" else self.place
        self.worker.place = place
        make_worker: Callable[[], Worker] = functools.partial(
            Worker, self.searched, options.monitor, options.folds, place
        )
        if options.jobs == 1:
            worker = self.worker
            make_worker = lambda: worker  # noqa: E731

        def report(record: TrialRecord) -> None:
            self.trials = study.records()  # other searches may share it
            best = best_of(self.trials, options.is_minimized)
            count = len(self.trials)
            on_trial(SearchStatus(record, best, count, max(count, self.size)))

        run_trials(queue, make_worker, options.jobs, report)

    @property
    def best(self) -> TrialRecord | None:
        """The best trial; None if none is complete."""
        return best_of(self.trials, self.options.is_minimized)

    def best_config(self) -> ExperimentConfig | None:
        """Return the configuration of the best trial; None if none is complete."""
        return None if self.best is None else self.searched.config(self.best.params)

    def finish(self, log: Log) -> TuneResult:
        """Write the tables, train the best configuration again, and write the report.

        Raises:
            NoTrialError: all trials have failed.
        """
        self.trials = self.study.records()
        best, config = self.best, self.best_config()
        if best is None or best.value is None or config is None:
            self.write()
            failed = next((f"; trial {x.number}: {x.error}" for x in self.trials if x.error), "")
            raise NoTrialError(f"none of {len(self.trials)} trials is complete{failed}")
        folders.write_tables(self.folder, self.trials, self.options, config)
        run = None
        if self.options.refit:
            target = self.folder / folders.BEST_FOLDER
            shutil.rmtree(target, ignore_errors=True)
            run = run_experiment(config, target, session=Session(log=log))
        found = self.write(run)
        return TuneResult(config, best.params, best.value, self.trials, found, self.folder, run)

    def _command(self) -> str:
        """Return the command of the search."""
        space = str(self.searched.space)
        return command_line("tune", self.config, self._shown_options(), search=space)

    def write(self, run: ExperimentResult | None = None) -> dict[str, float]:
        """Write the tables, the summary and the report; return the importances."""
        found, options = self.study.importances(), self.options
        folders.write_tables(self.folder, self.trials, options, self.best_config())
        test = None if run is None else run.test
        summary = folders.summary(self.trials, options, found, test)
        run_folder.write_json(self.folder / run_folder.SUMMARY_FILE, summary)
        if self.config.report and importlib.util.find_spec("matplotlib") is not None:
            command = f"train --flagfile={shown(self.folder / folders.BEST_FLAGS)}"
            has_report = (self.folder / folders.BEST_FOLDER / REPORT_FILE).is_file()
            report = SearchReport(
                self.folder.name,
                str(self.searched.space),
                options.monitor,
                options.is_minimized,
                self.trials,
                found,
                test,
                command,
                f"{folders.BEST_FOLDER}/{REPORT_FILE}" if has_report else "",
                provenance(self._command(), self.config, summary),
            )
            write_search_page(report, self.folder)
        return found
