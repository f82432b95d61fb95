"""The record types of the data room and the pure functions that cut them into parts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TEST_FRACTION = 0.2
TEST_SEED = 0


class Examples(NamedTuple):
    """Inputs and what is to be predicted from them, in the same order.

    Attributes:
        x: inputs [N, ...]; uint8 images or float32 values.
        y: labels int32 [N] from 0 to classes - 1, or float32 [N] for regression.
    """

    x: Array
    y: Array

    @property
    def size(self) -> int:
        """The number of examples; `len` would count the two fields."""
        return int(self.x.shape[0])


class Dataset(NamedTuple):
    """A data set with its fixed test part.

    Attributes:
        name: the registered name, or the file name of the user's own data.
        train: the examples to train (and validate) on.
        test: the examples kept for the final evaluation; never empty.
        classes: the number of classes, 0 for regression.
        x_max: the largest value x can take where x are images (255.0, 16.0), or 0.0 for other
            data, whose features want standardizing.
        feature_names: the names of the columns of x, or () where they have none.
        class_names: the names of the classes, or () where they have none but their numbers.
    """

    name: str
    train: Examples
    test: Examples
    classes: int
    x_max: float
    feature_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()


def split(examples: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Cut examples at random into a training and a validation part.

    The result depends on the seed and on the number of examples only: the last
    round(fraction * N) places of a permutation drawn from `numpy.random.default_rng(seed)` are
    the validation part. Both parts keep the original order.

    Args:
        examples: N examples.
        fraction: the validation share, 0 <= fraction < 1; 0 gives an empty validation part.
        seed: a whole number, 0 or larger.

    Returns:
        The training part (never empty) and the validation part.

    Raises:
        ValueError: an argument is outside its range, or no training example would be left.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction is {fraction}; give a number from 0 to below 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}; give a whole number of 0 or larger")
    total = examples.size
    kept = total - round(fraction * total)
    if kept < 1:
        raise ValueError(
            f"fraction is {fraction}, which leaves none of {total} examples for training; "
            "give a smaller fraction or more examples"
        )
    order = np.random.default_rng(seed).permutation(total)
    return _pick(examples, order[:kept]), _pick(examples, order[kept:])


def split_test(examples: Examples, source: str) -> tuple[Examples, Examples]:
    """Cut off the fixed test part of a data set that comes without one.

    The part is `split(examples, TEST_FRACTION, TEST_SEED)`, whatever seed the user trains with,
    so that results on it can be compared between runs.

    Args:
        examples: all N examples.
        source: the file or data set to name in an error.

    Returns:
        The training and the test part, neither of them empty.

    Raises:
        ValueError: there are too few examples for a test part.
    """
    train, test = split(examples, TEST_FRACTION, TEST_SEED)
    if test.size < 1:
        raise ValueError(
            f"{source} has {examples.size} examples, too few to cut off a test part of "
            f"{TEST_FRACTION:.0%}; give at least 3"
        )
    return train, test


def take(examples: Examples, n: int) -> Examples:
    """Return the first n examples, as views of the same arrays.

    Raises:
        ValueError: n is not within 1 to the number of examples.
    """
    if not 1 <= n <= examples.size:
        raise ValueError(f"n is {n}; give a whole number from 1 to {examples.size}, all there are")
    return Examples(examples.x[:n], examples.y[:n])


def _pick(examples: Examples, places: npt.NDArray[np.int64]) -> Examples:
    ordered = np.sort(places)
    return Examples(examples.x[ordered], examples.y[ordered])
