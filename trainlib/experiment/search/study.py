"""The study of a search: how Optuna chooses values, ends trials early, and stores them.

Optuna is optional; this module is imported where a search begins.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from trainlib.experiment.search.space import Choices, Parameter
from trainlib.tools.trial_records import TrialRecord
from trainlib.training.files import as_json

optuna.logging.set_verbosity(optuna.logging.WARNING)

OWNER, OUTCOME, SEARCH = "owner", "outcome", "search"
"""Attributes of trials and of the study, in which it stores what Optuna does not know."""
FEWEST = 4
"""Least number of complete trials for importances."""
_MAKERS: Mapping[str, Callable[[int], Any]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
}
"""Samplers by name, made from a seed."""


class NumberedSampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """A sampler of Optuna that starts each trial from a seed of its own, made of its number.

    The values of a trial are then the same after a resumed search, and whichever process asks.

    Args:
        make: makes the sampler from a seed.
        seed: seed of the search.
    """

    def __init__(self, make: Callable[[int], Any], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._sampler = make(seed)

    def before_trial(self, study: Any, trial: FrozenTrial) -> None:
        """Start from the seed of a trial."""
        sequence = np.random.SeedSequence((self._seed, trial.number))
        self._sampler = self._make(int(sequence.generate_state(1)[0]))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Any, trial: FrozenTrial) -> Any:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: FrozenTrial, search_space: Any) -> Any:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: FrozenTrial, name: str, values: Any) -> Any:
        return self._sampler.sample_independent(study, trial, name, values)

    def after_trial(self, study: Any, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._sampler.after_trial(study, trial, state, values)


class ListSampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """A sampler that takes the values of each trial from a list, by the number of the trial.

    Args:
        trials: values of the parameters of each trial.
    """

    def __init__(self, trials: Sequence[Mapping[str, Any]]) -> None:
        self._trials = trials

    def infer_relative_search_space(self, study: Any, trial: FrozenTrial) -> Any:
        return {}

    def sample_relative(self, study: Any, trial: FrozenTrial, search_space: Any) -> Any:
        return {}

    def sample_independent(self, study: Any, trial: FrozenTrial, name: str, values: Any) -> Any:
        return self._trials[trial.number][name]


class StudyPlace(NamedTuple):
    """Where a study is, and how its trials end early; for processes that open it.

    Attributes:
        storage: URL of a database, or path of a file.
        name: name of the study.
        pruner: a name of `PRUNERS`.
        steps: epochs of a trial, over all folds.
    """

    storage: str
    name: str
    pruner: str
    steps: int

    def open(self, sampler: Any = None) -> Any:
        """Return the study, which exists."""
        return optuna.load_study(
            study_name=self.name,
            storage=_storage(self.storage),
            sampler=sampler or optuna.samplers.RandomSampler(),
            pruner=_pruner(self),
        )


def check_packages(sampler: str) -> None:
    """Raise `ValueError` if a sampler needs a package that is not installed."""
    needed = {"gp": "torch", "cmaes": "cmaes"}.get(sampler)
    if needed and importlib.util.find_spec(needed) is None:
        raise ValueError(f"sampler {sampler} needs {needed}: pip install {needed}")


def make_sampler(name: str, seed: int, grid: Sequence[Mapping[str, Any]]) -> Any:
    """Return a sampler.

    Args:
        name: one of `SAMPLERS`.
        seed: its seed.
        grid: values of the trials of "grid".
    """
    if name == "grid":
        return ListSampler(grid)
    make = _MAKERS[name]
    return NumberedSampler(make, seed)


def open_study(
    place: StudyPlace, sampler: Any, is_minimized: bool, search: Mapping[str, Any]
) -> optuna.Study:
    """Return the study of a search; it is created if there is none.

    Args:
        place: where it is.
        sampler: chooses the values of trials.
        is_minimized: whether lower results are better.
        search: what trials of one study have in common, compared with that of an existing study.

    Raises:
        ValueError: the storage cannot be opened, or holds another search under this name.
    """
    try:
        study = optuna.create_study(
            study_name=place.name,
            storage=_storage(place.storage),
            sampler=sampler,
            pruner=_pruner(place),
            direction="minimize" if is_minimized else "maximize",
            load_if_exists=True,
        )
    except Exception as error:  # of the libraries of databases, which are many
        raise ValueError(f"storage {place.storage}: {' '.join(str(error).split())}") from error
    text = json.dumps(search, sort_keys=True)
    known = study.user_attrs.get(SEARCH)
    if known is None:
        study.set_user_attr(SEARCH, text)
    elif known != text:
        raise ValueError(
            f"study {place.name!r} in {place.storage} is of another search: "
            f"{_difference(json.loads(known), search)}; name a new one"
        )
    return study


def ask(study: optuna.Study, owner: str) -> optuna.Trial:
    """Return a new trial, marked as that of an owner."""
    trial = study.ask()
    trial.set_user_attr(OWNER, owner)
    return trial


def suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    """Return the value of a parameter that the sampler chooses for a trial."""
    name, distribution = parameter.name, parameter.distribution
    if isinstance(distribution, Choices):
        return trial.suggest_categorical(name, list(distribution.values))
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.is_integer:
        return trial.suggest_int(name, low, high, step=step or 1, log=distribution.is_log)
    return trial.suggest_float(name, low, high, step=step, log=distribution.is_log)


def tell(study: optuna.Study, record: TrialRecord) -> None:
    """Store the end of a trial."""
    states = {"complete": None, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    trial = _frozen(study, record.number)
    study._storage.set_trial_user_attr(trial._trial_id, OUTCOME, as_json(record.outcome))
    value = record.value if record.state == "complete" else None
    study.tell(record.number, value, state=states[record.state], skip_if_finished=True)


def unfinished(study: optuna.Study, owner: str) -> list[tuple[int, dict[str, Any]]]:
    """Return numbers and values of the trials that an owner has begun and not finished."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [(x.number, x.params) for x in trials if x.user_attrs.get(OWNER) == owner and x.params]


