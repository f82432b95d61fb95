"""Reductions of the losses of a batch to one number, with weights of examples and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.core.tree import widen, with_rank
from trainlib.core.types import Tensor
from trainlib.losses.masked import Masked

REDUCTIONS = ("sum_over_batch_size", "mean_with_sample_weight", "sum", "none")


def weighted_sum(values: Tensor, sample_weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sum the losses of a batch and their weights.

    The pairs of the parts of a batch add up to the pair of the batch, however unequal the parts;
    the division is made once, at the end.

    Args:
        values: losses of shape [batch, ...]; `Masked` losses have weight 0 outside the mask. A
            scalar, the loss of the whole batch, has weight 1 for any batch size.
        sample_weight: shape [batch], or the shape of values. The weight of an example is the weight
            of each of its values. Default: None, a weight of 1.

    Returns:
        The pair (sum of weight times value, sum of weights), both scalars.

    Raises:
        ValueError: the weights have another shape, or the loss is a scalar and has weights for its
            examples.

    Example:
        >>> total, weight = tl.losses.weighted_sum([1.0, 2.0], sample_weight=[1.0, 3.0])
        >>> float(total), float(weight)
        (7.0, 4.0)
    """
    if sample_weight is None and not isinstance(values, Masked):
        values = widen(values)
        return tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype)
    losses, weight = _weighted(values, sample_weight)
    return tf.reduce_sum(weight * losses), tf.reduce_sum(weight)


def per_example(total: Tensor, values: Tensor) -> Tensor:
    """Divide a sum over a batch's values of shape [batch, ...] by their number for an example.

    Batches of sequences of different lengths then count by their examples, as in Keras.
    """
    shape = (values.values if isinstance(values, Masked) else tf.convert_to_tensor(values)).shape
    if shape.rank is not None and shape.rank < 2:
        return total
    number = shape[1:].num_elements()
    if number == 1:
        return total
    if number is None:
        number = tf.reduce_prod(tf.shape(values)[1:])
    return tf.math.divide_no_nan(total, tf.cast(number, total.dtype))


def reduce(
    values: Tensor,
    sample_weight: Tensor | None = None,
    reduction: str = "sum_over_batch_size",
) -> Tensor:
    """Reduce the losses of a batch to one number, as Keras does.

        sum_over_batch_size        sum w l / (number of losses that count)
        mean_with_sample_weight    sum w l / sum w, 0 if the weights are 0
        sum                        sum w l
        none                       w l

    Args:
        values: l, losses of shape [batch, ...]; of `Masked` losses those under the mask count.
        sample_weight: w, of shape [batch] or the shape of l. Default: None, a weight of 1.
        reduction: one of the four above. Default: "sum_over_batch_size".

    Returns:
        A scalar; for "none", the weighted losses.

    Raises:
        ValueError: the reduction is unknown or the weights have another shape.

    Example:
        >>> losses, weights = [1.0, 2.0], [1.0, 3.0]
        >>> float(tl.losses.reduce(losses, weights))
        3.5
        >>> float(tl.losses.reduce(losses, weights, "mean_with_sample_weight"))
        1.75

    Differences:
        Keras: weights of shape [batch] for losses of shape [batch, ...] are applied to the last
            axis or rejected.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        losses, weight = _weighted(values, sample_weight)
        return weight * losses
    total, weight = weighted_sum(values, sample_weight)
    if reduction == "sum":
        return total
    if reduction == "sum_over_batch_size":
        _, weight = weighted_sum(values)
    return tf.math.divide_no_nan(total, weight)


def class_weights(
    y_true: Tensor,
    weights: Mapping[int, float] | Sequence[float],
    *,
    one_hot: bool | None = None,
    dtype: str = "float32",
) -> Tensor:
    """Look up the weight of each example by its class, to be multiplied with other sample weights.

    Reduced by "sum_over_batch_size" this is Keras's `class_weight`; reduced by
    "mean_with_sample_weight", as in the steps of this library, PyTorch's
    `CrossEntropyLoss(weight)`.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, 1], integers in any dtype; or rows of
            shape [batch, ..., K], whose largest element marks the class.
        weights: class -> weight, or a sequence of weights of the classes 0, 1, ...; at least 0. A
            class without a weight, such as an ignored class -1, has weight 1.
        one_hot: whether y_true holds rows. Default: None, True if y_true has two axes or more and
            the last is not of length 1; give False for indices of shape [batch, time].
        dtype: dtype of the result. Default: "float32".

    Returns:
        Weights of shape [batch, ...], without the last axis of rows or an axis of length 1.

    Raises:
        TypeError, ValueError: a class is not an integer, or a weight is negative or not a number.

    Example:
        >>> tl.losses.class_weights([0, 1, 1, 2], {0: 2.0, 1: 0.5}).numpy()
        array([2. , 0.5, 0.5, 1. ], dtype=float32)

    Differences:
        Keras: a last axis of length 2 or more always counts as rows.
    """
    y = tf.convert_to_tensor(y_true)
    rows = y.shape.rank > 1 and y.shape[-1] != 1 if one_hot is None else one_hot
    if rows:
        y = tf.argmax(y, axis=-1)
    elif y.shape.rank > 1 and y.shape[-1] == 1:
        y = tf.squeeze(y, axis=-1)
    if y.dtype.is_floating:
        y = tf.round(y)
    table = dict(weights) if isinstance(weights, Mapping) else dict(enumerate(weights))
    for c, weight in table.items():
        check_integer("a class of weights", c, at_least=-(2**31), at_most=2**31 - 1)
        check_number(f"the weight of class {c}", weight, at_least=0)
    classes = tf.constant(list(table), tf.int64, [len(table)])
    values = tf.constant([float(weight) for weight in table.values()], dtype, [len(table)])
    same = tf.cast(y, tf.int64)[..., tf.newaxis] == classes
    chosen = tf.reduce_sum(tf.where(same, values, tf.zeros_like(values)), axis=-1)
    return tf.where(tf.reduce_any(same, axis=-1), chosen, tf.ones_like(chosen))


def _weighted(values: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the losses and their weights in one shape, both 0 where a loss does not count."""
    losses = widen(values)
    zeros, weight = tf.zeros_like(losses), tf.ones_like(losses)
    if sample_weight is None and not isinstance(values, Masked):
        return losses, weight
    if sample_weight is not None:
        weight = _spread(tf.cast(sample_weight, losses.dtype), losses)
    if isinstance(values, Masked):
        weight = tf.where(values.mask, weight, zeros)
    return tf.where(tf.equal(weight, 0), zeros, losses), weight  # 0 inf would be NaN


def _spread(weight: Tensor, values: Tensor) -> Tensor:
    """Broadcast the weights of examples to the shape of the values."""
    if values.shape.rank == 0 and weight.shape.rank != 0:
        raise ValueError(
            "a loss of the whole batch takes no sample_weight: give the loss an axis, such as "
            "axis=(1, 2, 3), or the model outputs of shape [batch, 1], to have the loss of each "
            "example"
        )
    if not weight.shape.is_compatible_with(values.shape[: weight.shape.rank]):
        raise ValueError(
            f"sample_weight must have the shape of the losses, {list(values.shape)}, or of their "
            f"first axes, got {list(weight.shape)}"
        )
    return tf.broadcast_to(with_rank(weight, values.shape.rank), tf.shape(values))
