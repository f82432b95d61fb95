"""Adan: means of the gradients, of their differences, and of the squares of both together.

    d   = g_t - g_(t-1),   0 at the first update
    m_t = beta_1 m_(t-1) + (1 - beta_1) g_t
    v_t = beta_2 v_(t-1) + (1 - beta_2) d
    n_t = beta_3 n_(t-1) + (1 - beta_3) (g_t + k d)^2
    u   = -eta (m_hat + k v_hat) / (sqrt(n_hat + eps_root) + epsilon)

    zero        m_0 = v_0 = n_0 = 0;   m_hat = m_t / (1 - beta_1^t), and v_hat, n_hat likewise
    gradient    m_1 = g_1, v_1 = 0, n_1 = g_1^2;   m_hat = m_t, v_hat = v_t, n_hat = n_t

with k = beta_2, the weight of the difference; Optax's is 1 - beta_2. The betas are decays, as in
`adam`: the paper writes 1 - beta for each of them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import is_empty, is_zero, leafwise, overlay, prune, resolve_mask, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.transforms.decay import DECAY_FORMS, Mask, with_weight_decay

DIFFERENCE_WEIGHTS = ("beta_2", "one_minus_beta_2")
STARTS = ("zero", "gradient")


def adan_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    n: Tensor,
    g_last: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    beta_3: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    difference_weight: str,
    start: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Adan (Xie et al. 2022, Algorithm 1, without its restarts)."""
    k = beta_2 if difference_weight == "beta_2" else 1 - beta_2
    d = tf.where(t > 1, g - g_last, tf.zeros_like(g))
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * d
    n = beta_3 * n + (1 - beta_3) * tf.square(g + k * d)
    if start == "gradient":
        m = m_hat = tf.where(t > 1, m, g)
        n = n_hat = tf.where(t > 1, n, tf.square(g))
        v_hat = v
    else:
        m_hat = m / (1 - beta_1**t)
        v_hat = v / (1 - beta_2**t)
        n_hat = n / (1 - beta_3**t)
    u = -learning_rate * (m_hat + k * v_hat) / (tf.sqrt(n_hat + eps_root) + epsilon)
    return u, m, v, n, g


def proximal_rule(u: Tensor, *, w: Tensor, eta: Tensor, weight_decay: Tensor) -> tuple[Tensor]:
    """The update that leads to (w + u) / (1 + eta lambda)."""
    return ((u - eta * weight_decay * w) / (1 + eta * weight_decay),)


class AdanState(NamedTuple):
    """step: updates made, int64 []. m, v, n: running means of g, d and (g + k d)^2.

    g: the last gradients. All of these like the parameters.
    """

    step: Tensor
    m: Tree
    v: Tree
    n: Tree
    g: Tree


_OPTAX = {
    "eps_root": 1e-8,
    "difference_weight": "one_minus_beta_2",
    "start": "zero",
    "decay_form": "add",
}
_PAPER = {
    "eps_root": 0.0,
    "difference_weight": "beta_2",
    "start": "gradient",
    "decay_form": "proximal",
}


@conventions(optax=_OPTAX, paper=_PAPER)
def adan(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.98,
    beta_2: float = 0.92,
    beta_3: float = 0.99,
    epsilon: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    eps_root: float = BY_CONVENTION,
    difference_weight: str = BY_CONVENTION,
    start: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "paper",
) -> Optimizer:
    """Adan.

        d   = g_t - g_(t-1),  0 at the first update
        k   = beta_2, or 1 - beta_2
        m_t = beta_1 m_(t-1) + (1 - beta_1) g_t
        v_t = beta_2 v_(t-1) + (1 - beta_2) d
        n_t = beta_3 n_(t-1) + (1 - beta_3) (g_t + k d)^2
        w_t = w_(t-1) - eta (m_hat + k v_hat) / (sqrt(n_hat + eps_root) + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of differences, in [0, 1).
        beta_3: decay of the mean of squares, in [0, 1).
        epsilon: added to the root, at least 0.
        weight_decay: lambda, at least 0.
        eps_root: added inside the root, at least 0.
        difference_weight: k, "beta_2" or "one_minus_beta_2".
        start: "zero" (the means start at 0, and hats correct their bias) or "gradient" (m_1 = g_1,
            n_1 = g_1^2, and hats do nothing).
        decay_form: "proximal", w_t = (w_(t-1) + u) / (1 + eta lambda), or a form of
            `with_weight_decay`: "pre", "add", "add_abs" or "l2".
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" (one_minus_beta_2, zero, eps_root 1e-8, decay add), "paper" (beta_2,
            gradient, eps_root 0, decay proximal).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: the authors' program, which is the paper's with start="zero". Optax's k is 0.08
    where theirs is 0.92: it writes the paper's 1 - beta_2 with a beta_2 that is already 1 - theirs.

    Reference: Xie et al. 2022, "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing
    Deep Models".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    check_number("beta_3", beta_3, at_least=0, below=1)
    check_number("weight_decay", weight_decay, at_least=0)
    check_choice("difference_weight", difference_weight, DIFFERENCE_WEIGHTS)
    check_choice("start", start, STARTS)
    check_choice("decay_form", decay_form, (*DECAY_FORMS, "proximal"))
    rule = functools.partial(adan_rule, difference_weight=difference_weight, start=start)

    def init(params: Tree) -> AdanState:
        zeros = zeros_like(params)
        return AdanState(tf.zeros([], tf.int64), zeros, zeros, zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdanState]:
        t = state.step + 1
        updates, m, v, n, g = leafwise(
            rule,
            grads,
            state.m,
            state.v,
            state.n,
            state.g,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            beta_3=beta_3,
            epsilon=epsilon,
            eps_root=eps_root,
        )
        return updates, AdanState(t, m, v, n, g)

    plain = Optimizer(init, update)
    if decay_form == "proximal":
        return _proximal(plain, learning_rate, weight_decay, decay_mask)
    return with_weight_decay(plain, learning_rate, weight_decay, decay_form, decay_mask)


def _proximal(
    optimizer: Optimizer, learning_rate: ScalarOrSchedule, weight_decay: float, decay_mask: Mask
) -> Optimizer:
    """The optimizer with the decay of Adan's paper, which divides by 1 + eta lambda."""
    if is_zero(weight_decay):
        return optimizer

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        eta = rate_at(learning_rate, state.step)
        updates, state = optimizer.update(grads, state, params)
        decaying = prune(updates, resolve_mask(decay_mask, params))
        if is_empty(decaying):
            return updates, state
        (shrunk,) = leafwise(
            proximal_rule, decaying, params=params, eta=eta, weight_decay=weight_decay
        )
        return overlay(shrunk, updates), state

    return Optimizer(optimizer.init, update)
