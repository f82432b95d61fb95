"""`TrainlibRegressor`: numbers from a table, by an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array

from trainlib.estimators.base import TrainlibEstimator
from trainlib.estimators.examples import Arrays, TargetNames
from trainlib.estimators.settings import base_config
from trainlib.experiment.dataset_loading import data_dtype

FLOATING = (np.float64, np.float32)
"""Predictions have the dtype of the targets if it is one of these, else the first."""


@dataclass(kw_only=True, eq=False, repr=False)
class TrainlibRegressor(RegressorMixin, TrainlibEstimator):  # type: ignore[misc]
    """Regressor for scikit-learn, trained as `tl.run_experiment` trains a model.

    A parameter that is None has its value in `config`, by default `tl.ExperimentConfig()` with 100
    epochs. A function, such as `optimizer`, is a name, `tl.config(name, ...)` or a dict such as
    {"name": "sgd", "momentum": 0.9}. Its hyperparameters are parameters of the estimator too, such
    as `optimizer__momentum=0.9` or `model__last_width=20`, so that a grid search can vary them.

    Columns are standardized within the model, unless `config` says `preprocess="none"`. Sparse
    inputs, NaN and infinities are refused. An array of more than two axes holds images or
    sequences; uint8 values are scaled to [0, 1]. Fits with the same `random_state` give the same
    results. A search that varies only numbers, such as the learning rate, compiles the training
    step once per process.

    A pickle holds the configuration and the weights but no code: your own functions are stored by
    name, and imported when the estimator is loaded.

    Args:
        model: a name of `tl.models.MODELS`, `module:function`, a function of a module, called with
            (input_shape, outputs), or the path of a `.keras` file. Default: None, "mlp".
        hidden: widths of the hidden layers. Default: None, those of the model: (300, 100).
        depth: number of hidden layers, in place of `hidden`; 0 makes a linear model. Default: None.
        width: units of each hidden layer, with `depth`. Default: None.
        activation: activation of the hidden layers. Default: None, that of the model: "relu".
        batch_norm: whether hidden layers are normalized over the batch. Default: None, they are
            not.
        dropout: fraction of the hidden units that is dropped, in [0, 1). Default: None, 0.
        optimizer: an optimizer of the registry, or `module:function`. Default: None, "adam".
        learning_rate: the learning rate, at least 0, or "auto": found by a range test. Default:
            None, that of the optimizer.
        schedule: a schedule, or a `tl.ScheduleConfig`. Default: None, "constant".
        regularizer: a penalty on the kernels, such as tl.config("l2", l2=1e-4). Default: None.
        loss: a loss. Default: None, "mean_squared_error".
        epochs: passes over the examples, at least 1; with `warm_start` those of each fit. Default:
            None, 100.
        batch_size: examples in a batch, at least 1. Default: None, 32.
        early_stopping: whether training stops when the loss of validation data has not improved,
            and ends with the parameters of the best epoch. Default: False.
        patience: epochs without improvement before training stops, at least 0. Default: 10.
        min_delta: smallest improvement that counts, at least 0. Default: 0.
        validation_fraction: fraction of the examples that is kept for validation,
            in [0, 1). Default: None, 0.1 if validation data are needed, else 0.
        warm_start: whether `fit` continues from the last fit: its model, its optimizer's state and
            its epochs. Default: False.
        random_state: seed of the initial weights, the order of examples, dropout and the validation
            part: an integer from 0 to 2**32 - 1, or a generator that draws one. Default: None, the
            seed of `config`; without a `config` another one at each fit, drawn from NumPy's global
            generator.
        verbose: whether a line is printed after each epoch. Default: 0.
        config: a `tl.ExperimentConfig` with all other settings. Its data set and what it writes
            into files are not used. Default: None.

    Attributes:
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, where `fit` was given a table with text as names.
        n_outputs_: number of targets of an example.
        n_iter_: epochs trained.
        history_: results of each epoch, a dict each.
        loss_curve_: training loss of each epoch.
        loss_: the last of them.
        validation_scores_: R^2 on the validation data, of each epoch; None without
            them, or where `config` chooses other metrics.
        best_validation_score_: the highest of them, or None.

    Example:
        >>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
        >>> regressor = tl.estimators.TrainlibRegressor(
        ...     hidden=(16,), learning_rate=0.01, random_state=0)
        >>> regressor.fit(x, np.abs(x[:, 0])).score(x, np.abs(x[:, 0])) > 0.9
        True
        >>> regressor.set_params(optimizer__beta_1=0.8).optimizer
        config('adam', beta_1=0.8)
    """

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> TrainlibRegressor:
        """Train on examples.

        Args:
            X: inputs, [N, features] or [N, ...], without NaN.
            y: targets, [N] or [N, outputs].
            sample_weight: weights of the examples in the loss, [N]. Default: None, all 1.
            X_val: inputs for validation, in place of `validation_fraction`. Default: None.
            y_val: their targets. Default: None.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: the data or a parameter are malformed.
        """
        previous = getattr(self, "_fitted", None) if self.warm_start else None
        fitted: TrainlibRegressor = self._fit(
            X, y, sample_weight, validation=(X_val, y_val), previous=previous
        )
        return fitted

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> TrainlibRegressor:
        """Train one epoch on these examples, starting from the last fit.

        Args:
            X: inputs, as of `fit`. The first call decides how they are standardized.
            y: targets.
            sample_weight: weights of the examples. Default: None, all 1.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: as of `fit`.
        """
        previous = getattr(self, "_fitted", None)
        fitted: TrainlibRegressor = self._fit(X, y, sample_weight, previous=previous, epochs=1)
        return fitted

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted numbers, [N], or [N, outputs] where `fit` had such targets.

        Args:
            X: inputs, as of `fit`.

        Raises:
            sklearn.exceptions.NotFittedError: the estimator is not fitted.
            ValueError: the inputs are unlike those of `fit`.
        """
        predictions = self._predict(X).astype(self._dtype, copy=False)
        return predictions[:, 0] if self._is_flat else predictions

    def _with_targets(self, arrays: Arrays, reset: bool, classes: Any = None) -> Arrays:
        y = check_array(arrays.y, dtype=FLOATING, ensure_2d=False, input_name="y")
        if reset:
            self._dtype = y.dtype
            self._is_flat, self.n_outputs_ = y.ndim == 1, 1 if y.ndim == 1 else y.shape[1]
        elif (y.ndim == 1) != self._is_flat or (y.ndim > 1 and y.shape[1] != self.n_outputs_):
            raise ValueError(f"y has the shape {y.shape}, but fit had {self.n_outputs_} outputs")
        dtype = data_dtype(base_config(self.config))
        return arrays._replace(y=check_array(y, dtype=dtype, ensure_2d=False, input_name="y"))

    def _target_names(self) -> TargetNames:
        return TargetNames("mean_squared_error")

    def _score_name(self) -> str:
        return "r2_score"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
