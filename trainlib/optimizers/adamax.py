"""Adamax and AdamaxW: Adam with the infinity norm in the place of the root of squares.

    m_t = beta_1 m_(t-1) + (1 - beta_1) g

    denominator   u_t = max(beta_2 u_(t-1), |g|)              u = -eta / c_1 m_t / (u_t + epsilon)
    in_max        u_t = max(beta_2 u_(t-1), |g| + epsilon)    u = -eta / c_1 m_t / u_t
    none          u_t = max(beta_2 u_(t-1), |g|)              u = -eta / c_1 m_t / u_t

with c_1 = 1 - beta_1^t; t = 1 at the first update. AdamaxW decays the weights beside u.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.decay import Mask, with_weight_decay

EPSILON_PLACES = ("denominator", "in_max", "none")


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
    eps_at: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adamax (Kingma and Ba 2015, Algorithm 2)."""
    m = beta_1 * m + (1 - beta_1) * g
    u = tf.maximum(beta_2 * u, tf.abs(g) + epsilon if eps_at == "in_max" else tf.abs(g))
    step = -learning_rate / (1 - beta_1**t) * m
    if eps_at == "none":
        return tf.math.divide_no_nan(step, u), m, u
    return step / (u + epsilon if eps_at == "denominator" else u), m, u


class AdamaxState(NamedTuple):
    """step: updates made, int64 []. m: running means of g; u: decaying maxima of |g|."""

    step: Tensor
    m: Tree
    u: Tree


_KERAS = {
    "learning_rate": 0.001,
    "epsilon": 1e-7,
    "eps_at": "denominator",
    "decay_form": "pre",
}
_TORCH = {"learning_rate": 0.002, "epsilon": 1e-8, "eps_at": "in_max", "decay_form": "l2"}
_OPTAX = _TORCH | {"learning_rate": 0.001, "decay_form": "add"}
_PAPER = {"learning_rate": 0.002, "epsilon": 0.0, "eps_at": "none", "decay_form": "add"}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER)
def adamax(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    eps_at: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Adamax.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        denominator   u_t = max(beta_2 u_(t-1), |g|)
                      w_t = w_(t-1) - eta / (1 - beta_1^t) m_t / (u_t + epsilon)
        in_max        u_t = max(beta_2 u_(t-1), |g| + epsilon)
                      w_t = w_(t-1) - eta / (1 - beta_1^t) m_t / u_t
        none          as in_max with an epsilon of 0, and 0 / 0 = 0

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the maximum, in [0, 1).
        epsilon: above 0; not read where eps_at is "none".
        weight_decay: at least 0.
        eps_at: "denominator", "in_max" or "none": where epsilon is added.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (denominator, epsilon 1e-7), "torch" (in_max, epsilon 1e-8, eta 0.002,
            decay l2), "optax" (in_max, epsilon 1e-8), "paper" (none, eta 0.002).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: the paper, which leaves open what 0 / 0 is while all gradients were 0; here the
    weight stays.

    Reference: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", section 7.1.
    """
    check_rate("learning_rate", learning_rate)
    check_number("beta_1", beta_1, at_least=0, below=1)
    check_number("beta_2", beta_2, at_least=0, below=1)
    check_choice("eps_at", eps_at, EPSILON_PLACES)
    if eps_at != "none":
        check_number("epsilon", epsilon, above=0)
    rule = functools.partial(adamax_rule, eps_at=eps_at)

    def init(params: Tree) -> AdamaxState:
        zeros = zeros_like(params)
        return AdamaxState(tf.zeros([], tf.int64), zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdamaxState]:
        t = state.step + 1
        updates, m, u = leafwise(
            rule,
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

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )


@conventions(optax=_OPTAX | {"weight_decay": 0.0001})
def adamaxw(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    weight_decay: float = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    eps_at: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Adamax with decoupled weight decay.

        w_t = w_(t-1) + u - eta weight_decay w_(t-1)

    with u the update of `adamax`.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        weight_decay: at least 0; a share of eta.
        beta_1, beta_2, epsilon, eps_at: as in `adamax`.
        decay_form: "pre" and "add" are the same up to rounding; "add_abs" leaves eta out.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax", the one library that has it: `adamax` in that convention.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody. Keras's Adamax with a weight_decay is `adamax` with it.

    Reference: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    return adamax(
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        weight_decay=weight_decay,
        eps_at=eps_at,
        decay_form=decay_form,
        decay_mask=decay_mask,
    )
