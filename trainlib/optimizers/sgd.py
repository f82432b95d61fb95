"""Stochastic gradient descent: plain, with momentum, and Nesterov's.

    plain       u   = -eta g
    momentum    v_t = mu v_(t-1) - eta g
                u   = v_t
    Nesterov    v_t = mu v_(t-1) - eta g
                u   = mu v_t - eta g

w moves by u. eta: learning rate; mu: momentum; g: gradient at w; v: velocity, at first 0.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.base import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.checks import check_number, check_rate
from trainlib.tree import leafwise, zeros_like


def sgd_rule(g: Tensor, *, learning_rate: Tensor) -> tuple[Tensor]:
    """Gradient descent: u = -eta g."""
    return (-learning_rate * g,)


def momentum_rule(
    g: Tensor, v: Tensor, *, learning_rate: Tensor, momentum: Tensor
) -> tuple[Tensor, Tensor]:
    """Momentum (Polyak 1964): v = mu v - eta g; u = v."""
    v = momentum * v - learning_rate * g
    return v, v


def nesterov_rule(
    g: Tensor, v: Tensor, *, learning_rate: Tensor, momentum: Tensor
) -> tuple[Tensor, Tensor]:
    """Nesterov's momentum (1983), g taken at w: v = mu v - eta g; u = mu v - eta g."""
    v = momentum * v - learning_rate * g
    return momentum * v - learning_rate * g, v


class SgdState(NamedTuple):
    """step: updates made, int64 []. v: velocities like the parameters; `()` without momentum."""

    step: Tensor
    v: Tree


def sgd(
    learning_rate: ScalarOrSchedule = 0.01, momentum: float = 0.0, nesterov: bool = False
) -> Optimizer:
    """Stochastic gradient descent, with momentum where it is above 0.

        v_t = mu v_(t-1) - eta g
        w_t = w_(t-1) + v_t                  or, with nesterov,
        w_t = w_(t-1) + mu v_t - eta g

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        momentum: mu in [0, 1]; 0 keeps no velocity.
        nesterov: whether to look ahead along the velocity.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: PyTorch and Optax, whose velocity does not hold the learning rate; the rules
    part once the rate changes. Sutskever et al. (2013) take the gradient at the point
    w + mu v; this form holds that point in w, and its losses at those points are the same.

    Reference: Polyak 1964; Nesterov 1983; Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning".
    """
    check_rate("learning_rate", learning_rate)
    check_number("momentum", momentum, at_least=0, at_most=1)
    has_velocity = not (isinstance(momentum, (int, float)) and momentum == 0)
    if nesterov and not has_velocity:
        raise ValueError("nesterov needs a momentum above 0, got momentum=0")

    def init(params: Tree) -> SgdState:
        return SgdState(tf.zeros([], tf.int64), zeros_like(params) if has_velocity else ())

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, SgdState]:
        eta = rate_at(learning_rate, state.step)
        if not has_velocity:
            (updates,) = leafwise(sgd_rule, grads, learning_rate=eta)
            return updates, SgdState(state.step + 1, ())
        rule = nesterov_rule if nesterov else momentum_rule
        updates, v = leafwise(rule, grads, state.v, learning_rate=eta, momentum=momentum)
        return updates, SgdState(state.step + 1, v)

    return Optimizer(init, update)
