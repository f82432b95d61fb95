"""`tune`: search for the configuration with the best result on the validation data."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.ensemble_config import EnsembleConfig
from trainlib.experiment.flat import flatten
from trainlib.experiment.result import Log
from trainlib.experiment.search import folder as folders
from trainlib.experiment.search.candidate import Worker
from trainlib.experiment.search.checks import (
    WITHOUT_EFFECT,
    check_comparable,
    end_values,
    searched_config,
)
from trainlib.experiment.search.options import TuneConfig
from trainlib.experiment.search.result import SearchInterrupted, SearchStatus, TuneResult
from trainlib.experiment.search.settings import SearchedConfig, setting_value
from trainlib.experiment.search.space_text import parse_space
from trainlib.experiment.trial import check_one_machine, check_trial

MISSING = "tune needs Optuna: pip install optuna"
OF_MACHINE = ("data_dir", "code_path", "imports", "dataset")
"""Settings in which the machines of a search may differ."""


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

    Each trial trains `config` with other values, in memory. The test data are used only at the
    end, to evaluate the best configuration after it is trained again.

    Args:
        config: the experiment that is varied.
        space: the settings to vary and their distributions, as text such as
            "learning_rate=log(1e-4,1e-1); depth=int(1,3); optimizer={sgd,nadam}", or a mapping
            from flags of `train` to distributions or lists of values. A hyperparameter is varied
            only in trials whose functions take it; "if optimizer=sgd|rmsprop" after a distribution
            adds a condition.
        options: a `TuneConfig`. Default: None, its defaults.
        run_dir: folder to write, new or empty. Default: None,
            runs/tune-<data set>-<model>-<optimizer>-<time>.
        resume: whether to continue the search in `run_dir`. Default: False.
        on_trial: function called with a `SearchStatus` after each trial. Default: not called.
        log: function called with lines on the progress of the last run. Default: not called.

    Returns:
        A `TuneResult`.

    Raises:
        ValueError, TypeError, OSError: the search space does not suit the configuration, a package
            is missing, or something that the configuration names does not exist.
        RuntimeError: all trials have failed.

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
    path = run_folder.given_path(run_dir, resume, "search")
    worker = Worker(searched, options.monitor, options.folds, None)
    worker.check(config, options.pruner)
    grid = list(searched.grid()) if options.sampler == "grid" else []
    from trainlib.experiment.search.running import RunningSearch

    shared = None if options.storage is None else _study(config, searched, options, grid)
    if path is None or not resume:
        path = run_folder.create(config, path, prefix="tune-")
    with run_folder.locked(path):
        place, study = shared or _study(config, searched, options, grid, path)
        search = RunningSearch(config, searched, options, path, place, study, worker, len(grid))
        try:
            search.run(on_trial)
            return search.finish(log)
        except KeyboardInterrupt:
            search.write()
            raise SearchInterrupted(path, len(search.trials), search.size) from None


def _check(config: ExperimentConfig, searched: SearchedConfig, options: TuneConfig) -> None:
    """Check the settings of a search before anything is written.

    Raises:
        ValueError: a package is missing, or settings contradict each other.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ValueError(MISSING)
    from trainlib.experiment.search.samplers import check_packages

    check_packages(options.sampler)
    check_comparable(searched, options.monitor)
    check_one_machine("search", config, "searches on several machines may share one storage")
    if config.ensemble != EnsembleConfig():
        raise ValueError(
            "ensemble cannot be searched: leave its settings out, and give them to train with the "
            "best flags"
        )
    check_trial(config)


def _most_epochs(config: ExperimentConfig, searched: SearchedConfig) -> int:
    """Return the largest number of epochs of a trial."""
    for parameter in searched.space.parameters:
        if parameter.name == "epochs":
            values = end_values(parameter)
            most = max(int(setting_value(parameter, x)) for x in values)
            return most if parameter.condition is None else max(most, config.epochs)
    return config.epochs


def _study(
    config: ExperimentConfig,
    searched: SearchedConfig,
    options: TuneConfig,
    grid: Sequence[Mapping[str, Any]],
    folder: Path | None = None,
) -> tuple[Any, Any]:
    """Open the study of a search, in its storage or in its folder.

    Raises:
        ValueError: the storage cannot be opened, or holds another search.
    """
    from trainlib.experiment.search.samplers import make_sampler
    from trainlib.experiment.search.study import StudyPlace, open_study

    place = StudyPlace(
        options.storage or str((folder or Path()) / folders.STUDY_FILE),
        options.study,
        options.pruner,
        _most_epochs(config, searched) * options.folds,
    )
    defaults = flatten(ExperimentConfig())  # left out, because later versions may add settings
    settings = {
        k: str(x) for k, x in searched.base.items() if k not in defaults or x != defaults[k]
    }
    for name in (*WITHOUT_EFFECT, *OF_MACHINE):
        settings.pop(name, None)
    in_common = {
        "search": str(searched.space),
        "monitor": options.monitor,
        "folds": options.folds,
        **settings,
    }
    sampler = make_sampler(options.sampler, config.seed, grid)
    return place, open_study(place, sampler, options.is_minimized, in_common)
