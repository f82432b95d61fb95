"""AdaBelief: Adam over the root of the squared surprise, the gradient less its mean.

    m_t   = beta_1 m_(t-1) + (1 - beta_1) g
    s_t   = beta_2 s_(t-1) + (1 - beta_2) (g - m_t)^2 + eps_root
    m_hat = m_t / (1 - beta_1^t)
    s_hat = s_t / (1 - beta_2^t)
    u     = -eta m_hat / (sqrt(s_hat) + epsilon)

t = 1 at the first update. Nesterov's mean may stand for m_hat (see nadam.py).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.optimizers.nadam import nesterov_mean
from trainlib.transforms.decay import Mask, with_weight_decay


def adabelief_rule(
    g: Tensor,
    m: Tensor,
    s: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    nesterov: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """AdaBelief (Zhuang et al. 2020, Algorithm 2)."""
    m = beta_1 * m + (1 - beta_1) * g
    s = beta_2 * s + (1 - beta_2) * tf.square(g - m) + eps_root
    c_1 = 1 - beta_1**t
    m_hat = nesterov_mean(g, m, beta_1, beta_1, beta_1**t) if nesterov else m / c_1
    s_hat = s / (1 - beta_2**t)
    return -learning_rate * m_hat / (tf.sqrt(s_hat) + epsilon), m, s


class AdabeliefState(NamedTuple):
    """step: updates made, int64 []. m, s: running means of g and of (g - m)^2."""

    step: Tensor
    m: Tree
    s: Tree


@conventions(
    optax={"epsilon": 1e-16, "eps_root": 1e-16},
    paper={"epsilon": 1e-8, "eps_root": 1e-8},
)
def adabelief(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    eps_root: float = BY_CONVENTION,
    decay_form: str = "add",
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """AdaBelief.

        m_t   = beta_1 m_(t-1) + (1 - beta_1) g
        s_t   = beta_2 s_(t-1) + (1 - beta_2) (g - m_t)^2 + eps_root
        m_hat = m_t / (1 - beta_1^t)
        s_hat = s_t / (1 - beta_2^t)
        w_t   = w_(t-1) - eta m_hat / (sqrt(s_hat) + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: added to the root, at least 0.
        nesterov: whether Nesterov's mean, with a constant momentum, stands for m_hat: see `nadam`.
        weight_decay: at least 0.
        eps_root: added to s_t at every update, at least 0.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" (epsilon and eps_root 1e-16), "paper" (both 1e-8; it has one epsilon in
            both places).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody. eps_root is not what it is in `adam`: it stays in s_t, where it adds up
    to eps_root / (1 - beta_2).

    Reference: Zhuang et al. 2020, "AdaBelief Optimizer: Adapting Stepsizes by the Belief in
    Observed Gradients".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    rule = functools.partial(adabelief_rule, nesterov=nesterov)

    def init(params: Tree) -> AdabeliefState:
        zeros = zeros_like(params)
        return AdabeliefState(tf.zeros([], tf.int64), zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdabeliefState]:
        t = state.step + 1
        updates, m, s = leafwise(
            rule,
            grads,
            state.m,
            state.s,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            eps_root=eps_root,
        )
        return updates, AdabeliefState(t, m, s)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )
