"""Balanced classes: class weights, and oversampling of rare classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainlib.core.checks import check_integer
from trainlib.data.cells import is_number
from trainlib.data.labels import first_classes

BALANCED = "balanced"


def labels_of(y: np.ndarray) -> np.ndarray:
    """Return the class of each example, given class indices or one-hot rows."""
    return y if y.ndim == 1 else y.argmax(axis=1)


def balanced_weights(labels: np.ndarray) -> dict[int, float]:
    """Return class weights that give every class the same total weight, as in scikit-learn.

        w_k = N / (K n_k)

    for a class with n_k of N examples and K classes that occur. The mean weight of an example is 1.

    Args:
        labels: class of each example, [N].
    """
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


def parse_class_weights(
    text: str, classes: int, names: Sequence[str], source: str
) -> dict[int, float]:
    """Return the class weights in text such as `0:2,3:0.5` or `cat:2,dog:0.5`.

    Args:
        text: comma-separated weights, each as class:weight.
        classes: number of classes.
        names: names of the classes in the data; () if the classes are numbers.
        source: name of the data set, for messages.

    Raises:
        ValueError, TypeError: a class does not exist, or a weight is not a number.
    """
    weights = {}
    index = {name: k for k, name in enumerate(names)}
    numbered = all(map(is_number, index))
    for part in text.split(","):
        name, _, weight = part.rpartition(":")
        # Where the classes are numbers such as 1 and 2, "0" is not the index of the class 1.
        if index and name and name not in index and (numbered or not name.isdigit()):
            raise ValueError(
                f"class_weight: {source} has no class {name!r}; its classes are "
                f"{first_classes(list(index))}"
            )
        try:
            k, value = index[name] if name in index else int(name), float(weight)
        except ValueError:
            raise ValueError(
                f"class_weight must be {BALANCED} or comma-separated class:weight, such as "
                f"0:2,3:0.5, got {text!r}"
            ) from None
        if k in weights:
            raise ValueError(f"class_weight has two weights of class {name}: give one")
        weights[k] = value
    for k in weights:
        check_integer("a class of class_weight", k, at_least=0, at_most=classes - 1)
    return weights


def oversampled(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return sorted indices of examples in which all classes are as frequent as the largest one.

    All examples of a rarer class are repeated equally often; of the remainder a random choice is
    repeated once more.

    Args:
        labels: class of each example, [N].
        seed: seed of the random choice, an integer of at least 0.
    """
    generator = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    chosen = []
    for label in classes:
        members = np.flatnonzero(labels == label)
        times, rest = divmod(int(counts.max()), len(members))
        chosen += [np.tile(members, times), generator.permutation(members)[:rest]]
    return np.sort(np.concatenate(chosen))
