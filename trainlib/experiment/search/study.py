"""The study of a search: Optuna chooses the values of trials, prunes them and stores them.

Optuna is optional; this module is imported where a search begins.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import optuna
from optuna.trial import TrialState

from trainlib.experiment.search.space import Choices, Parameter
from trainlib.experiment.search.storage import open_storage, storage_error, without_password
from trainlib.tools.trial_records import TrialRecord
from trainlib.training.files import as_json

optuna.logging.set_verbosity(optuna.logging.WARNING)

OWNER, OUTCOME, SEARCH = "owner", "outcome", "search"
"""Names of the attributes of trials and studies for data that Optuna does not have."""
FEWEST = 4
"""Smallest number of complete trials from which importances are computed."""


class StudyPlace(NamedTuple):
    """Storage, name and pruner of a study; each process opens the study with it.

    Attributes:
        storage: URL of a database, or path of a file.
        name: name of the study.
        pruner: a name of `PRUNERS`.
        steps: largest number of epochs of a trial, over all folds.
    """

    storage: str
    name: str
    pruner: str
    steps: int

    def open(self) -> SearchStudy:
        """Open the existing study, without a sampler.

        Raises:
            ValueError: the storage cannot be opened.
        """
        storage = open_storage(self.storage)
        sampler = optuna.samplers.RandomSampler()
        study = optuna.load_study(
            study_name=self.name, storage=storage, sampler=sampler, pruner=_pruner(self)
        )
        return SearchStudy(study, storage)


class SearchStudy(NamedTuple):
    """The study of a search, opened.

    Attributes:
        study: the study of Optuna.
        storage: the storage of the study.
    """

    study: optuna.Study
    storage: Any

    def ask(self, owner: str) -> optuna.Trial:
        """Return a new trial, marked with its owner."""
        trial = self.study.ask()
        trial.set_user_attr(OWNER, owner)
        return trial

    def running(self, number: int) -> optuna.Trial:
        """Return an unfinished trial, which another process may have created."""
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return optuna.Trial(self.study, trial_id)

    def tell(self, record: TrialRecord) -> None:
        """Store the result of a trial."""
        states = {"complete": None, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        self.running(record.number).set_user_attr(OUTCOME, as_json(record.outcome))
        value = record.value if record.state == "complete" else None
        self.study.tell(record.number, value, state=states[record.state], skip_if_finished=True)

    def unfinished(self, owner: str) -> list[tuple[int, dict[str, Any]]]:
        """Return numbers and values of the unfinished trials of an owner."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        mine = [x for x in trials if x.user_attrs.get(OWNER) == owner and x.params]
        return [(x.number, x.params) for x in mine]

    def size(self) -> int:
        """Return the number of trials, finished or not."""
        return len(self.study.get_trials(deepcopy=False))

    def records(self) -> list[TrialRecord]:
        """Return the finished trials."""
        states = {
            TrialState.COMPLETE: "complete",
            TrialState.PRUNED: "pruned",
            TrialState.FAIL: "failed",
        }
        found = []
        for trial in self.study.get_trials(deepcopy=False, states=tuple(states)):
            outcome = json.loads(trial.user_attrs.get(OUTCOME, "{}"))
            outcome["scores"] = tuple(outcome.get("scores", ()))
            state = states[trial.state]
            found.append(TrialRecord(trial.number, state, trial.value, trial.params, **outcome))
        return found

    def importances(self) -> dict[str, float]:
        """Return the importance of each parameter for the monitored result; the sum is 1.

        The result is {} if there are too few complete trials.
        """
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < FEWEST:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental in some versions
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            try:
                found = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
            except (ValueError, RuntimeError):  # all trials have the same result
                return {}
        return {name: float(x) for name, x in found.items()}


def open_study(
    place: StudyPlace, sampler: Any, is_minimized: bool, search: Mapping[str, Any]
) -> SearchStudy:
    """Return the study of a search; it is created if there is none.

    Args:
        place: storage, name and pruner of the study.
        sampler: chooses the values of trials.
        is_minimized: whether lower results are better.
        search: settings that all trials of a study share; an existing study must have the same.

    Raises:
        ValueError: the storage cannot be opened, or holds another search under this name.
    """
    storage = open_storage(place.storage)
    try:
        study = optuna.create_study(
            study_name=place.name,
            storage=storage,
            sampler=sampler,
            pruner=_pruner(place),
            direction="minimize" if is_minimized else "maximize",
            load_if_exists=True,
        )
    except Exception as error:  # each database library raises different types
        raise storage_error(place.storage, error) from error
    text = json.dumps(search, sort_keys=True)
    known = study.user_attrs.get(SEARCH)
    if known is None:
        study.set_user_attr(SEARCH, text)
    elif known != text:
        raise ValueError(
            f"study {place.name!r} in {without_password(place.storage)} is of another search: "
            f"{_difference(json.loads(known), search)}; name a new one"
        )
    return SearchStudy(study, storage)


def suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    """Return the value of a parameter for a trial, chosen by the sampler."""
    name, distribution = parameter.name, parameter.distribution
    if isinstance(distribution, Choices):
        return trial.suggest_categorical(name, list(distribution.values))
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.is_integer:
        return trial.suggest_int(name, low, high, step=step or 1, log=distribution.is_log)
    return trial.suggest_float(name, low, high, step=step, log=distribution.is_log)


def _pruner(place: StudyPlace) -> Any:
    if place.pruner == "median":
        return optuna.pruners.MedianPruner()
    if place.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(max_resource=place.steps)
    return optuna.pruners.NopPruner()


def _difference(known: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return the first setting in which two searches differ."""
    name = next(x for x in {**known, **given} if known.get(x) != given.get(x))
    first, second = (x.get(name, "the default") for x in (known, given))
    return f"its {name} is {first}, here it is {second}"
