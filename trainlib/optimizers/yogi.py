"""Yogi: Adam whose mean of squares moves by a bounded amount, up or down.

    m_t = beta_1 m_(t-1) + (1 - beta_1) g
    v_t = v_(t-1) - (1 - beta_2) sign(v_(t-1) - g^2) g^2

and the update of Adam from m_t and v_t, in one of its forms (see adam.py).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import full_like, leafwise
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import BIAS_FORMS, adam_update, check_adam
from trainlib.transforms.decay import Mask, with_weight_decay


def yogi_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    bias_form: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Yogi (Zaheer et al. 2018, Algorithm 2)."""
    m = beta_1 * m + (1 - beta_1) * g
    v = v - (1 - beta_2) * tf.sign(v - tf.square(g)) * tf.square(g)
    u = adam_update(m, v, t, learning_rate, beta_1, beta_2, epsilon, eps_root, bias_form)
    return u, m, v


class YogiState(NamedTuple):
    """step: updates made, int64 []. m, v: running means of g and g^2, like the parameters."""

    step: Tensor
    m: Tree
    v: Tree


_OPTAX = {
    "learning_rate": 0.001,
    "initial_accumulator_value": 1e-6,
    "initial_mean_value": 1e-6,
    "bias_form": "corrected",
}
_PAPER = {
    "learning_rate": 0.01,
    "initial_accumulator_value": 0.0,
    "initial_mean_value": 0.0,
    "bias_form": "none",
}


@conventions(optax=_OPTAX, paper=_PAPER)
def yogi(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-3,
    *,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = BY_CONVENTION,
    initial_mean_value: float = BY_CONVENTION,
    eps_root: float = 0.0,
    bias_form: str = BY_CONVENTION,
    decay_form: str = "add",
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Yogi.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        v_t = v_(t-1) - (1 - beta_2) sign(v_(t-1) - g^2) g^2
        c_1 = 1 - beta_1^t,  c_2 = 1 - beta_2^t
        corrected   w_t = w_(t-1) - eta (m_t / c_1) / (sqrt(v_t / c_2 + eps_root) + epsilon)
        none        w_t = w_(t-1) - eta m_t / (sqrt(v_t + eps_root) + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: added to the root, at least 0.
        weight_decay: at least 0.
        initial_accumulator_value: v_0, at least 0.
        initial_mean_value: m_0.
        eps_root: added inside the root, at least 0.
        bias_form: "corrected", "none", or the "folded" of `adam`.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" (corrected, m_0 = v_0 = 1e-6), "paper" (no correction, m_0 = v_0 = 0,
            eta 0.01).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody. Optax starts the mean of gradients at v_0 too, which moves weights whose
    gradients are 0; initial_mean_value=0 does not. The paper's experiments start v_0 at a mean of
    squared gradients.

    Reference: Zaheer et al. 2018, "Adaptive Methods for Nonconvex Optimization".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    check_number("initial_accumulator_value", initial_accumulator_value, at_least=0)
    check_number("initial_mean_value", initial_mean_value)
    check_choice("bias_form", bias_form, BIAS_FORMS)
    rule = functools.partial(yogi_rule, bias_form=bias_form)

    def init(params: Tree) -> YogiState:
        m = full_like(params, initial_mean_value)
        v = full_like(params, initial_accumulator_value)
        return YogiState(tf.zeros([], tf.int64), m, v)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, YogiState]:
        t = state.step + 1
        updates, m, v = leafwise(
            rule,
            grads,
            state.m,
            state.v,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            eps_root=eps_root,
        )
        return updates, YogiState(t, m, v)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )
