"""From the losses of a batch to one number; weights of examples, of classes, and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.core.tree import widen
from trainlib.core.types import Tensor
from trainlib.losses.masked import Masked

REDUCTIONS = ("sum_over_batch_size", "mean_with_sample_weight", "sum", "none")


def weighted_sum(values: Tensor, sample_weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The pair (sum of weight times value, sum of weights) over a batch of losses.

    Pairs of parts of a batch add up to the pair of the batch, however unequal the parts, and the
    division is made once, at the end.

    Args:
        values: [batch, ...], or `Masked` ones, which weigh 0 where they do not count. A scalar,
            the loss of the whole batch, weighs 1 however large the batch.
        sample_weight: [batch] or the shape of values; None gives each value the weight 1. A
            weight of an example is the weight of each of its values.

    Raises:
        ValueError: weights of another shape, or weights for the examples of a scalar loss.
    """
    if sample_weight is None and not isinstance(values, Masked):
        values = widen(values)
        return tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype)
    losses, weight = _weighted(values, sample_weight)
    return tf.reduce_sum(weight * losses), tf.reduce_sum(weight)


def reduce(
    values: Tensor,
    sample_weight: Tensor | None = None,
    reduction: str = "sum_over_batch_size",
) -> Tensor:
    """Reduces the losses of a batch as Keras does.

    sum_over_batch_size: sum w l / (number of losses that count).   sum: sum w l.
    mean_with_sample_weight: sum w l / sum w, 0 where the weights are 0.   none: w l.

    Args:
        values: l, shape [batch, ...]; of `Masked` ones those under the mask count.
        sample_weight: w, of shape [batch] or of l's shape; None for 1.
        reduction: one of these four.

    Raises:
        ValueError: an unknown reduction; weights as in `weighted_sum`.

    Differs from: Keras, which takes weights of shape [batch] for [batch, ...] losses for those of
    the last axis, or refuses them.
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
    """The weight of each example by its class, to be multiplied with other sample weights.

    Reduced by "sum_over_batch_size" it is Keras's `class_weight`; by "mean_with_sample_weight",
    and in the steps of this library, PyTorch's `CrossEntropyLoss(weight)`.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, 1], whole numbers of any dtype; or
            rows of shape [batch, ..., K], whose largest element stands at the class.
        weights: class -> weight, or a weight for each of the classes 0, 1, ...; at least 0. A
            class that is not among them, such as -1 for what a loss ignores, weighs 1.
        one_hot: whether y_true holds rows; by default it does where it has two axes or more and
            the last is not 1. For indices of shape [batch, time], say, give False.
        dtype: of the result.

    Returns:
        Shape [batch, ...], without the last axis of rows or an axis of 1.

    Raises:
        TypeError, ValueError: a class that is no whole number; a weight below 0 or no number.

    Differs from: Keras, which always takes a last axis of 2 or more for rows.
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
    """The losses and their weights in one shape, both 0 where a loss does not count."""
    losses = widen(values)
    weight = tf.ones_like(losses)
    if sample_weight is not None:
        weight = _spread(tf.cast(sample_weight, losses.dtype), losses)
    if not isinstance(values, Masked):
        return losses, weight
    zeros = tf.zeros_like(losses)
    return tf.where(values.mask, losses, zeros), tf.where(values.mask, weight, zeros)


def _spread(weight: Tensor, values: Tensor) -> Tensor:
    """Weights in the shape of the values: an example's weight goes to each of its values."""
    if values.shape.rank == 0 and weight.shape.rank != 0:
        raise ValueError(
            "a loss of the whole batch takes no sample_weight: give the loss an axis, such as "
            "axis=(1, 2, 3), to have the loss of each example"
        )
    if not weight.shape.is_compatible_with(values.shape[: weight.shape.rank]):
        raise ValueError(
            f"sample_weight must have the shape of the losses, {list(values.shape)}, or of their "
            f"first axes, got {list(weight.shape)}"
        )
    for _ in range(values.shape.rank - weight.shape.rank):
        weight = weight[..., tf.newaxis]
    return tf.broadcast_to(weight, tf.shape(values))
