"""`TrainlibClassifier`: classes from a table, by an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from trainlib.core.checks import first_of
from trainlib.estimators.base import TrainlibEstimator
from trainlib.estimators.examples import Arrays, TargetNames
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, full_name
from trainlib.experiment.targets import target_of

CROSS_ENTROPY, BINARY_CROSS_ENTROPY = "sparse_categorical_crossentropy", "binary_crossentropy"
PROBABILITIES = ("softmax", "sigmoid")


def _gives_probabilities(estimator: Any) -> bool:
    """Return whether the loss of an estimator is one of probabilities.

    Raises:
        AttributeError: it is not.
    """
    loss = loss_of(estimator)
    if loss == AUTO or target_of(loss).activation in PROBABILITIES:
        return True
    raise AttributeError(f"predict_proba is for losses of probabilities, which {loss} is not")


@dataclass(kw_only=True, eq=False, repr=False)
class TrainlibClassifier(ClassifierMixin, TrainlibEstimator):  # type: ignore[misc]
    """Classifier for scikit-learn, trained as `tl.run_experiment` trains a model.

    Targets are classes of any type, one per example; or rows of 0 and 1, if an example may have
    several classes (labels).

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
        loss: a loss. Default: None, "sparse_categorical_crossentropy", or
            "binary_crossentropy" for labels.
        epochs: passes over the examples, at least 1; with `warm_start` those of each fit. Default:
            None, 100.
        batch_size: examples in a batch, at least 1. Default: None, 32.
        early_stopping: whether training stops when the loss of validation data has not improved,
            and ends with the parameters of the best epoch. Default: False.
        patience: epochs without improvement before training stops, at least 0. Default: 10.
        min_delta: smallest improvement that counts, at least 0. Default: 0.
        validation_fraction: fraction of the examples that is kept for validation, with its share of
            each class,
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
        class_weight: weights of the classes, {class: weight}, others having 1; or "balanced": every
            class has the same total weight. They multiply `sample_weight`; validation examples have
            none. Default: None, all 1.

    Attributes:
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, where `fit` was given a table with text as names.
        classes_: the classes, sorted; for labels their numbers.
        n_iter_: epochs trained.
        history_: results of each epoch, a dict each.
        loss_curve_: training loss of each epoch.
        loss_: the last of them.
        validation_scores_: accuracy on the validation data, of each epoch; None without
            them, or where `config` chooses other metrics.
        best_validation_score_: the highest of them, or None.

    Example:
        >>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
        >>> y = np.where(x[:, 0] > 0, "up", "down")
        >>> classifier = tl.estimators.TrainlibClassifier(
        ...     hidden=(16,), learning_rate=0.01, random_state=0)
        >>> classifier.fit(x, y).predict([[-0.5], [0.5]]).tolist()
        ['down', 'up']
        >>> classifier.predict_proba(x).shape
        (64, 2)
    """

    class_weight: Mapping[Any, float] | str | None = None

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> TrainlibClassifier:
        """Train on examples.

        Args:
            X: inputs, [N, features] or [N, ...], without NaN.
            y: classes of any type, [N]; or rows of 0 and 1, [N, labels].
            sample_weight: weights of the examples in the loss, [N]. Default: None, all 1.
            X_val: inputs for validation, in place of `validation_fraction`. Default: None.
            y_val: their classes. Default: None.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: the data or a parameter are malformed.
        """
        previous = getattr(self, "_fitted", None) if self.warm_start else None
        fitted: TrainlibClassifier = self._fit(
            X, y, sample_weight, validation=(X_val, y_val), previous=previous
        )
        return fitted

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> TrainlibClassifier:
        """Train one epoch on these examples, starting from the last fit.

        Args:
            X: inputs, as of `fit`. The first call decides how they are standardized.
            y: classes.
            classes: all classes, including those of later calls. Required in the first call; in
                later ones the same, or None. Default: None.
            sample_weight: weights of the examples. Default: None, all 1.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: as of `fit`; the first call has no classes, or a later one
                others.
        """
        previous = getattr(self, "_fitted", None)
        if previous is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if self.class_weight == "balanced":
            raise ValueError("class_weight='balanced' needs all data: give a dict to partial_fit")
        fitted: TrainlibClassifier = self._fit(
            X, y, sample_weight, previous=previous, epochs=1, classes=classes
        )
        return fitted

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each example, or rows of 0 and 1 for labels.

        Args:
            X: inputs, as of `fit`.

        Raises:
            sklearn.exceptions.NotFittedError: the estimator is not fitted.
            ValueError: the inputs are unlike those of `fit`.
        """
        scores = self._predict(X)
        if self._label_dtype is None:
            classes: np.ndarray = self.classes_[scores.argmax(axis=1)]
            return classes
        threshold = 0.5 if hasattr(self, "predict_proba") else 0.0
        labels: np.ndarray = (scores > threshold).astype(self._label_dtype)
        return labels

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, [N, classes], in the order of `classes_`.

        Losses that take no probabilities, such as "hinge", do not have it.

        Args:
            X: inputs, as of `fit`.

        Raises:
            sklearn.exceptions.NotFittedError: the estimator is not fitted.
            ValueError: the inputs are unlike those of `fit`.
        """
        scores = self._predict(X)
        if self._label_dtype is not None or self._activation == "softmax":
            return scores
        probabilities: np.ndarray = scores / scores.sum(axis=1, keepdims=True)
        return probabilities  # of each class against the rest

    def _with_targets(self, arrays: Arrays, reset: bool, classes: Any = None) -> Arrays:
        kind = check_labels(arrays.y)
        if kind == "multilabel-indicator":
            return self._with_labels(arrays, reset)
        y = column_or_1d(arrays.y, warn=True)
        if reset:
            self.classes_ = np.unique(y if classes is None else classes)
            self._label_dtype: np.dtype[Any] | None = None
        elif self._label_dtype is not None:
            raise ValueError("y has one class for each example, but fit had rows of 0 and 1")
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes is {np.unique(classes).tolist()}, but the first fit had "
                f"{self.classes_.tolist()}: give the same, or leave it out"
            )
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has the classes {list(unknown)}, which fit did not know")
        check_several_classes(self.classes_, y, arrays.weights)
        return arrays._replace(y=np.searchsorted(self.classes_, y).astype(np.int32))

    def _with_labels(self, arrays: Arrays, reset: bool) -> Arrays:
        """Return examples of which each may have several classes."""
        y = arrays.y.toarray() if hasattr(arrays.y, "toarray") else arrays.y
        if reset:
            self.classes_, self._label_dtype = np.arange(y.shape[1]), y.dtype
        elif self._label_dtype is None or y.shape[1] != len(self.classes_):
            raise ValueError(f"y has {y.shape[1]} labels, unlike the targets of fit")
        return arrays._replace(y=y.astype(np.float32))

    def _with_class_weights(self, arrays: Arrays) -> Arrays:
        if self.class_weight is None:
            return arrays
        if self._label_dtype is not None:
            raise ValueError("class_weight is for one class of each example: give sample_weight")
        if isinstance(self.class_weight, Mapping):
            factors = class_factors(self.class_weight, self.classes_)[arrays.y]
        else:
            factors = compute_sample_weight(self.class_weight, arrays.y)
        weights = factors if arrays.weights is None else factors * arrays.weights
        check_several_classes(self.classes_, arrays.y, weights)
        return arrays._replace(weights=weights)

    def _target_names(self) -> TargetNames:
        labels = self._label_dtype is not None
        loss = BINARY_CROSS_ENTROPY if labels else CROSS_ENTROPY
        return TargetNames(loss, tuple(map(str, self.classes_)), labels)

    def _score_name(self) -> str:
        return "accuracy" if self._label_dtype is None else "binary_accuracy"

    @property
    def _activation(self) -> str | None:
        """The activation of the model's outputs."""
        loss = self._fitted.config.loss.name
        return target_of(self._target_names().loss if loss == AUTO else loss).activation

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def loss_of(estimator: Any) -> str:
    """Return the name of the loss of an estimator, fitted or not, valid or not."""
    base = estimator.config.loss.name if isinstance(estimator.config, ExperimentConfig) else AUTO
    value = base if estimator.loss is None else estimator.loss
    name: Any = value.get("name") if isinstance(value, Mapping) else value
    try:
        return full_name("loss", getattr(name, "name", name))
    except (TypeError, ValueError, AttributeError):
        return AUTO


