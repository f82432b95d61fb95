"""The targets of each loss: their form, and the activation of the model's predictions."""

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
    """Targets of a loss.

    Attributes:
        form: form of the targets: INDEX, a class; ONE_HOT, a row of 0 and 1; NUMBER; or INPUTS,
            those of an autoencoder.
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
"""Targets by loss; losses that are not listed take numbers as they are."""


NUMBER_METRICS = ("regression", "correlation", "base")
"""Modules of `trainlib.metrics` whose metrics take numbers."""


def target_of(loss: str, classes: int = 0) -> Target:
    """Return the targets of a loss; a custom one takes indices of classes, if there are any."""
    if is_spec(loss):
        return Target(INDEX if classes else NUMBER, None)
    return TARGETS.get(loss, Target(NUMBER, None))


def reconstructed(dataset: Dataset) -> Dataset:
    """Return a data set whose targets are its inputs, not yet scaled, in place of its labels."""
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
    """Return whether a loss has a form for logits, which is exact where probabilities round."""
    return loss in FROM_LOGITS


def metric_is_by_class(metric: str) -> bool:
    """Return whether a metric of the registry is one of classes, not of numbers."""
    if metric in registry.LOSSES:
        return target_of(metric).by_class
    module = registry.lookup("metric", metric).__module__
    return module.rpartition(".")[2] not in NUMBER_METRICS


def loss_name(name: str, dataset: Dataset, task: str = AUTO) -> str:
    """Return the name of a loss; for "auto", of the one that suits the task and the data.

    Raises:
        ValueError: a loss or a task for classes, and data with numbers to predict.
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
    """Return targets in a form, of that number of classes."""
    if form == ONE_HOT:
        return np.eye(classes, dtype=np.float32)[y]
    if form in (INPUTS, INDEX) or y.dtype.kind == "f":
        return y
    return y.astype(np.float32)
