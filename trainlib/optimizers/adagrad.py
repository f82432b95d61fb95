"""AdaGrad: each parameter's rate falls with the sum of its squared gradients.

    s_t   = s_(t-1) + g^2
    eta_t = eta / (1 + (t - 1) lr_decay)

    inside     u = -eta_t g / sqrt(s_t + epsilon)
    outside    u = -eta_t g / (sqrt(s_t) + epsilon)

t = 1 at the first update.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import full_like, leafwise
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.decay import Mask, with_weight_decay

EPSILON_PLACES = ("inside", "outside")


def adagrad_rule(
    g: Tensor,
    s: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    epsilon: Tensor,
    lr_decay: Tensor,
    epsilon_place: str,
    zero_guard: bool,
) -> tuple[Tensor, Tensor]:
    """AdaGrad (Duchi, Hazan and Singer 2011)."""
    s = s + tf.square(g)
    eta = learning_rate / (1 + (t - 1) * lr_decay)
    u = -eta * g / root(s, epsilon, epsilon_place)
    if zero_guard:
        u = tf.where(s > 0, u, tf.zeros_like(u))
    return u, s


def root(s: Tensor, epsilon: Tensor, epsilon_place: str) -> Tensor:
    """The root of squares, with epsilon inside it or outside: sqrt(s + eps) or sqrt(s) + eps."""
    return tf.sqrt(s + epsilon) if epsilon_place == "inside" else tf.sqrt(s) + epsilon


class AdagradState(NamedTuple):
    """step: updates made, int64 []. s: sums of squared gradients, like the parameters."""

    step: Tensor
    s: Tree


_KERAS = {
    "learning_rate": 0.001,
    "initial_accumulator_value": 0.1,
    "epsilon": 1e-7,
    "epsilon_place": "inside",
    "zero_guard": False,
    "decay_form": "pre",
}
_OPTAX = _KERAS | {"zero_guard": True, "decay_form": "l2"}
_PAPER = _KERAS | {
    "initial_accumulator_value": 0.0,
    "epsilon_place": "outside",
    "decay_form": "l2",
}
_TORCH = _PAPER | {"learning_rate": 0.01, "epsilon": 1e-10}
_TEXTBOOK = _PAPER | {"epsilon": 1e-10, "epsilon_place": "inside"}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER, textbook=_TEXTBOOK)
def adagrad(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    initial_accumulator_value: float = BY_CONVENTION,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    epsilon_place: str = BY_CONVENTION,
    lr_decay: float = 0.0,
    zero_guard: bool = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """AdaGrad.

        s_t   = s_(t-1) + g^2,  s_0 = initial_accumulator_value
        eta_t = eta / (1 + (t - 1) lr_decay)
        inside     w_t = w_(t-1) - eta_t g / sqrt(s_t + epsilon)
        outside    w_t = w_(t-1) - eta_t g / (sqrt(s_t) + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        initial_accumulator_value: s_0, at least 0.
        epsilon: at least 0. With an epsilon of 0, no zero_guard and s = 0 the update is 0/0.
        weight_decay: at least 0.
        epsilon_place: "inside" or "outside" the root.
        lr_decay: at least 0; a fall of the rate with the number of updates, beside a schedule.
        zero_guard: whether there is no step where s = 0.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (s_0 = 0.1, epsilon 1e-7 inside), "torch" (s_0 = 0, epsilon 1e-10
            outside, rate 0.01, decay l2), "optax" (as keras, with the zero_guard), "paper"
            (s_0 = 0, epsilon 1e-7 outside), "textbook" (s_0 = 0, epsilon 1e-10 inside).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody, under the convention of that name. The paper names no number for
    epsilon, its delta.

    Reference: Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods for Online Learning
    and Stochastic Optimization".
    """
    check_rate("learning_rate", learning_rate)
    check_number("initial_accumulator_value", initial_accumulator_value, at_least=0)
    check_number("epsilon", epsilon, at_least=0)
    check_number("lr_decay", lr_decay, at_least=0)
    check_choice("epsilon_place", epsilon_place, EPSILON_PLACES)
    rule = functools.partial(adagrad_rule, epsilon_place=epsilon_place, zero_guard=zero_guard)

    def init(params: Tree) -> AdagradState:
        return AdagradState(tf.zeros([], tf.int64), full_like(params, initial_accumulator_value))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdagradState]:
        t = state.step + 1
        updates, s = leafwise(
            rule,
            grads,
            state.s,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            epsilon=epsilon,
            lr_decay=lr_decay,
        )
        return updates, AdagradState(t, s)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )
