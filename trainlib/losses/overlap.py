"""Segmentation losses: how much a predicted region overlaps the true one."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.types import Tensor
from trainlib.losses.inputs import EPSILON, Axis, check_axis, match_shapes

ERRORS = ("false_positives", "false_negatives")
"""What alpha of `tversky` may weigh; beta weighs the other."""


def dice(y_true: Tensor, y_pred: Tensor, axis: Axis = None) -> Tensor:
    """Compute the Dice loss, for images in which few pixels belong to the region.

        1 - 2 sum y p / (sum y + sum p + 1e-7)          y: y_true, p: y_pred

    Where both regions are empty the loss is 1.

    Args:
        y_true: 1 inside the region and 0 elsewhere.
        y_pred: probabilities, of the shape of y_true.
        axis: the axes to sum over; (1, 2, 3) gives each image of shape [batch, height, width,
            channels] a loss. Default: None, which sums over the whole batch: the loss is then a
            scalar, which has no sample weights and counts the same for any batch size.

    Returns:
        The loss, of the shape of y_pred without the axes.

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or an axis is out of range.

    Example:
        >>> y_true, y_pred = [[1.0, 1.0, 0.0]], [[1.0, 0.5, 0.5]]
        >>> tl.losses.dice(y_true, y_pred, axis=1).numpy().round(3)
        array([0.25], dtype=float32)

    Differences:
        Optax: `dice_loss` takes logits, adds 1 to numerator and denominator, and averages over the
            classes of each example.
        Paper: y and p are squared in the denominator.

    References:
        Milletari, Navab and Ahmadi 2016, "V-Net: Fully Convolutional Neural Networks for Volumetric
        Medical Image Segmentation".
    """
    y, p = match_shapes(y_true, y_pred)
    _check_axes(axis, p)
    both = tf.reduce_sum(y * p, axis=axis)
    size = tf.reduce_sum(y, axis=axis) + tf.reduce_sum(p, axis=axis)
    return 1 - 2 * both / (size + EPSILON)


def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: Axis = None,
    alpha_weighs: str = "false_positives",
) -> Tensor:
    """Compute the Tversky loss: Dice with separate weights for both kinds of error.

        1 - TP / (TP + alpha FP + beta FN + 1e-7)
        TP = sum y p     FP = sum (1 - y) p, falsely detected     FN = sum y (1 - p), missed

    with y = y_true and p = y_pred.

    Args:
        y_true: 1 inside the region and 0 elsewhere.
        y_pred: probabilities, of the shape of y_true.
        alpha: weight of FP, at least 0. Default: 0.5.
        beta: weight of FN, at least 0. Default: 0.5.
        axis: the axes to sum over; (1, 2, 3) gives each image of shape [batch, height, width,
            channels] a loss. Default: None, which sums over the whole batch: the loss is then a
            scalar, which has no sample weights and counts the same for any batch size.
        alpha_weighs: "false_positives", or "false_negatives", which exchanges alpha and beta.
            Default: "false_positives".

    Returns:
        The loss, of the shape of y_pred without the axes.

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or an option is out of range.

    Example:
        >>> y_true, y_pred = [[1.0, 1.0, 0.0]], [[1.0, 0.5, 0.5]]
        >>> tl.losses.tversky(y_true, y_pred, alpha=0.7, beta=0.3, axis=1).numpy().round(3)
        array([0.25], dtype=float32)

    Differences:
        Keras: up to 3.15, alpha weighs the false negatives, against its documentation.

    References:
        Salehi, Erdogmus and Gholipour 2017, "Tversky Loss Function for Image Segmentation Using 3D
        Fully Convolutional Deep Networks".
    """
    of_false, of_missed = tversky_weights(alpha, beta, alpha_weighs)
    y, p = match_shapes(y_true, y_pred)
    _check_axes(axis, p)
    both = tf.reduce_sum(y * p, axis=axis)
    missed = tf.reduce_sum(y * (1 - p), axis=axis)
    false = tf.reduce_sum((1 - y) * p, axis=axis)
    return 1 - both / (both + of_false * false + of_missed * missed + EPSILON)


def tversky_weights(alpha: float, beta: float, alpha_weighs: str) -> tuple[float, float]:
    """Return the weights of the false positives and of the false negatives.

    Raises:
        ValueError, TypeError: a weight is out of range, or `alpha_weighs` is unknown.
    """
    check_number("alpha", alpha, at_least=0)
    check_number("beta", beta, at_least=0)
    check_choice("alpha_weighs", alpha_weighs, ERRORS)
    return (alpha, beta) if alpha_weighs == ERRORS[0] else (beta, alpha)


def _check_axes(axis: Axis, y_pred: Tensor) -> None:
    """Raise `ValueError` unless y_pred has each of the axes."""
    if axis is None:
        return
    for one in axis if isinstance(axis, Sequence) else [axis]:
        check_axis(one, y_pred)
