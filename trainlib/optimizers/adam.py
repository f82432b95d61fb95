"""Adam, AMSGrad and AdamW: a running mean of gradients over the root of one of their squares.

    m_t   = beta_1 m_(t-1) + (1 - beta_1) g
    v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
    alpha = eta sqrt(1 - beta_2^t) / (1 - beta_1^t)
    u     = -alpha m_t / (sqrt(v_t) + epsilon)

t = 1 at the first update. AMSGrad puts the largest v so far in v_t's place; AdamW adds
-eta weight_decay w to u.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.base import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.checks import check_number, check_rate
from trainlib.tree import leafwise, zeros_like


def adam_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adam (Kingma and Ba 2015, in the order of computation that closes their section 2)."""
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    alpha = learning_rate * tf.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return -alpha * m / (tf.sqrt(v) + epsilon), m, v


def amsgrad_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    v_max: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """AMSGrad (Reddi et al. 2018), with Adam's correction of bias."""
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    v_max = tf.maximum(v_max, v)
    alpha = learning_rate * tf.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return -alpha * m / (tf.sqrt(v_max) + epsilon), m, v, v_max


def weight_decay_rule(
    u: Tensor, *, w: Tensor, learning_rate: Tensor, weight_decay: Tensor
) -> tuple[Tensor]:
    """Decoupled weight decay (Loshchilov and Hutter 2019): u = u - eta weight_decay w."""
    return (u - learning_rate * weight_decay * w,)


class AdamState(NamedTuple):
    """step: updates made, int64 []. m, v: running means of g and g^2, like the parameters.

    v_max: the largest v so far, like the parameters; `()` without AMSGrad.
    """

    step: Tensor
    m: Tree
    v: Tree
    v_max: Tree


def adam(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    amsgrad: bool = False,
) -> Optimizer:
    """Adam, or AMSGrad.

        m_t   = beta_1 m_(t-1) + (1 - beta_1) g
        v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
        alpha = eta sqrt(1 - beta_2^t) / (1 - beta_1^t)
        w_t   = w_(t-1) - alpha m_t / (sqrt(v_t) + epsilon)

    With amsgrad, max(v_1, ..., v_t) stands in v_t's place in the last line.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: above 0; meets the root of v before its bias is corrected.
        amsgrad: whether the denominator may only grow.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: PyTorch and Optax, which correct v before they add epsilon (the paper's
    Algorithm 1; their epsilon acts like one of epsilon sqrt(1 - beta_2^t) here); Optax's
    AMSGrad, which takes the largest of the corrected v.

    Reference: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization"; Reddi, Kale and
    Kumar 2018, "On the Convergence of Adam and Beyond".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon)

    def init(params: Tree) -> AdamState:
        zeros = zeros_like(params)
        return AdamState(tf.zeros([], tf.int64), zeros, zeros, zeros if amsgrad else ())

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdamState]:
        t = state.step + 1
        scalars = {
            "t": t,
            "learning_rate": rate_at(learning_rate, state.step),
            "beta_1": beta_1,
            "beta_2": beta_2,
            "epsilon": epsilon,
        }
        if amsgrad:
            updates, m, v, v_max = leafwise(
                amsgrad_rule, grads, state.m, state.v, state.v_max, **scalars
            )
            return updates, AdamState(t, m, v, v_max)
        updates, m, v = leafwise(adam_rule, grads, state.m, state.v, **scalars)
        return updates, AdamState(t, m, v, ())

    return Optimizer(init, update)


def adamw(
    learning_rate: ScalarOrSchedule = 0.001,
    weight_decay: float = 0.004,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    amsgrad: bool = False,
) -> Optimizer:
    """Adam with decoupled weight decay.

        w_t = w_(t-1) + u - eta weight_decay w_(t-1)

    with u the update of `adam`.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        weight_decay: at least 0; a share of eta.
        beta_1, beta_2, epsilon, amsgrad: as in `adam`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: Keras and PyTorch, which first decay w and then add u; the same up to rounding.
    The paper does not multiply weight_decay by eta, only by the schedule's factor.

    Reference: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    check_number("weight_decay", weight_decay, at_least=0)
    inner = adam(learning_rate, beta_1, beta_2, epsilon, amsgrad)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        updates, new_state = inner.update(grads, state, params)
        eta = rate_at(learning_rate, state.step)
        (updates,) = leafwise(
            weight_decay_rule, updates, params=params, learning_rate=eta, weight_decay=weight_decay
        )
        return updates, new_state

    return Optimizer(inner.init, update)


def check_adam(
    learning_rate: ScalarOrSchedule, beta_1: float, beta_2: float, epsilon: float
) -> None:
    """Raises unless the hyperparameters that Adam's family shares are in their ranges."""
    check_rate("learning_rate", learning_rate)
    check_number("beta_1", beta_1, at_least=0, below=1)
    check_number("beta_2", beta_2, at_least=0, below=1)
    check_number("epsilon", epsilon, above=0)
