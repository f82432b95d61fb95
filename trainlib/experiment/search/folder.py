"""The folder of a search: its arguments, its trials, and the best configuration."""

from __future__ import annotations

import dataclasses
import json
import socket
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.provenance import made_now
from trainlib.experiment.search.options import TuneConfig
from trainlib.experiment.search.space import Space
from trainlib.tools.trial_records import STATES, TrialRecord, best_of, to_csv
from trainlib.training.files import write_text

SEARCH_FILE = "tune.json"
TRIALS_FILE = "trials.csv"
BEST_FLAGS = "best.txt"
BEST_FOLDER = "best"
STUDY_FILE = "study.journal"


class SavedSearch(NamedTuple):
    """The arguments of a search, as its folder holds them.

    Attributes:
        space: text of the search space.
        options: options of the search.
        owner: name by which the search marks its trials in the study: the name of the machine and
            a random number.
    """

    space: str
    options: TuneConfig
    owner: str


def new_search(space: Space, options: TuneConfig) -> SavedSearch:
    """Return the arguments of a new search, with a unique owner."""
    return SavedSearch(str(space), options, f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")


def write_search(folder: Path, search: SavedSearch) -> None:
    """Write the arguments of a search into its folder."""
    content = {**search._asdict(), "options": dataclasses.asdict(search.options)}
    run_folder.write_json(folder / SEARCH_FILE, content)


def read_search(folder: Path) -> SavedSearch:
    """Return the arguments of the search in a folder.

    Raises:
        ValueError: the folder is not that of a search, or its file is damaged.
    """
    return run_folder.read_file(folder / SEARCH_FILE, "not a search of tune", _parse)


def _parse(text: str) -> SavedSearch:
    content = json.loads(text)
    return SavedSearch(**{**content, "options": TuneConfig(**content["options"])})


def write_tables(
    folder: Path, trials: Sequence[TrialRecord], options: TuneConfig, best: ExperimentConfig | None
) -> None:
    """Write the table of trials, and the best configuration as a flag file that `train` takes.

    Args:
        folder: the folder of the search.
        trials: the finished trials.
        options: options of the search.
        best: best configuration; None if no trial is complete.
    """
    write_text(folder / TRIALS_FILE, to_csv(trials, options.monitor))
    if best is not None:
        write_text(folder / BEST_FLAGS, best.to_flags())


def summary(
    trials: Sequence[TrialRecord],
    options: TuneConfig,
    importances: Mapping[str, float],
    test: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the summary of a search.

    Args:
        trials: the finished trials.
        options: options of the search.
        importances: importance of each parameter.
        test: results of the best model on the test data; None without `refit`.
    """
    best = best_of(trials, options.is_minimized)
    found = None if best is None else {**best._asdict(), "params": dict(best.params)}
    return {
        "monitor": options.monitor,
        "best": found,
        "test": test,
        "trials": {state: sum(trial.state == state for trial in trials) for state in STATES},
        "epochs": sum(trial.epochs for trial in trials),
        "seconds": round(sum(trial.seconds for trial in trials), 3),
        "importances": dict(importances),
        **made_now(),
    }
