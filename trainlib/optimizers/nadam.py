"""Nadam: Adam with Nesterov's momentum, whose decay warms up.

mu_t  = beta_1 (1 - 0.96^t / 2)
P_t   = mu_1 mu_2 ... mu_t
m_t   = beta_1 m_(t-1) + (1 - beta_1) g
v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
m_hat = mu_(t+1) m_t / (1 - P_t mu_(t+1)) + (1 - mu_t) g / (1 - P_t)
v_hat = v_t / (1 - beta_2^t)
u     = -eta m_hat / (sqrt(v_hat) + epsilon)
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.base import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.tree import leafwise, scalar, zeros_like


def momentum_at(t: Tensor, beta_1: Tensor) -> Tensor:
    """The momentum of update t: mu_t = beta_1 (1 - 0.96^t / 2)."""
    return beta_1 * (1 - 0.96**t / 2)


def nadam_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    P: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Nadam (Dozat 2016); P is P_t, the product of mu_1 to mu_t."""
    mu = momentum_at(t, beta_1)
    mu_next = momentum_at(t + 1, beta_1)
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    m_hat = mu_next * m / (1 - P * mu_next) + (1 - mu) * g / (1 - P)
    v_hat = v / (1 - beta_2**t)
    return -learning_rate * m_hat / (tf.sqrt(v_hat) + epsilon), m, v


class NadamState(NamedTuple):
    """step: updates made, int64 []. P: the product of the momenta so far, float64 [].

    m, v: running means of g and g^2, like the parameters.
    """

    step: Tensor
    P: Tensor
    m: Tree
    v: Tree


def nadam(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> Optimizer:
    """Nadam.

        mu_t  = beta_1 (1 - 0.96^t / 2)
        P_t   = P_(t-1) mu_t,  P_0 = 1
        m_t   = beta_1 m_(t-1) + (1 - beta_1) g
        v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
        m_hat = mu_(t+1) m_t / (1 - P_t mu_(t+1)) + (1 - mu_t) g / (1 - P_t)
        v_hat = v_t / (1 - beta_2^t)
        w_t   = w_(t-1) - eta m_hat / (sqrt(v_hat) + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: above 0.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: Dozat and PyTorch, whose momentum warms up 250 times slower (0.96^(0.004 t));
    Optax, whose momentum is constant. Keras rounds 0.96 to float32 in mu_t but not in P_t, which
    shows in float64 alone (4e-9).

    Reference: Dozat 2016, "Incorporating Nesterov Momentum into Adam".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon)

    def init(params: Tree) -> NadamState:
        zeros = zeros_like(params)
        return NadamState(tf.zeros([], tf.int64), tf.ones([], tf.float64), zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, NadamState]:
        t = state.step + 1
        P = state.P * momentum_at(tf.cast(t, tf.float64), scalar(beta_1, state.P))
        updates, m, v = leafwise(
            nadam_rule,
            grads,
            state.m,
            state.v,
            t=t,
            P=P,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
        )
        return updates, NadamState(t, P, m, v)

    return Optimizer(init, update)
