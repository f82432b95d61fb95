"""The forms that data and batches have, as tuples of arrays of numbers.

NumPy arrays, tensors of TensorFlow and PyTorch, and pandas's tables and columns are arrays. A pair
is (x, y) or (x, y, sample_weight), where x and y may be structures of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tree
from trainlib.losses import class_weights
from trainlib.training.chunks import as_numbers, map_tree

Reader: TypeAlias = Callable[[str, Any], tuple[Any, ...]]
"""`(name, data) -> arrays`: reads data or a batch; the name is for error messages."""


def is_array(x: Any) -> bool:
    """Return whether an object is one array."""
    return isinstance(x, (np.ndarray, tf.Tensor, tf.RaggedTensor, tf.SparseTensor)) or hasattr(
        x, "__array__"
    )


def read_pair(name: str, data: Any) -> tuple[Any, ...]:
    """Return (x, y) or (x, y, sample_weight), given as a tuple or a list, as a tuple of arrays.

    Weights of shape [batch, 1] or [batch, time, 1] lose their last axis, as in Keras; weights of
    None are left out.

    Raises:
        TypeError: the data are something else.
    """
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        sized = isinstance(data, (tuple, list))
        got = f"a {type(data).__name__} of {len(data)}" if sized else type(data).__name__
        how = ": pass arrays as one tuple, as in fit((x, y))" if is_array(data) else ""
        raise TypeError(f"{name} must be (x, y) or (x, y, sample_weight), got {got}{how}")
    x, y, *weight = (map_tree(lambda a: as_array(name, a), part) for part in data)
    if not weight or weight[0] is None:
        return x, y
    return x, y, map_tree(_without_last_axes_of_one, weight[0])


def read_inputs(name: str, data: Any) -> tuple[Any, ...]:
    """Return the inputs x of a batch x, (x,), (x, y) or (x, y, sample_weight) as a tuple (x,).

    Raises:
        TypeError: the batch is something else.
    """
    if isinstance(data, (tuple, list)):
        if len(data) not in (1, 2, 3):
            raise TypeError(
                f"{name} must be x, (x, y) or (x, y, sample_weight), got "
                f"a {type(data).__name__} of {len(data)}: write ((x1, x2, ...),) for several inputs"
            )
        data = data[0]
    return (map_tree(lambda a: as_array(name, a), data),)


def as_array(name: str, array: Any) -> Any:
    """Return a tensor of PyTorch, or a table or column of pandas, as a NumPy array.

    A column has the shape [n, 1], as in Keras. Other objects are returned as they are.

    Raises:
        TypeError: a column of a table does not hold numbers, or the array is ragged or sparse.
    """
    if type(array) is np.ndarray:
        return array
    if isinstance(array, (tf.RaggedTensor, tf.SparseTensor)):
        raise not_dense(name, type(array).__name__)
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        # NumPy has no bfloat16, all of whose values float32 has.
        return (array.float() if str(array.dtype) == "torch.bfloat16" else array).numpy()
    if type(array).__module__.partition(".")[0] == "pandas":
        return _from_pandas(name, array)
    return array


def not_dense(name: str, kind: str, example: str = "") -> TypeError:
    """Return the error for a ragged or sparse tensor.

    Args:
        name: name of the argument.
        kind: "RaggedTensor" or "SparseTensor".
        example: code that converts it, with "{dense}" for the converted x. Default: "", none.
    """
    dense = "x.to_tensor()" if kind == "RaggedTensor" else "tf.sparse.to_dense(x)"
    how = f", as in {example.format(dense=dense)}" if example else ""
    return TypeError(f"{name} must be arrays of numbers, got a {kind}: convert it by {dense}{how}")


def _from_pandas(name: str, table: Any) -> np.ndarray:
    """Return a table or a column of pandas as an array of two axes."""
    columns = table if table.ndim == 2 else _as_series(table).to_frame()
    for column, dtype in columns.dtypes.items():
        if dtype.kind not in "biuf":
            raise TypeError(
                f"{name} must be arrays of numbers, but column {column!r} has dtype {dtype}: "
                "encode it as numbers, or leave it out"
            )
    array: np.ndarray = columns.to_numpy()
    if array.dtype == object:  # columns of several kinds, or with missing values
        array = columns.to_numpy(dtype="float64", na_value=np.nan)
    return array


def _as_series(column: Any) -> Any:
    """Return a column of pandas as a `Series`; it may be an array of nullable numbers."""
    import pandas

    return pandas.Series(column)


def _without_last_axes_of_one(weight: Any) -> Any:
    """Return weights of shape [batch, ..., 1] without that axis."""
    weight = weight if hasattr(weight, "shape") else np.asarray(weight)
    while len(weight.shape) > 1 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    return weight


def class_factors(name: str, y: Tree, class_weight: Mapping[int, float]) -> np.ndarray:
    """Return the weight of each example by its class.

    Args:
        name: name of the argument, for error messages.
        y: the targets: class indices [batch] or [batch, 1], or one-hot [batch, K].
        class_weight: weights by class index; a class without a weight has weight 1.
    """
    factors: np.ndarray = class_weights(_class_targets(name, y), class_weight).numpy()
    return factors


def weighted(factors: np.ndarray, weight: Any = None) -> np.ndarray:
    """Return factors of the examples times their weights, [batch] or [batch, time]."""
    if weight is None:
        return factors
    given = np.asarray(weight)
    product: np.ndarray = given * factors.reshape([-1] + [1] * (given.ndim - 1))
    return product


def _class_targets(name: str, y: Tree) -> np.ndarray:
    """Return targets whose classes are known: [batch], [batch, 1], or one-hot [batch, K].

    Raises:
        ValueError: they are something else.
    """
    problem = "has several outputs" if tf.nest.is_nested(y) else ""
    targets: np.ndarray = np.zeros(1) if problem else np.asarray(as_numbers(name, y, True))
    rows = targets.ndim == 2 and targets.shape[1] > 1
    if rows:
        if not (np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all()):
            problem = f"of shape {list(targets.shape)} is not one-hot"
    elif targets.ndim > 2:
        problem = f"has the shape {list(targets.shape)}"
    elif not np.array_equal(targets, np.round(targets)):
        problem = "holds numbers that are not classes"
    if problem:
        raise ValueError(
            f"class_weight needs classes of shape [batch], [batch, 1] or one-hot [batch, K], but "
            f"y of {name} {problem}: pass (x, y, sample_weight) instead"
        )
    return targets
