"""What the estimators have in common: parameters, training, prediction."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from trainlib.callbacks import LineLogger
from trainlib.core.checks import check_integer
from trainlib.estimators.examples import Arrays, TargetNames, build_task, model_inputs
from trainlib.estimators.fitted import FittedModel
from trainlib.estimators.nested import (
    FUNCTIONS,
    as_function,
    portable_spec,
    split,
    with_hyperparameter,
)
from trainlib.estimators.runs import train
from trainlib.estimators.settings import base_config, configuration, validation_fraction
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.data_config import MAX_SEED
from trainlib.experiment.functions import FunctionConfig
from trainlib.experiment.schedule_config import ScheduleConfig
from trainlib.experiment.user_functions import follows_run_length

Function = str | FunctionConfig | Mapping[str, Any] | None


@dataclass(kw_only=True, eq=False, repr=False)
class TrainlibEstimator(BaseEstimator):  # type: ignore[misc]
    """Parameters and methods of both estimators, whose docstrings describe them."""

    model: Function | Callable[..., Any] = None
    hidden: Sequence[int] | None = None
    depth: int | None = None
    width: int | None = None
    activation: str | None = None
    batch_norm: bool | None = None
    dropout: float | None = None
    optimizer: Function = None
    learning_rate: float | str | None = None
    schedule: Function | ScheduleConfig = None
    regularizer: Function = None
    loss: Function = None
    epochs: int | None = None
    batch_size: int | None = None
    early_stopping: bool = False
    patience: int = 10
    min_delta: float = 0.0
    validation_fraction: float | None = None
    warm_start: bool = False
    random_state: Any = None
    verbose: int = 0
    config: ExperimentConfig | None = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Args:
            deep: whether hyperparameters of functions are listed too, as "optimizer__momentum".
                Default: True.
        """
        params: dict[str, Any] = super().get_params(deep=False)
        if deep:
            for kind in FUNCTIONS:
                if isinstance(params[kind], FunctionConfig):
                    given = params[kind].hyperparameters
                    params |= {f"{kind}__{name}": value for name, value in given.items()}
        return params

    def set_params(self, **params: Any) -> Any:
        """Set parameters, and hyperparameters of functions as `optimizer__momentum=0.9`.

        Args:
            **params: values by name.

        Raises:
            ValueError: there is no such parameter.
        """
        super().set_params(**{name: x for name, x in params.items() if not split(name)[0]})
        for key, value in params.items():
            kind, name = split(key)
            if kind:
                default = getattr(base_config(self.config), kind, None)
                function = as_function(kind, getattr(self, kind), _function_or_none(default))
                setattr(self, kind, with_hyperparameter(function, name, value))
        return self

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if callable(state["model"]):
            state = state | {"model": portable_spec("model", state["model"])}
        return state

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        validation: tuple[Any, Any] = (None, None),
        previous: FittedModel | None = None,
        epochs: int | None = None,
        classes: Any = None,
    ) -> Any:
        """Train, and set the attributes of a fitted estimator.

        Args:
            X: inputs.
            y: targets.
            sample_weight: weights of the examples; None for 1.
            validation: inputs and targets for validation. Default: `validation_fraction` of X.
            previous: the model that is trained further. Default: None, a new one.
            epochs: epochs of this fit, which then has no validation data. Default: None, the
                parameter `epochs`.
            classes: all classes that there are. Default: None, those of y.
        """
        arrays = self._arrays(X, y, sample_weight, previous is None, classes)
        arrays = self._with_class_weights(arrays)
        config = configuration(self, self._seed())
        if epochs is not None:
            config = dataclasses.replace(config, epochs=epochs, monitors=())
        _check_same_run(config, previous)
        held_out, fraction = None, 0.0
        if (validation[0] is None) != (validation[1] is None):
            raise ValueError("X_val and y_val belong together: give both or none")
        if validation[0] is not None:
            held_out = self._arrays(*validation, None, False)
            held_out = held_out._replace(x=model_inputs(held_out.x, config))
        elif epochs is None:
            fraction = validation_fraction(self)
        arrays = arrays._replace(x=model_inputs(arrays.x, config))
        task = build_task(config, arrays, self._target_names(), fraction, held_out)
        callbacks = [LineLogger()] if self.verbose else []
        keeps_state = self.warm_start or previous is not None or epochs is not None
        fitted, history = train(config, task, callbacks, previous, keeps_state)
        self._set_fitted(fitted, history, continues=previous is not None)
        return self

    def _arrays(
        self, X: Any, y: Any, sample_weight: Any, reset: bool, classes: Any = None
    ) -> Arrays:
        """Return checked examples; `reset` says that they are the first ones."""
        x, y = validate_data(self, X, y, reset=reset, allow_nd=True, multi_output=True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        if reset:
            self._shape = x.shape[1:]
        self._check_shape(x)
        return self._with_targets(Arrays(x, y, sample_weight), reset, classes)

    def _with_targets(self, arrays: Arrays, reset: bool, classes: Any = None) -> Arrays:
        """Return examples with the targets that a loss takes; `reset` says that they are new."""
        raise NotImplementedError

    def _with_class_weights(self, arrays: Arrays) -> Arrays:
        """Return training examples with their weights times those of their classes, if any."""
        return arrays

    def _target_names(self) -> TargetNames:
        """Return what is known about the targets."""
        raise NotImplementedError

    def _seed(self) -> int:
        """Return the seed of a fit.

        Raises:
            ValueError: it is out of its range.
        """
        state = self.random_state
        if state is None and self.config is not None:
            return base_config(self.config).seed
        if isinstance(state, numbers.Integral):
            check_integer("random_state", state, at_least=0, at_most=MAX_SEED)
            return int(state)
        return int(check_random_state(state).randint(np.iinfo(np.int32).max))

    def _set_fitted(
        self, fitted: FittedModel, history: list[dict[str, Any]], continues: bool
    ) -> None:
        """Set the attributes that describe a fit."""
        self._fitted = fitted
        before: list[dict[str, Any]] = self.history_ if continues else []
        self.history_: list[dict[str, Any]] = [*before, *history]
        self.n_iter_ = len(self.history_)
        self.loss_curve_ = [results["loss"] for results in self.history_]
        self.loss_ = self.loss_curve_[-1]
        score = f"val_{self._score_name()}"
        scores = [results[score] for results in self.history_ if score in results]
        self.validation_scores_ = scores or None
        self.best_validation_score_ = max(scores) if scores else None

    def _score_name(self) -> str:
        """Return the name of the result that is the score."""
        raise NotImplementedError

    def _check_shape(self, x: np.ndarray) -> None:
        if x.shape[1:] != self._shape:
            raise ValueError(
                f"X has examples of shape {x.shape[1:]}, but {type(self).__name__} was fitted to "
                f"examples of shape {self._shape}"
            )

    def _predict(self, X: Any) -> np.ndarray:
        """Return what the model predicts for examples, before it becomes classes or numbers."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, allow_nd=True)
        self._check_shape(x)
        return self._fitted.predict(model_inputs(x, self._fitted.config))

    def build_model(self) -> Any:
        """Return the trained Keras model, which takes unscaled inputs.

        Raises:
            sklearn.exceptions.NotFittedError: it is not fitted.
        """
        check_is_fitted(self)
        return self._fitted.build_model()


def _function_or_none(value: Any) -> FunctionConfig | None:
    return value if isinstance(value, FunctionConfig) else None


def _check_same_run(config: ExperimentConfig, previous: FittedModel | None) -> None:
    """Raise `ValueError` where a fit continues that of another model or optimizer.

    The learning rate may change, unless it is in the optimizer's state, where it was reduced. What
    depends on the length of the run may not be set: it would change with each fit.
    """
    if previous is None:
        return
    if follows_run_length(config) or config.weight_average.follows_run_length:
        raise ValueError(
            "the fit continues another one, but its schedule or its average by swa depends on the "
            "number of epochs, which each fit changes: give the schedule its length, such as "
            "decay_steps, and leave swa out, or fit a clone"
        )
    rate = {} if config.monitor("reduce_on_plateau") else {"learning_rate": None}
    for kind, changes in (("model", {}), ("optimizer", rate)):
        old, new = getattr(previous.requested, kind), getattr(config, kind)
        if (old.name, {**old.hyperparameters, **changes}) != (
            new.name,
            {**new.hyperparameters, **changes},
        ):
            raise ValueError(
                f"the fit continues one of {kind} {old!r}, but it is now {new!r}: set "
                "warm_start=False, or fit a clone"
            )
