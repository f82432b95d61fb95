"""`Examples` and `Dataset`, and pure functions that split them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.image_files import ImageOptions
from trainlib.data.preprocessing import TablePreprocessing

TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""Names of the parts of a data set."""
TEST_FRACTION = 0.2
TEST_SEED = 0


class Examples(NamedTuple):
    """Inputs and targets of N examples.

    Attributes:
        x: inputs [N, ...], uint8 images or floating values; for several inputs, a dict of such
            arrays by name.
        y: targets [N], int32 labels from 0 to classes - 1, or floating for regression; for several
            outputs, a dict of such arrays by name.

    Example:
        >>> examples = tl.data.Examples(np.ones((3, 2), np.float32), np.array([0, 1, 1], np.int32))
        >>> examples.size
        3
    """

    x: Any
    y: Any

    @property
    def size(self) -> int:
        """Number of examples; `len` counts the two fields."""
        first = next(iter(self.x.values())) if isinstance(self.x, Mapping) else self.x
        return int(first.shape[0])


class Dataset(NamedTuple):
    """A data set with its fixed test part.

    Attributes:
        name: key in `DATASETS`, or the name of the file.
        train: examples for training and validation.
        test: examples for the final evaluation; never empty.
        classes: number of classes; 0 for regression.
        x_max: largest possible value of images, such as 255.0; 0.0 for other data, which are
            standardized.
        feature_names: names of the columns of x. Default: (), they have no names.
        class_names: names of the classes. Default: (), they have no names.
        preprocessing: `TablePreprocessing` that made x and y from the columns of a table. Default:
            None, for other data.
        notes: lines on decisions about the data. Default: ().
        guess: the task that "auto" chose, and the reason; "" if the data leave no choice. Default:
            "".
        validation: examples for validation, if the data have such a part. Default: None.
        stratified: whether the test part was split off with the same fraction of each class; a
            validation part is then split off in the same way. Default: False.
        vocabulary: number of different integers in x, if x are sequences of integers [N, steps],
            padded with 0. Default: 0, for other data.
        weights: weights of the training examples in the loss, [N]. Default: None, all are 1.
        stream: `Stream` of the training examples, if they are read again in each epoch; `train`
            then has the first ones. Default: None.
        groups: groups of the training examples, which folds keep together, [N]. Default: None.
        image_options: size, colors and classes of the images of a folder. Default: None.
        output_classes: number of classes of each output, 0 for regression, by name, for several
            outputs; `classes` is that of the first. Default: {}, y is one array.

    Example:
        >>> digits = tl.data.load_dataset("digits")
        >>> digits.name, digits.classes, digits.x_max
        ('digits', 10, 16.0)
    """

    name: str
    train: Examples
    test: Examples
    classes: int
    x_max: float
    feature_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    preprocessing: TablePreprocessing | None = None
    notes: tuple[str, ...] = ()
    guess: str = ""
    validation: Examples | None = None
    stratified: bool = False
    image_options: ImageOptions | None = None
    vocabulary: int = 0
    weights: Array | None = None
    stream: Any = None
    groups: Array | None = None
    output_classes: Mapping[str, int] = {}


def split(examples: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Split examples at random into a training and a validation part.

    The split depends on the seed and the number of examples only: the last round(fraction * N)
    indices of a permutation from `numpy.random.default_rng(seed)` are the validation part. Both
    parts keep the original order.

    Args:
        examples: N examples.
        fraction: fraction of the examples for validation, in [0, 1); 0 gives an empty part.
        seed: an integer of at least 0.

    Returns:
        The training part, never empty, and the validation part.

    Raises:
        ValueError: an argument is out of its range, or no training example would be left.

    Example:
        >>> train, validation = tl.data.split(tl.data.load_dataset("digits").train, 0.1, seed=0)
        >>> train.size, validation.size
        (1294, 144)
    """
    kept, held_out = split_indices(examples.size, fraction, seed)
    return pick(examples, kept), pick(examples, held_out)


def split_indices(total: int, fraction: float, seed: int) -> tuple[Array, Array]:
    """Return the sorted indices of the two parts of `split`. Raises the errors of `split`."""
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction is {fraction}; give a number from 0 to below 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}; give an integer of at least 0")
    kept = total - round(fraction * total)
    if kept < 1:
        raise ValueError(
            f"fraction is {fraction}, which leaves none of {total} examples for training; "
            "give a smaller fraction or more examples"
        )
    order = np.random.default_rng(seed).permutation(total)
    return np.sort(order[:kept]), np.sort(order[kept:])


def split_by_class(labels: Array, fraction: float, seed: int) -> tuple[Array, Array]:
    """Return the sorted indices of the two parts of a stratified split.

    For a class with n examples, fraction * n examples are in the second part, rounded up or down so
    that the parts have the sizes of those of `split_indices`. For a fraction below 1/2 the first
    part has examples of every class.

    Args:
        labels: class of each example, [N].
        fraction: as in `split`.
        seed: as in `split`.

    Raises:
        ValueError: as in `split`.
    """
    total = len(labels)
    kept, held_out = split_indices(total, fraction, seed)
    order = np.random.default_rng(seed).permutation(total)
    share = np.empty(total)  # position of each example among those of its class, in (0, 1)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
    ranked = order[np.argsort(share[order], kind="stable")]
    return np.sort(ranked[: len(kept)]), np.sort(ranked[len(kept) :])


def split_test(examples: Examples, source: str) -> tuple[Examples, Examples]:
    """Split off the fixed test part of a data set that comes without one.

    It is `split(examples, TEST_FRACTION, TEST_SEED)` whatever the seed of the training, so that
    results of different runs can be compared.

    Args:
        examples: all N examples.
        source: name of the file or data set, for messages.

    Returns:
        The training and the test part, neither of them empty.

    Raises:
        ValueError: there are too few examples for a test part.
    """
    kept, held_out = split_test_indices(examples.size, source)
    return pick(examples, kept), pick(examples, held_out)


def split_test_indices(total: int, source: str, labels: Array | None = None) -> tuple[Array, Array]:
    """Return the sorted indices of the two parts of `split_test`; it raises the same.

    Args:
        total: number of examples.
        source: as in `split_test`.
        labels: class of each example, for a stratified split. Default: None, no stratification.
    """
    if labels is None:
        kept, held_out = split_indices(total, TEST_FRACTION, TEST_SEED)
    else:
        kept, held_out = split_by_class(labels, TEST_FRACTION, TEST_SEED)
    if len(held_out) < 1:
        raise ValueError(
            f"{source} has {total} examples, too few to cut off a test part of "
            f"{TEST_FRACTION:.0%}; give at least 3"
        )
    return kept, held_out


def take(examples: Examples, n: int) -> Examples:
    """Return the first n examples, as views of the same arrays.

    Args:
        examples: N examples.
        n: number of examples to take, from 1 to N.

    Returns:
        n examples.

    Raises:
        ValueError: n is below 1 or above N.

    Example:
        >>> tl.data.take(tl.data.load_dataset("digits").train, 100).size
        100
    """
    if not 1 <= n <= examples.size:
        raise ValueError(
            f"n is {n}; give an integer from 1 to {examples.size}, the number of examples"
        )
    return pick(examples, slice(n))


def pick(examples: Examples, indices: Array | slice) -> Examples:
    """Return the examples with the given indices."""
    return Examples(*(_rows(arrays, indices) for arrays in examples))


def _rows(arrays: Any, indices: Array | slice) -> Any:
    """Return rows of an array, or of each array of a dict."""
    if isinstance(arrays, Mapping):
        return {name: array[indices] for name, array in arrays.items()}
    return arrays[indices]
