"""The form of the targets of each loss, and the activation of the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import trainlib.registry as registry
from trainlib.data import Dataset, Examples
from trainlib.data.labels import CLASSIFICATION, REGRESSION
from trainlib.experiment.functions import AUTO
from trainlib.losses.names import FROM_LOGITS
from trainlib.user_code import is_spec

INDEX, ONE_HOT, NUMBER, INPUTS = "index", "one_hot", "number", "inputs"


class Target(NamedTuple):
    """Form of the targets of a loss.

    Attributes:
        form: INDEX, a class index; ONE_HOT, a row of 0 and 1; NUMBER; or INPUTS, the inputs of an
            autoencoder.
        activation: activation that turns the outputs of the model's last layer into predictions;
            None for none.
    """

    form: str
    activation: str | None

    @property
    def by_class(self) -> bool:
        """Whether the targets are classes."""
        return self.form in (INDEX, ONE_HOT)


TARGETS: Mapping[str, Target] = {
    "sparse_categorical_crossentropy": Target(INDEX, "softmax"),
    "categorical_crossentropy": Target(ONE_HOT, "softmax"),
    "categorical_focal_crossentropy": Target(ONE_HOT, "softmax"),
    "categorical_generalized_cross_entropy": Target(INDEX, "softmax"),
    "kl_divergence": Target(ONE_HOT, "softmax"),
    "dice": Target(ONE_HOT, "softmax"),
    "tversky": Target(ONE_HOT, "softmax"),
    "binary_crossentropy": Target(ONE_HOT, "sigmoid"),
    "binary_focal_crossentropy": Target(ONE_HOT, "sigmoid"),
    "hinge": Target(ONE_HOT, None),
    "squared_hinge": Target(ONE_HOT, None),
    "categorical_hinge": Target(ONE_HOT, None),
    "cosine_similarity": Target(ONE_HOT, None),
    "poisson": Target(NUMBER, "softplus"),
}
"""Targets by loss; the other losses take numbers, without an activation."""


NUMBER_METRICS = ("regression", "correlation", "base")
"""Modules of `trainlib.metrics` with metrics of numbers."""


def target_of(loss: str, classes: int = 0) -> Target:
    """Return the targets of a loss; a custom loss takes class indices if there are classes."""
    if is_spec(loss):
        return Target(INDEX if classes else NUMBER, None)
    return TARGETS.get(loss, Target(NUMBER, None))


def reconstructed(dataset: Dataset) -> Dataset:
    """Return a data set whose targets are its inputs, not yet scaled."""
    train, test, held_out = dataset.train, dataset.test, dataset.validation
    return dataset._replace(
        train=Examples(train.x, train.x),
        test=Examples(test.x, test.x),
        validation=held_out and Examples(held_out.x, held_out.x),
        classes=0,
        class_names=(),
        stratified=False,
        guess="",
        output_classes={},
    )


def takes_logits(loss: str) -> bool:
    """Return whether a loss can be computed from logits, which is more exact."""
    return loss in FROM_LOGITS


def metric_is_by_class(metric: str) -> bool:
    """Return whether a metric of the registry takes classes, and not numbers."""
    if metric in registry.LOSSES:
        return target_of(metric).by_class
    module = registry.lookup("metric", metric).__module__
    return module.rpartition(".")[2] not in NUMBER_METRICS


def loss_name(name: str, dataset: Dataset, task: str = AUTO) -> str:
    """Return the name of a loss; "auto" is resolved by the task and the data.

    Raises:
        ValueError: the loss or the task is for classes, but the targets are numbers.
    """
    if task == CLASSIFICATION and not dataset.classes:
        raise ValueError(f"task is {task}, but {dataset.name} has numbers to predict")
    if name == AUTO:
        by_class = dataset.classes and task != REGRESSION
        return "sparse_categorical_crossentropy" if by_class else "mean_squared_error"
    if target_of(name, dataset.classes).by_class and not dataset.classes:
        raise ValueError(f"loss {name} is for classes, but {dataset.name} has numbers to predict")
    return name


def form_of(y: Any, form: str, classes: int) -> Any:
    """Return targets in a form, given the number of classes."""
    if form == ONE_HOT:
        return np.eye(classes, dtype=np.float32)[y]
    if form in (INPUTS, INDEX) or y.dtype.kind == "f":
        return y
    return y.astype(np.float32)
