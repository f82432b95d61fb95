"""LAMB: Adam's direction, in steps proportional to the norm of each tensor.

    m_t = beta_1 m_(t-1) + (1 - beta_1) g
    v_t = beta_2 v_(t-1) + (1 - beta_2) g^2
    m_hat = m_t / (1 - beta_1^t)
    v_hat = v_t / (1 - beta_2^t)
    r = m_hat / (sqrt(v_hat + eps_root) + epsilon)
    r = r + lambda w                              of decay_form "in_ratio"
    u = -eta ||w|| / ||r|| r

The ratio of norms is 1 where one of them is 0. lambda: weight_decay.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.transforms.decay import DECAY_FORMS, Mask, add_decayed_weights, with_weight_decay


def direction_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """r of LAMB (You et al. 2020, Algorithm 2), without its decay."""
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    m_hat = m / (1 - beta_1**t)
    v_hat = v / (1 - beta_2**t)
    return m_hat / (tf.sqrt(v_hat + eps_root) + epsilon), m, v


def layerwise_rule(r: Tensor, *, w: Tensor, learning_rate: Tensor) -> tuple[Tensor]:
    """LAMB's step along r."""
    return (-learning_rate * norm_ratio(w, r) * r,)


def norm_ratio(w: Tensor, r: Tensor) -> Tensor:
    """||w|| / ||r||, and 1 where one of them is 0."""
    w_norm, r_norm = norm(w), norm(r)
    return tf.where((w_norm > 0) & (r_norm > 0), w_norm / r_norm, tf.ones_like(w_norm))


def norm(x: Tensor) -> Tensor:
    """||x||, the root of the sum of squares."""
    return tf.sqrt(tf.reduce_sum(tf.square(x)))


class LambState(NamedTuple):
    """step: updates made, int64 []. m, v: running means of g and g^2, like the parameters."""

    step: Tensor
    m: Tree
    v: Tree


_KERAS = {"epsilon": 1e-7, "decay_form": "pre"}
_OPTAX = {"epsilon": 1e-6, "decay_form": "in_ratio"}


@conventions(keras=_KERAS, optax=_OPTAX, paper=_OPTAX)
def lamb(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """LAMB: Adam with a step proportional to the norm of each tensor.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        v_t = beta_2 v_(t-1) + (1 - beta_2) g^2
        r   = (m_t / (1 - beta_1^t)) / (sqrt(v_t / (1 - beta_2^t) + eps_root) + epsilon)
        r   = r + weight_decay w_(t-1)                    of decay_form "in_ratio"
        w_t = w_(t-1) - eta ||w_(t-1)|| / ||r|| r

    The ratio of norms is 1 where one of them is 0.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: added to the root, at least 0. 1e-7 (keras), 1e-6 (optax, paper).
        weight_decay: at least 0.
        eps_root: added inside the root, at least 0.
        decay_form: "in_ratio": the decay is a part of r, and so of its norm; or "pre", "add",
            "add_abs" or "l2", beside the ratio; see `with_weight_decay`.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (decay pre), "optax" or "paper" (decay in_ratio, epsilon 1e-6).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: the paper, which may bound ||w|| in the ratio; no library does.

    Reference: You et al. 2020, "Large Batch Optimization for Deep Learning: Training BERT in 76
    minutes".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    check_choice("decay_form", decay_form, ("in_ratio", *DECAY_FORMS))

    def init(params: Tree) -> LambState:
        zeros = zeros_like(params)
        return LambState(tf.zeros([], tf.int64), zeros, zeros)

    penalized = add_decayed_weights(weight_decay, decay_mask)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, LambState]:
        t = state.step + 1
        r, m, v = leafwise(
            direction_rule,
            grads,
            state.m,
            state.v,
            t=t,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            eps_root=eps_root,
        )
        if decay_form == "in_ratio":
            r, _ = penalized.update(r, (), params)
        rate = rate_at(learning_rate, state.step)
        (updates,) = leafwise(layerwise_rule, r, params=params, learning_rate=rate)
        return updates, LambState(t, m, v)

    optimizer = Optimizer(init, update)
    if decay_form == "in_ratio":
        return optimizer
    return with_weight_decay(optimizer, learning_rate, weight_decay, decay_form, decay_mask)
