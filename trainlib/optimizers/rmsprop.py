"""RMSProp: each parameter's rate falls with a running mean of its squared gradients.

s_t = rho s_(t-1) + (1 - rho) g^2
u   = -eta g / sqrt(s_t + epsilon)
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.base import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.checks import check_number, check_rate
from trainlib.tree import leafwise, zeros_like


def rmsprop_rule(
    g: Tensor, s: Tensor, *, learning_rate: Tensor, rho: Tensor, epsilon: Tensor
) -> tuple[Tensor, Tensor]:
    """RMSProp: s = rho s + (1 - rho) g^2; u = -eta g / sqrt(s + epsilon)."""
    s = rho * s + (1 - rho) * tf.square(g)
    return -learning_rate * g / tf.sqrt(s + epsilon), s


class RmspropState(NamedTuple):
    """step: updates made, int64 []. s: running means of squared gradients, like the parameters."""

    step: Tensor
    s: Tree


def rmsprop(
    learning_rate: ScalarOrSchedule = 0.001, rho: float = 0.9, epsilon: float = 1e-7
) -> Optimizer:
    """RMSProp.

        s_t = rho s_(t-1) + (1 - rho) g^2,  s_0 = 0
        w_t = w_(t-1) - eta g / sqrt(s_t + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        rho: decay of the running mean, in [0, 1).
        epsilon: above 0; inside the root.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: PyTorch, which adds epsilon outside the root and has rho = 0.99.

    Reference: Tieleman and Hinton 2012, "Neural Networks for Machine Learning", lecture 6.5.
    """
    check_rate("learning_rate", learning_rate)
    check_number("rho", rho, at_least=0, below=1)
    check_number("epsilon", epsilon, above=0)

    def init(params: Tree) -> RmspropState:
        return RmspropState(tf.zeros([], tf.int64), zeros_like(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, RmspropState]:
        eta = rate_at(learning_rate, state.step)
        updates, s = leafwise(
            rmsprop_rule, grads, state.s, learning_rate=eta, rho=rho, epsilon=epsilon
        )
        return updates, RmspropState(state.step + 1, s)

    return Optimizer(init, update)
