"""Losses of regions: how far a predicted region is from the true one."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.losses.inputs import EPSILON, Axis, check_axis, match_shapes


def dice(y_true: Tensor, y_pred: Tensor, axis: Axis = None) -> Tensor:
    """1 - 2 sum y p / (sum y + sum p + 1e-7), with y = y_true, p = y_pred.

    For images where few pixels belong to the region: those outside of both weigh nothing. Where
    both regions are empty the loss is 1.

    Args:
        y_true: 1 in the region and 0 elsewhere.
        y_pred: probabilities, in y_true's shape.
        axis: to sum over; (1, 2, 3) gives images of shape [batch, height, width, channels] a
            loss each. None sums over the whole batch: the loss is then a scalar, which knows no
            sample weights and counts the same whatever the size of its batch.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; an axis out of range.

    Differs from: optax.dice_loss, which takes logits, adds 1 to both sides of the fraction, and
    gives a mean over the classes for each example. The paper squares y and p in the denominator.

    Reference: Milletari, Navab and Ahmadi 2016, "V-Net: Fully Convolutional Neural Networks for
    Volumetric Medical Image Segmentation".
    """
    y, p = match_shapes(y_true, y_pred)
    _check_axes(axis, p)
    both = tf.reduce_sum(y * p, axis=axis)
    size = tf.reduce_sum(y, axis=axis) + tf.reduce_sum(p, axis=axis)
    return 1 - 2 * both / (size + EPSILON)


def tversky(
    y_true: Tensor, y_pred: Tensor, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None
) -> Tensor:
    """1 - I / (I + alpha M + beta F + 1e-7), with y = y_true, p = y_pred and

        I = sum y p     M = sum y (1 - p), missed     F = sum (1 - y) p, found in vain

    As `dice`, with a weight for each kind of error.

    Args:
        y_true: 1 in the region and 0 elsewhere.
        y_pred: probabilities, in y_true's shape.
        alpha: the weight of what was missed, at least 0.
        beta: the weight of what was found in vain, at least 0.
        axis: to sum over; (1, 2, 3) gives images of shape [batch, height, width, channels] a
            loss each. None sums over the whole batch: the loss is then a scalar, which knows no
            sample weights and counts the same whatever the size of its batch.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; an option out of range.

    Differs from: the paper and optax.dice_loss, where alpha and beta stand the other way round.
    Keras has these, under the paper's names for them.

    Reference: Salehi, Erdogmus and Gholipour 2017, "Tversky Loss Function for Image Segmentation
    Using 3D Fully Convolutional Deep Networks".
    """
    check_number("alpha", alpha, at_least=0)
    check_number("beta", beta, at_least=0)
    y, p = match_shapes(y_true, y_pred)
    _check_axes(axis, p)
    both = tf.reduce_sum(y * p, axis=axis)
    missed = tf.reduce_sum(y * (1 - p), axis=axis)
    in_vain = tf.reduce_sum((1 - y) * p, axis=axis)
    return 1 - both / (both + alpha * missed + beta * in_vain + EPSILON)


def _check_axes(axis: Axis, y_pred: Tensor) -> None:
    """Raises unless y_pred has each of the axes."""
    if axis is None:
        return
    for one in axis if isinstance(axis, Sequence) else [axis]:
        check_axis(one, y_pred)
