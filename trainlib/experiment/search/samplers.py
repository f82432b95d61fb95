"""The samplers of Optuna, which choose the values of trials.

Optuna is optional; this module is imported where a search begins.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

NEEDED: Mapping[str, tuple[str, ...]] = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",)}
"""Packages that Optuna's samplers need, by sampler."""
_MAKERS: Mapping[str, Callable[[int], Any]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
}
"""Samplers by name, made from a seed."""


class NumberedSampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """A sampler whose seed for each trial depends on the seed of the search and the trial's number.

    The values of a trial are therefore the same in a resumed search and in any process.

    Args:
        make: makes a sampler of Optuna from a seed.
        seed: seed of the search.
    """

    def __init__(self, make: Callable[[int], Any], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._sampler = make(seed)

    def before_trial(self, study: Any, trial: FrozenTrial) -> None:
        """Make the sampler of a trial from its seed."""
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
    """A sampler that reads the values of each trial from a list, by the number of the trial.

    If several processes ask for the last trial at the same time, the list starts again.

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
        return self._trials[trial.number % len(self._trials)][name]


def check_packages(sampler: str) -> None:
    """Raise `ValueError` if a sampler needs packages that are not installed."""
    missing = [x for x in NEEDED.get(sampler, ()) if importlib.util.find_spec(x) is None]
    if missing:
        names = " and ".join(NEEDED[sampler])
        raise ValueError(f"sampler {sampler} needs {names}: pip install {' '.join(missing)}")


def make_sampler(name: str, seed: int, grid: Sequence[Mapping[str, Any]]) -> Any:
    """Return a sampler.

    Args:
        name: one of `SAMPLERS`.
        seed: seed of the search.
        grid: values of the trials of "grid".
    """
    if name == "grid":
        return ListSampler(grid)
    make = _MAKERS[name]
    return NumberedSampler(make, seed)
