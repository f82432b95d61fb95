"""Estimators for scikit-learn: experiments with `fit` and `predict`.

classifier: `TrainlibClassifier`.
regressor: `TrainlibRegressor`.
base: what both have in common.
settings: the parameters of an estimator as an `ExperimentConfig`.
nested: parameters such as `optimizer__momentum`.
examples: the arrays of `fit` as the data of an experiment.
runs: training from new weights, or further from those of an earlier fit.
fitted: the trained model, which predicts and can be pickled.

The estimators are imported at their first use, so that only they need scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainlib.estimators.classifier import TrainlibClassifier
    from trainlib.estimators.regressor import TrainlibRegressor

__all__ = ["TrainlibClassifier", "TrainlibRegressor"]

_MODULES = {
    "TrainlibClassifier": "trainlib.estimators.classifier",
    "TrainlibRegressor": "trainlib.estimators.regressor",
}
MISSING = "tl.estimators needs scikit-learn: pip install scikit-learn"


def __getattr__(name: str) -> Any:
    """Return an estimator, imported at its first use.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise ImportError(MISSING) from None
    return getattr(module, name)


def __dir__() -> list[str]:
    """Return the names of the estimators."""
    return list(__all__)
