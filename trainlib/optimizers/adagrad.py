"""AdaGrad: each parameter's rate falls with the sum of its squared gradients.

s_t = s_(t-1) + g^2
u   = -eta g / sqrt(s_t + epsilon)
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.base import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.checks import check_number, check_rate
from trainlib.tree import full_like, leafwise


def adagrad_rule(
    g: Tensor, s: Tensor, *, learning_rate: Tensor, epsilon: Tensor
) -> tuple[Tensor, Tensor]:
    """AdaGrad (Duchi et al. 2011): s = s + g^2; u = -eta g / sqrt(s + epsilon)."""
    s = s + tf.square(g)
    return -learning_rate * g / tf.sqrt(s + epsilon), s


class AdagradState(NamedTuple):
    """step: updates made, int64 []. s: sums of squared gradients, like the parameters."""

    step: Tensor
    s: Tree


def adagrad(
    learning_rate: ScalarOrSchedule = 0.001,
    initial_accumulator_value: float = 0.1,
    epsilon: float = 1e-7,
) -> Optimizer:
    """AdaGrad.

        s_t = s_(t-1) + g^2,  s_0 = initial_accumulator_value
        w_t = w_(t-1) - eta g / sqrt(s_t + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        initial_accumulator_value: s_0, at least 0.
        epsilon: above 0; inside the root.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: PyTorch, which starts at s_0 = 0 and adds epsilon outside the root; Optax,
    which makes no step where s = 0.

    Reference: Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods for Online Learning
    and Stochastic Optimization".
    """
    check_rate("learning_rate", learning_rate)
    check_number("initial_accumulator_value", initial_accumulator_value, at_least=0)
    check_number("epsilon", epsilon, above=0)

    def init(params: Tree) -> AdagradState:
        return AdagradState(tf.zeros([], tf.int64), full_like(params, initial_accumulator_value))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdagradState]:
        eta = rate_at(learning_rate, state.step)
        updates, s = leafwise(adagrad_rule, grads, state.s, learning_rate=eta, epsilon=epsilon)
        return updates, AdagradState(state.step + 1, s)

    return Optimizer(init, update)
