"""NovoGrad: momentum of gradients, each tensor's divided by a running mean of its norm.

    v_1 = |g|^2
    v_t = beta_2 v_(t-1) + (1 - beta_2) |g|^2                             one number a tensor
    m_t = beta_1 m_(t-1) + g / (sqrt(v_t + eps_root) + epsilon) + lambda w
    u   = -eta m_t

with |g|^2 the sum of the tensor's squares, lambda the weight decay, and m_0 = 0.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, overlay, prune, resolve_mask, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.transforms.decay import Mask


def novograd_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    w: Tensor,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    weight_decay: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """NovoGrad (Ginsburg et al. 2019, Algorithm 1); w is 0 where a parameter does not decay."""
    square = tf.reduce_sum(tf.square(g))
    v = tf.where(t > 1, beta_2 * v + (1 - beta_2) * square, square)
    m = beta_1 * m + (g / (tf.sqrt(v + eps_root) + epsilon) + weight_decay * w)
    return -learning_rate * m, m, v


class NovogradState(NamedTuple):
    """step: updates made, int64 []. m: momenta, like the parameters.

    v: running means of |g|^2, a scalar for each parameter.
    """

    step: Tensor
    m: Tree
    v: Tree


@conventions(
    optax={"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.25, "epsilon": 1e-6},
    paper={"learning_rate": 0.01, "beta_1": 0.95, "beta_2": 0.98, "epsilon": 1e-8},
)
def novograd(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_1: float = BY_CONVENTION,
    beta_2: float = BY_CONVENTION,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """NovoGrad.

        v_1 = |g|^2
        v_t = beta_2 v_(t-1) + (1 - beta_2) |g|^2
        m_t = beta_1 m_(t-1) + g / (sqrt(v_t + eps_root) + epsilon) + weight_decay w_(t-1)
        w_t = w_(t-1) - eta m_t

    with |g|^2 the sum of squares of the whole tensor, so v_t is a number.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the momentum, in [0, 1); m_t is a sum, not a mean.
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: added to the root, at least 0.
        weight_decay: at least 0; it is part of the momentum.
        eps_root: added inside the root, at least 0.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" (beta_1 0.9, beta_2 0.25, epsilon 1e-6), "paper" (0.95, 0.98, 1e-8,
            eta 0.01).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: the paper at the first update, which has no epsilon there.

    Reference: Ginsburg et al. 2019, "Stochastic Gradient Methods with Layer-wise Adaptive Moments
    for Training of Deep Networks".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    check_number("weight_decay", weight_decay, at_least=0)

    def init(params: Tree) -> NovogradState:
        m = zeros_like(params)
        v = tf.nest.map_structure(lambda x: None if x is None else tf.zeros([], x.dtype), m)
        return NovogradState(tf.zeros([], tf.int64), m, v)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, NovogradState]:
        t = state.step + 1
        decaying = prune(params, resolve_mask(decay_mask, params))
        updates, m, v = leafwise(
            novograd_rule,
            grads,
            state.m,
            state.v,
            params=overlay(decaying, zeros_like(params)),
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            eps_root=eps_root,
            weight_decay=weight_decay,
        )
        return updates, NovogradState(t, m, v)

    return Optimizer(init, update)
