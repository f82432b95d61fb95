"""Constraints: pure functions `param -> param`, applied after an update by `constrain`.

    max_norm        w = w min(n, max_value) / (n + epsilon)
    min_max_norm    w = w (rate clip(n, min_value, max_value) + (1 - rate) n) / (n + epsilon)
    unit_norm       w = w / (n + epsilon)
    non_neg         w = max(w, 0)

n is the Euclidean norm of w over the axes `axis`, one for each place on the others. They are
computed in float32 or wider and cast to the parameter's dtype. A vector of zeros stays zero,
whatever epsilon; a norm is right also where its squares would overflow. Where it is not finite,
for an infinity or a NaN among the weights, all the weights that share it become NaN, so that it
is seen: Keras would turn the finite ones beside an infinity to 0, and so those whose squares
overflow.

With Keras's epsilon of 1e-7 each application shrinks vectors by about 1e-7 / n, also inside the
bound. With epsilon 0 it is the exact projection, and what keeps to the bound stays as it is.
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
"""An axis or several, or "0,1,2" as text; None or "all" for all; "units" for all but the last."""


def max_norm(max_value: float = 2.0, axis: Axis = 0, epsilon: float = 1e-7) -> Constraint:
    """Norms of at most max_value.

        w = w min(n, max_value) / (n + epsilon),  n = |w| over axis

    Args:
        max_value: the largest norm, at least 0.
        axis: the axes of a norm, such as 0 or 0,1,2; "all"; or "units", all but the last: the
            weights that lead to one unit or make one filter. A vector is one unit.
        epsilon: at least 0; 0 is the exact projection.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type; when called, an
            axis that the parameter does not have.

    Differs from: nobody at Keras's epsilon and finite norms. PyTorch's `renorm` has an epsilon of
    1e-7 too, but leaves vectors inside the bound as they are. Optax's `projection_l2_ball` is
    epsilon 0 and axis None, over all parameters together.

    Reference: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting".
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
    """Norms from min_value to max_value, or on the way there.

        w = w (rate clip(n, min_value, max_value) + (1 - rate) n) / (n + epsilon)

    n = |w| over axis. A vector of zeros has no direction to be lengthened in, and stays zero.

    Args:
        min_value: the smallest norm, at least 0.
        max_value: the largest norm, at least min_value.
        rate: the share of the way that one application goes, from 0 to 1.
        axis: as in `max_norm`.
        epsilon: as in `max_norm`.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type; when called, an
            axis that the parameter does not have.

    Differs from: nobody at Keras's epsilon and finite norms.
    """
    check_number("min_value", min_value, at_least=0)
    check_number("max_value", max_value, at_least=float(min_value))
    check_number("rate", rate, at_least=0, at_most=1)

    def target(n: Tensor) -> Tensor:
        return rate * tf.clip_by_value(n, min_value, max_value) + (1 - rate) * n

    return _to_norm(target, axis, epsilon)


def unit_norm(axis: Axis = 0, epsilon: float = 1e-7) -> Constraint:
    """Norms of 1.

        w = w / (n + epsilon),  n = |w| over axis

    A vector of zeros stays zero.

    Args:
        axis: as in `max_norm`.
        epsilon: as in `max_norm`.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type; when called, an
            axis that the parameter does not have.

    Differs from: nobody at Keras's epsilon and finite norms. Optax's `projection_l2_sphere` is
    epsilon 0 and axis None, over all parameters together, and NaN for zeros.
    """

    def target(n: Tensor) -> Tensor:
        return tf.ones_like(n)

    return _to_norm(target, axis, epsilon)


def non_neg() -> Constraint:
    """w = max(w, 0) for each weight; NaN stays NaN, and an infinity above 0 stays.

    Differs from: nobody.
    """

    def constraint(w: Tensor) -> Tensor:
        w = tf.convert_to_tensor(w)
        return tf.cast(tf.maximum(widen(w), 0), w.dtype)

    return constraint


def _to_norm(target: Callable[[Tensor], Tensor], axis: Axis, epsilon: float) -> Constraint:
    """The constraint w = w target(n) / (n + epsilon), n = |w| over axis; 0 where that is 0/0."""
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
    """An axis as "units", a list of whole numbers, or None for all."""
    if axis is None or axis == "all":
        return None
    if isinstance(axis, str):
        if axis == "units":
            return axis
        axis = [int(x) if re.fullmatch(r"-?\d+", x.strip()) else x for x in axis.split(",")]
    chosen = [axis] if isinstance(axis, int) else axis
    whole = isinstance(chosen, Sequence) and all(
        isinstance(x, int) and not isinstance(x, bool) for x in chosen
    )
    if not whole or not chosen:
        raise ValueError(
            f'axis must be a whole number, several such as 0,1,2, "units" or "all", got {axis!r}'
        )
    return list(chosen)


def _axes_of(axis: str | list[int] | None, shape: Any) -> list[int] | None:
    """The axes of a parameter of that shape; a vector is one unit."""
    if axis is None:
        return None
    if isinstance(axis, str):
        return list(range(max(shape.rank - 1, 1))) if shape.rank else None
    for i in axis:
        if not -shape.rank <= i < shape.rank:
            raise ValueError(f"axis {i} is none of a parameter of shape {shape}: give it a mask")
    return axis
