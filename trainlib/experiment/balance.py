"""Balanced learning: weights of classes, and rarer classes repeated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainlib.core.checks import check_integer
from trainlib.data.cells import is_number
from trainlib.data.labels import first_classes

BALANCED = "balanced"


def labels_of(y: np.ndarray) -> np.ndarray:
    """Return the class of each example, of indices or of rows of 0 and 1."""
    return y if y.ndim == 1 else y.argmax(axis=1)


def balanced_weights(labels: np.ndarray) -> dict[int, float]:
    """Return the weights with which every class has the same total weight.

    The weight of a class with n of N examples is N / (K n), where K is the number of classes that
    occur, as in scikit-learn. The mean weight of the examples is 1.

    Args:
        labels: class of each example, [N].
    """
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


def parse_class_weights(
    text: str, classes: int, names: Sequence[str], source: str
) -> dict[int, float]:
    """Return the weights that a text such as `0:2,3:0.5` or `cat:2,dog:0.5` holds.

    Args:
        text: the text.
        classes: number of classes.
        names: their names as the data have them; () where they are numbered.
        source: name of the data set, for messages.

    Raises:
        ValueError, TypeError: a class that does not exist, or a weight that is no number.
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
    """Return indices of examples, sorted, among which every class is as frequent as the largest.

    The examples of a rarer class are repeated as often as possible; which ones are repeated once
    more is drawn.

    Args:
        labels: class of each example, [N].
        seed: an integer of at least 0.
    """
    generator = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    chosen = []
    for label in classes:
        members = np.flatnonzero(labels == label)
        times, rest = divmod(int(counts.max()), len(members))
        chosen += [np.tile(members, times), generator.permutation(members)[:rest]]
    return np.sort(np.concatenate(chosen))
