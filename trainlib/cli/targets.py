"""What each loss is given: the form of the targets, and what the model's outputs go through."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

import trainlib.registry as registry
from trainlib.data import Dataset, Examples

INDEX, ONE_HOT, NUMBER = "index", "one_hot", "number"


class Target(NamedTuple):
    """form: INDEX (a class), ONE_HOT (a row of 0 and 1) or NUMBER.

    activation: what makes the model's predictions of its last layer's outputs; None for nothing.
    """

    form: str
    activation: str | None

    @property
    def by_class(self) -> bool:
        """Whether the targets are classes."""
        return self.form != NUMBER


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
"""By loss; those that are not here take numbers as they are."""


def target_of(loss: str) -> Target:
    """What a loss is given."""
    return TARGETS.get(loss, Target(NUMBER, None))


def takes_logits(loss: str) -> bool:
    """Whether the loss can be given what the model's last layer puts out, and is exact on it."""
    return "from_logits" in inspect.signature(registry.lookup("loss", loss)).parameters


def loss_name(name: str, dataset: Dataset) -> str:
    """The loss, where "auto" stands for the one that suits the data."""
    if name == "auto":
        return "sparse_categorical_crossentropy" if dataset.classes else "mean_squared_error"
    registry.lookup("loss", name)
    if target_of(name).by_class and not dataset.classes:
        raise ValueError(f"loss {name} is for classes, but {dataset.name} has numbers to predict")
    return name


def in_form(examples: Examples, form: str, dataset: Dataset) -> Examples:
    """The examples with their targets in that form."""
    if form == ONE_HOT:
        return examples._replace(y=np.eye(dataset.classes, dtype=np.float32)[examples.y])
    return examples if form == INDEX else examples._replace(y=np.float32(examples.y))
