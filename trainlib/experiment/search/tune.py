"""`tune`: search for the configuration with the best result on the validation data."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.ensemble_config import EnsembleConfig
from trainlib.experiment.provenance import command_line, provenance
from trainlib.experiment.result import ExperimentResult, Log, Session
from trainlib.experiment.run import run_experiment
from trainlib.experiment.search import folder as folders
from trainlib.experiment.search.candidate import Worker
from trainlib.experiment.search.options import TRIALS, TuneConfig
from trainlib.experiment.search.settings import (
    WITHOUT_EFFECT,
    SearchedConfig,
    check_comparable,
    searched_config,
)
from trainlib.experiment.search.space import parse_space
from trainlib.report.run_page import REPORT_FILE
from trainlib.report.search_page import SearchReport, write_search_page
from trainlib.tools.trial_records import TrialRecord, best_of
from trainlib.training.paths import absolute, shown

MISSING = "tune needs Optuna: pip install optuna"
OF_MACHINE = ("data_dir", "code_path", "imports", "dataset")
"""Settings that may differ between the machines of a search."""


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


def tune(
    config: ExperimentConfig,
    space: str | Mapping[str, str | Sequence[Any]],
    options: TuneConfig | None = None,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_trial: Callable[[SearchStatus], Any] = lambda status: None,
    log: Log = lambda line: None,
) -> TuneResult:
    """Search for the settings with the best result on the validation data, like `tune` at a shell.

    Each trial trains in memory what `config` says with other values. The test data are not used
    but to evaluate the best configuration, trained again, at the end.

    Args:
        config: the experiment that is varied.
        space: what is varied and how, as a text such as "learning_rate=log(1e-4,1e-1);
            depth=int(1,3); optimizer={sgd,nadam}", or a mapping from flags of `train` to such
            distributions or lists of values. A hyperparameter is varied in those trials only whose
            functions take it; "if optimizer=sgd|rmsprop" after a distribution is another condition.
        options: a `TuneConfig`. Default: None, its defaults.
        run_dir: the folder to write, new or empty; default:
            runs/tune-<data set>-<model>-<optimizer>-<time>.
        resume: whether the search in `run_dir` goes on. Default: False.
        on_trial: called after each trial. Default: nothing is done.
        log: called with lines on the progress of the last run. Default: nothing is done.

    Returns:
        A `TuneResult`.

    Raises:
        ValueError, TypeError, OSError: the search space does not fit, a package is missing, or
            something that the configuration names does not exist; or all trials have failed.

    Example:
        >>> import tempfile
        >>> config = tl.ExperimentConfig(
        ...     data=tl.DataConfig(train_examples=64), model=tl.config("mlp", hidden=[8]),
        ...     epochs=2, execution="graph", report=False)
        >>> options = tl.TuneConfig(trials=3, sampler="random", refit=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = tl.tune(config, "learning_rate=log(1e-3,1e-1)", options, run_dir=folder)
        >>> len(result.trials), list(result.params)
        (3, ['learning_rate'])
    """
    options = options or TuneConfig()
    searched = searched_config(config, parse_space(space))
    _check(config, searched, options)
    path = None if run_dir is None else absolute(run_dir)
    if path is not None and not resume:
        run_folder.check_free(path)
    if resume and path is None:
        raise ValueError("resume needs run_dir, the folder of the search")
    worker = Worker(searched, options.monitor, options.folds, None)
    worker.check(config)
    grid = list(searched.grid()) if options.sampler == "grid" else []
    study = None if options.storage is None else _study(config, searched, options, grid)
    if path is None or not resume:
        path = run_folder.create(config, path, prefix="tune-")
    with run_folder.locked(path):
        study = study or _study(config, searched, options, grid, path)
        search = _Search(config, searched, options, path, study, worker, len(grid))
        try:
            search.run(on_trial)
        except KeyboardInterrupt:
            search.write()
            raise SearchInterrupted(path, len(search.trials), search.size) from None
        return search.finish(log)


def _check(config: ExperimentConfig, searched: SearchedConfig, options: TuneConfig) -> None:
    """Refuse what no search can do, before anything is written.

    Raises:
        ValueError: a package is missing, or settings do not go together.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ValueError(MISSING)
    from trainlib.experiment.search.study import check_packages

    check_packages(options.sampler)
    check_comparable(searched, options.monitor)
    if config.strategy == "multi_worker" or "TF_CONFIG" in os.environ:
        raise ValueError(
            "strategy multi_worker is for one run on several machines: leave it out; several "
            "searches may share one storage"
        )
    if config.ensemble != EnsembleConfig():
        raise ValueError(
            "ensemble cannot be searched: leave its settings out, and give them to train with the "
            "best flags"
        )
    if config.nonfinite == "roll_back":
        raise ValueError("nonfinite=roll_back needs the checkpoints of a run: choose skip or stop")


def _study(
    config: ExperimentConfig,
    searched: SearchedConfig,
    options: TuneConfig,
    grid: Sequence[Mapping[str, Any]],
    folder: Path | None = None,
) -> OpenStudy:
    """Return the study of a search, in its storage or in its folder.

    Raises:
        ValueError: the storage cannot be opened, or holds another search.
    """
    from trainlib.experiment.search.study import StudyPlace, make_sampler, open_study

    place = StudyPlace(
        options.storage or str((folder or Path()) / folders.STUDY_FILE),
        options.study,
        options.pruner,
        config.epochs * options.folds,
    )
    in_common = {
        "search": str(searched.space),
        "monitor": options.monitor,
        "folds": options.folds,
        **{k: str(x) for k, x in searched.base.items() if k not in (*WITHOUT_EFFECT, *OF_MACHINE)},
    }
    sampler = make_sampler(options.sampler, config.seed, grid)
    return OpenStudy(open_study(place, sampler, options.is_minimized, in_common), place)


class OpenStudy(NamedTuple):
    """The study of a search.

    Attributes:
        study: the study of Optuna.
        place: where it is.
    """

    study: Any
    place: Any


@dataclass
class _Search:
    """A search that runs, and its folder.

    Attributes:
        config: the configuration that is varied.
        searched: makes those of trials.
        options: options of the search.
        folder: its folder.
        opened: its study.
        worker: what this process keeps from trial to trial.
        combinations: number of combinations of a grid; 0 for other samplers.
        trials: the finished trials.
    """

    config: ExperimentConfig
    searched: SearchedConfig
    options: TuneConfig
    folder: Path
    opened: OpenStudy
    worker: Worker
    combinations: int
    trials: list[TrialRecord] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of trials of the study."""
        size = self.options.trials or self.combinations or TRIALS
        return min(size, self.combinations) if self.combinations else size

    def _owner(self) -> str:
        """Return the name of this search in the study, after writing what it was asked for."""
        if (self.folder / folders.SEARCH_FILE).is_file():
            saved = folders.read_search(self.folder)._replace(options=self.options)
        else:
            saved = folders.new_search(self.searched.space, self.options)
        folders.write_search(self.folder, saved)
        return saved.owner

    def run(self, on_trial: Callable[[SearchStatus], Any]) -> None:
        """Run the trials that are missing."""
        from trainlib.experiment.search.loop import ADAPTIVE, AHEAD, TrialQueue, run_trials
        from trainlib.experiment.search.study import records

        options, (study, place) = self.options, self.opened
        self.trials = records(study)
        is_ordered = options.sampler in ADAPTIVE and options.jobs > 1
        ahead = AHEAD * options.jobs if is_ordered else 0
        queue = TrialQueue(study, self.searched, self._owner(), self.size, ahead)
        place = None if options.pruner == "none" else place
        self.worker.place = place
        make_worker: Callable[[], Worker] = functools.partial(
            Worker, self.searched, options.monitor, options.folds, place
        )
        if options.jobs == 1:
            worker = self.worker
            make_worker = lambda: worker  # noqa: E731

        def told(record: TrialRecord) -> None:
            self.trials = records(study)  # other searches may share it
            best = best_of(self.trials, options.is_minimized)
            count = len(self.trials)
            on_trial(SearchStatus(record, best, count, max(count, self.size)))

        run_trials(queue, make_worker, options.jobs, told)

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
        from trainlib.experiment.search.study import records

        self.trials = records(self.opened.study)
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
        return command_line("tune", self.config, self.options, search=str(self.searched.space))

    def write(self, run: ExperimentResult | None = None) -> dict[str, float]:
        """Write the tables, the summary and the report; return the importances."""
        from trainlib.experiment.search.study import importances

        found, options = importances(self.opened.study), self.options
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
