"""The masks of a model's outputs in losses and metrics.

A mask says which values count, such as the steps of a padded sequence. A loss of shape [batch,
time] is averaged over the values under the mask; a loss that is one number for the whole batch is
not changed, as in Keras.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainlib.core.graph import depends_on
from trainlib.core.tree import as_floating, leaves_by_path, with_rank
from trainlib.core.types import Tensor, Tree
from trainlib.losses import Masked
from trainlib.losses.by_output import check_one_output
from trainlib.metrics import Mean, Metric
from trainlib.step.state import ModelOutput


def masked(function: Callable[[Any, Any], Tensor], y: Tree, output: ModelOutput) -> Tensor:
    """Return a function's values of each example, as `Masked` where the output has a mask.

    Args:
        function: a loss or a metric, `(y_true, y_pred) -> values`. For a model with several
            outputs it may return `Masked` values, with the masks of the outputs applied already.
        y: the targets, in the structure that the function takes.
        output: result of the model on the batch.

    Raises:
        ValueError: the function uses outputs of different masks, the mask has another shape than
            the values, or the values of several outputs are not those of the examples.
    """
    _check_function(function, output.y_pred)
    values = function(y, output.y_pred)
    if tf.nest.is_nested(output.y_pred):
        _check_rows(values, output.y_pred)
    if output.mask is None or _rank(values) == 0:
        return values
    if tf.nest.is_nested(output.y_pred) and isinstance(values, Masked):
        return values
    mask = _mask_for(function, y, output)
    return values if mask is None else under(mask, values)


def masked_state(
    metric: Metric | Callable[..., Any],
    y: Tree,
    output: ModelOutput,
    *weight: Tensor,
    is_part: bool = False,
) -> Any:
    """Return the state of a metric on a batch, with values outside the output's mask left out.

    Args:
        metric: a `Metric`, or a function `(y_true, y_pred) -> value of each example`.
        y: the targets, in the structure that the metric takes.
        output: result of the model on the batch.
        *weight: the sample weights, [batch, ...], if there are any.
        is_part: whether the batch is a replica's part of a larger batch. Default: False.

    Raises:
        ValueError: the function returns one number for a batch that is a replica's part.
    """
    if not isinstance(metric, Metric):
        values = masked(metric, y, output)
        if is_part and is_whole(values):
            raise ValueError(
                "it is one number for the whole batch, but each replica has only a part of it: "
                "return a value for each example, or train with strategy='one_device'"
            )
        return Mean.from_model_output(values, *weight)
    mask = None if tf.nest.is_nested(output.y_pred) else output.mask
    if mask is None:
        return metric.from_model_output(y, output.y_pred, *weight)
    counted = tf.cast(mask, tf.float32)
    if weight:
        w = as_floating(weight[0], tf.float32)
        rank = max(w.shape.rank, counted.shape.rank)
        counted = with_rank(tf.cast(counted, w.dtype), rank) * with_rank(w, rank)
    return metric.from_model_output(y, output.y_pred, counted)


def under(mask: Tensor, values: Tensor) -> Masked:
    """Return values under a mask, and under the mask that they already have, if any."""
    values, own = values if isinstance(values, Masked) else (tf.convert_to_tensor(values), None)
    mask = tf.cast(mask, tf.bool)
    if mask.shape.rank == values.shape.rank + 1 and mask.shape[-1] == 1:
        mask = tf.squeeze(mask, -1)
    if not mask.shape.is_compatible_with(values.shape[: mask.shape.rank]):
        raise ValueError(
            f"the model's output has a mask of shape {list(mask.shape)}, and the loss or metric "
            f"has values of shape {list(values.shape)}: return a value for each step, of the "
            "mask's shape, or tl.losses.Masked(values, mask)"
        )
    mask = tf.broadcast_to(with_rank(mask, values.shape.rank), tf.shape(values))
    return Masked.where(mask if own is None else mask & own, values)


def _check_function(function: Any, y_pred: Tree) -> None:
    """Raise `ValueError` for several outputs and a function of this library, which takes one."""
    called = function.func if isinstance(function, functools.partial) else function
    of_library = inspect.isfunction(called) and called.__module__.startswith("trainlib.")
    if of_library and tf.nest.is_nested(y_pred):
        check_one_output(called.__name__, y_pred)


def _check_rows(values: Any, y_pred: Tree) -> None:
    """Raise `ValueError` if a function of several outputs has a value for each of these.

    TensorFlow makes one tensor of a list of outputs: a loss of one output, given the list, is
    computed on [outputs, batch, ...] and averaged over the outputs.
    """
    shape = tf.convert_to_tensor(values).shape
    rows = {x.shape[0] for x in tf.nest.flatten(y_pred) if x.shape.rank}
    if shape.rank and shape[0] is not None and not rows & {None, shape[0]}:
        raise ValueError(
            f"the loss or metric has values of shape {list(shape)}, whose first axis is not that "
            "of the examples: a custom function is given all outputs of the model; to apply it to "
            "each output, give it by their names or in a list"
        )


def _mask_for(function: Callable[..., Any], y: Tree, output: ModelOutput) -> Tensor | None:
    """Return the mask of the outputs that a function uses; None if they have none."""
    if not tf.nest.is_nested(output.y_pred):
        return output.mask
    used = _used(function, y, output.y_pred)
    masks = [mask for mask, uses in zip(tf.nest.flatten(output.mask), used, strict=True) if uses]
    if all(mask is None for mask in masks):
        return None
    if len({id(mask) for mask in masks}) == 1:
        return masks[0]
    names = [
        path for (path, _), uses in zip(leaves_by_path(output.y_pred), used, strict=True) if uses
    ]
    raise ValueError(
        f"the outputs {', '.join(names)} have different masks, and one loss or metric function "
        "uses them all: return tl.losses.Masked(values, mask), with those of each output that count"
    )


def _used(function: Callable[..., Any], y: Tree, y_pred: Tree) -> list[bool]:
    """Return for each output whether a function's values depend on it."""
    specs = tf.nest.map_structure(
        lambda x: tf.TensorSpec(x.shape, x.dtype),
        tf.nest.map_structure(tf.convert_to_tensor, (y, y_pred)),
    )
    traced: Any = tf.function(
        lambda y, y_pred: tf.nest.flatten(function(y, y_pred)), autograph=False
    )
    concrete = traced.get_concrete_function(*specs)
    first, count = len(tf.nest.flatten(y)), len(tf.nest.flatten(y_pred))
    inputs = concrete.inputs[first : first + count]
    return [depends_on(concrete.outputs, [x]) for x in inputs]


def is_whole(values: Any) -> bool:
    """Return whether the values of a loss or a metric are one number for the whole batch."""
    return _rank(values) == 0


def _rank(values: Any) -> int | None:
    """Return the number of axes of a function's values."""
    if isinstance(values, Masked):
        values = values.values
    rank: int | None = tf.convert_to_tensor(values).shape.rank
    return rank