def size(study: optuna.Study) -> int:
    """Return the number of trials of a study, finished or not."""
    return len(study.get_trials(deepcopy=False))


def records(study: optuna.Study) -> list[TrialRecord]:
    """Return the finished trials of a study."""
    states = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    found = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state in states:
            outcome = json.loads(trial.user_attrs.get(OUTCOME, "{}"))
            outcome["scores"] = tuple(outcome.get("scores", ()))
            state = states[trial.state]
            found.append(TrialRecord(trial.number, state, trial.value, trial.params, **outcome))
    return found


def importances(study: optuna.Study) -> dict[str, float]:
    """Return how much of the differences between trials each parameter explains, in sum 1.

    {} if there are too few complete trials.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental in some versions
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
        except (ValueError, RuntimeError):  # all trials have the same result
            return {}
    return {name: float(x) for name, x in found.items()}


def pruning_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Return a trial of a study that runs, to report its results."""
    return optuna.Trial(study, _frozen(study, number)._trial_id)


def _frozen(study: optuna.Study, number: int) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[number]


def _storage(place: str) -> Any:
    """Return the storage at a URL or in a file."""
    if "://" in place:
        return place
    path = Path(place).absolute()
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        return f"sqlite:///{path}"
    # This lock works in folders that several machines share.
    lock = JournalFileOpenLock(str(path))
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _pruner(place: StudyPlace) -> Any:
    if place.pruner == "median":
        return optuna.pruners.MedianPruner()
    if place.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(max_resource=place.steps)
    return optuna.pruners.NopPruner()


def _difference(known: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return the first setting in which two searches differ."""
    name = next(x for x in {**known, **given} if known.get(x) != given.get(x))
    return f"its {name} is {known.get(name)}, here it is {given.get(name)}"
