"""Constraints: pure functions `param -> param`, applied after an update by `constrain`.

n is the Euclidean norm of w over the axes `axis`, one norm for each position on the other axes.
Constraints are computed in float32 or wider and cast to the parameter's dtype. A zero vector stays
zero for any epsilon, and norms are correct even if the squares would overflow. If a norm is not
finite, because a weight is infinite or NaN, all weights that share it become NaN, so that the
failure shows; Keras would set the finite ones next to an infinity to 0.

With Keras's epsilon of 1e-7 each application shrinks vectors by about 1e-7 / n, even within the
bound. With epsilon 0 the constraint is the exact projection, which leaves vectors within the bound
unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.norms import norm
from trainlib.core.tree import widen
from trainlib.core.types import Tensor

Constraint: TypeAlias = Callable[[Tensor], Tensor]
Axis: TypeAlias = int | str | Sequence[int] | None
"""An axis, several, or "0,1,2" as text; None or "all" for all; "units" for all but the last."""


def max_norm(max_value: float = 2.0, axis: Axis = 0, epsilon: float = 1e-7) -> Constraint:
    """Limit norms to at most max_value.

        w = w min(n, max_value) / (n + epsilon),  n = |w| over axis

    Args:
        max_value: the largest norm, at least 0. Default: 2.
        axis: the axes of a norm, such as 0 or 0,1,2; "all"; or "units", all but the last: the
            weights of one unit or filter. A vector is one unit. Default: 0.
        epsilon: at least 0; 0 is the exact projection. Default: 1e-7.

    Returns:
        A function `param -> param`, which raises `ValueError` if the parameter does not have the
        axis.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> constraint = tl.max_norm(1.0, epsilon=0.0)
        >>> constraint(tf.constant([[3.0, 0.3], [4.0, 0.4]])).numpy().round(3)
        array([[0.6, 0.3],
               [0.8, 0.4]], dtype=float32)

    Differences:
        PyTorch: `renorm` also has an epsilon of 1e-7, but leaves vectors within the bound
            unchanged.
        Optax: `projection_l2_ball` is epsilon 0 and axis None, over all parameters together.

    References:
        Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
    """
    check_number("max_value", max_value, at_least=0)
    return _to_norm(lambda n: tf.minimum(n, max_value), axis, epsilon)


def min_max_norm(
    min_value: float = 0.0,
    max_value: float = 1.0,
    rate: float = 1.0,
    axis: Axis = 0,
    epsilon: float = 1e-7,
) -> Constraint:
    """Move norms into [min_value, max_value], or part of the way there.

        w = w (rate clip(n, min_value, max_value) + (1 - rate) n) / (n + epsilon)

    n = |w| over axis. A zero vector has no direction, and stays zero.

    Args:
        min_value: the smallest norm, at least 0. Default: 0.
        max_value: the largest norm, at least min_value. Default: 1.
        rate: the fraction of the way in one application, from 0 to 1. Default: 1.
        axis: as in `max_norm`.
        epsilon: as in `max_norm`.

    Returns:
        A function `param -> param`, which raises `ValueError` if the parameter does not have the
        axis.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> constraint = tl.min_max_norm(0.5, 1.0, epsilon=0.0)
        >>> constraint(tf.constant([[3.0, 0.03], [4.0, 0.04]])).numpy().round(3)
        array([[0.6, 0.3],
               [0.8, 0.4]], dtype=float32)
    """
    check_number("min_value", min_value, at_least=0)
    check_number("max_value", max_value, at_least=float(min_value))
    check_number("rate", rate, at_least=0, at_most=1)

    def target(n: Tensor) -> Tensor:
        """Return the norm to reach."""
        return rate * tf.clip_by_value(n, min_value, max_value) + (1 - rate) * n

    return _to_norm(target, axis, epsilon)


def unit_norm(axis: Axis = 0, epsilon: float = 1e-7) -> Constraint:
    """Scale norms to 1.

        w = w / (n + epsilon),  n = |w| over axis

    A zero vector stays zero.

    Args:
        axis: as in `max_norm`.
        epsilon: as in `max_norm`.

    Returns:
        A function `param -> param`, which raises `ValueError` if the parameter does not have the
        axis.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> tl.unit_norm()(tf.constant([3.0, 4.0])).numpy().round(3)
        array([0.6, 0.8], dtype=float32)

    Differences:
        Optax: `projection_l2_sphere` is epsilon 0 and axis None, over all parameters together, and
            gives NaN for zeros.
    """

    def target(n: Tensor) -> Tensor:
        """Return the norm to reach."""
        return tf.ones_like(n)

    return _to_norm(target, axis, epsilon)


def non_neg() -> Constraint:
    """Set negative weights to 0.

        w = max(w, 0)

    NaN and positive infinity are kept.

    Returns:
        A function `param -> param`.

    Example:
        >>> tl.non_neg()(tf.constant([-1.0, 2.0])).numpy()
        array([0., 2.], dtype=float32)
    """

    def constraint(w: Tensor) -> Tensor:
        w = tf.convert_to_tensor(w)
        return tf.cast(tf.maximum(widen(w), 0), w.dtype)

    return constraint


def _to_norm(target: Callable[[Tensor], Tensor], axis: Axis, epsilon: float) -> Constraint:
    """Return the constraint w = w target(n) / (n + epsilon), n = |w| over axis; 0/0 is 0."""
    check_number("epsilon", epsilon, at_least=0)
    chosen = _check_axis(axis)

    def constraint(w: Tensor) -> Tensor:
        w = tf.convert_to_tensor(w)
        wide = widen(w)
        n = norm(wide, _axes_of(chosen, w.shape))
        not_finite_as_nan = n - n
        factor = tf.math.divide_no_nan(target(n), n + epsilon) + not_finite_as_nan
        return tf.cast(wide * factor, w.dtype)

    return constraint


def _check_axis(axis: Any) -> str | list[int] | None:
    """Return an axis as "units", a list of integers, or None for all."""
    if axis is None or axis == "all":
        return None
    if isinstance(axis, str):
        if axis == "units":
            return axis
        axis = [int(x) if re.fullmatch(r"-?\d+", x.strip()) else x for x in axis.split(",")]
    chosen = [axis] if isinstance(axis, int) else axis
    valid = isinstance(chosen, Sequence) and all(
        isinstance(x, int) and not isinstance(x, bool) for x in chosen
    )
    if not valid or not chosen:
        raise ValueError(
            f'axis must be an integer, several such as 0,1,2, "units" or "all", got {axis!r}'
        )
    return list(chosen)


def _axes_of(axis: str | list[int] | None, shape: Any) -> list[int] | None:
    """Return the axes of a parameter of a shape; a vector is one unit."""
    if axis is None:
        return None
    if isinstance(axis, str):
        return list(range(max(shape.rank - 1, 1))) if shape.rank else None
    for i in axis:
        if not -shape.rank <= i < shape.rank:
            raise ValueError(
                f"axis {i} does not exist in a parameter of shape {shape}: exclude the parameter "
                "by a mask"
            )
    return axis
