"""Regularizers: pure functions `params -> scalar`, a penalty to be added to the loss.

The penalty is summed over every tensor of the structure that it is given, in float32 or wider.
There is no 1/2 in `l2`: PyTorch's weight_decay is 2 l2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from trainlib.base import Tensor, Tree
from trainlib.checks import check_number
from trainlib.tree import total, widen

Regularizer: TypeAlias = Callable[[Tree], Tensor]


def l1(l1: float = 0.01) -> Regularizer:
    """penalty = l1 sum |w|; its gradient where w = 0 is 0.

    Args:
        l1: a factor of at least 0.
    """
    return l1_l2(l1, 0.0)


def l2(l2: float = 0.01) -> Regularizer:
    """penalty = l2 sum w^2.

    Args:
        l2: a factor of at least 0.
    """
    return l1_l2(0.0, l2)


def l1_l2(l1: float = 0.0, l2: float = 0.0) -> Regularizer:
    """penalty = l1 sum |w| + l2 sum w^2.

    Args:
        l1, l2: a factor of at least 0.

    Raises:
        ValueError, TypeError: a factor that is negative, not finite, or no number.
    """
    check_number("l1", l1, at_least=0)
    check_number("l2", l2, at_least=0)

    def penalty(w: Tensor) -> Tensor:
        w = widen(w)
        of_w = tf.zeros([], w.dtype)
        if l1:
            of_w += l1 * tf.reduce_sum(tf.abs(w))
        if l2:
            of_w += l2 * tf.reduce_sum(tf.square(w))
        return of_w

    return lambda params: total([penalty(w) for w in tf.nest.flatten(params)])