def class_factors(class_weight: Mapping[Any, float], classes: np.ndarray) -> np.ndarray:
    """Return the weight of each class, 1 for one without a weight.

    Raises:
        ValueError: there is no such class.
    """
    indices = {name: i for i, name in enumerate(classes)}
    factors = np.ones(len(classes))
    for name, weight in class_weight.items():
        if name not in indices:
            shown = first_of([repr(x) for x in classes.tolist()], 8)
            raise ValueError(f"class_weight: there is no class {name!r}; the classes are {shown}")
        factors[indices[name]] = weight
    return factors


def check_labels(y: Any) -> str:
    """Return the kind of classes, as scikit-learn names it.

    Raises:
        ValueError: they are numbers, or several classes of several kinds.
    """
    check_classification_targets(y)
    kind: str = type_of_target(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y has several columns of classes: wrap the estimator in "
            "sklearn.multioutput.MultiOutputClassifier, or give rows of 0 and 1"
        )
    return kind


def check_several_classes(classes: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
    """Raise `ValueError` where there is one class only."""
    if len(classes) < 2:
        raise ValueError(f"y has 1 class, {classes[0]!r}; a classifier needs at least 2 classes")
    if weights is not None and len(np.unique(y[weights > 0])) < 2 <= len(np.unique(y)):
        raise ValueError(
            "sample_weight leaves examples of 1 class; there must be at least 2 classes"
        )
