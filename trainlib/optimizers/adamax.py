"""Adamax: Adam with the infinity norm in the place of the root of squares.

m_t = beta_1 m_(t-1) + (1 - beta_1) g
u_t = max(beta_2 u_(t-1), |g|)
u   = -eta / (1 - beta_1^t) m_t / (u_t + epsilon)
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.base import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.tree import leafwise, zeros_like


def adamax_rule(
    g: Tensor,
    m: Tensor,
    u: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adamax (Kingma and Ba 2015, section 7.1)."""
    m = beta_1 * m + (1 - beta_1) * g
    u = tf.maximum(beta_2 * u, tf.abs(g))
    return -learning_rate / (1 - beta_1**t) * m / (u + epsilon), m, u


class AdamaxState(NamedTuple):
    """step: updates made, int64 []. m: running means of g; u: decaying maxima of |g|."""

    step: Tensor
    m: Tree
    u: Tree


def adamax(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> Optimizer:
    """Adamax.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        u_t = max(beta_2 u_(t-1), |g|)
        w_t = w_(t-1) - eta / (1 - beta_1^t) m_t / (u_t + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the maximum, in [0, 1).
        epsilon: above 0; the paper has none.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: PyTorch and Optax, which take u_t = max(beta_2 u_(t-1), |g| + epsilon).

    Reference: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", section 7.1.
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon)

    def init(params: Tree) -> AdamaxState:
        zeros = zeros_like(params)
        return AdamaxState(tf.zeros([], tf.int64), zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdamaxState]:
        t = state.step + 1
        updates, m, u = leafwise(
            adamax_rule,
            grads,
            state.m,
            state.u,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
        )
        return updates, AdamaxState(t, m, u)

    return Optimizer(init, update)
