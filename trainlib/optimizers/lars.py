"""LARS: momentum, in steps proportional to the norm of each tensor.

    d = g + lambda w
    joint      n = ||d||
    separate   n = ||g|| + lambda ||w||
    ratio = trust_coefficient ||w|| / (n + epsilon)
    v_t = momentum v_(t-1) - eta ratio d
    u = v_t,  or with Nesterov  u = momentum v_t - eta ratio d

The ratio is 1 where ||w|| or n is 0, and for parameters that are not adapted. lambda: weight_decay.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, resolve_mask, scalar, widen, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.lamb import norm
from trainlib.transforms.decay import Mask

RATIO_FORMS = ("joint", "separate")


def lars_rule(
    g: Tensor,
    v: Tensor,
    decay: Tensor,
    adapted: bool,
    *,
    w: Tensor,
    learning_rate: Tensor,
    momentum: Tensor,
    trust_coefficient: Tensor,
    epsilon: Tensor,
    nesterov: bool,
    ratio_form: str,
) -> tuple[Tensor, Tensor, Tensor, bool]:
    """LARS (You, Gitman and Ginsburg 2017, Algorithm 1); decay: the tensor's own lambda."""
    d = g + decay * w
    ratio = 1.0
    if adapted:
        n = norm(d) if ratio_form == "joint" else norm(g) + decay * norm(w)
        ratio = trust_ratio(norm(w), n, trust_coefficient, epsilon)
    v = momentum * v - learning_rate * ratio * d
    u = momentum * v - learning_rate * ratio * d if nesterov else v
    return u, v, decay, adapted


def trust_ratio(w_norm: Tensor, n: Tensor, trust_coefficient: Tensor, epsilon: Tensor) -> Tensor:
    """trust_coefficient ||w|| / (n + epsilon), and 1 where ||w|| or n is 0."""
    ratio = trust_coefficient * w_norm / (n + epsilon)
    return tf.where((w_norm > 0) & (n > 0), ratio, tf.ones_like(ratio))


class LarsState(NamedTuple):
    """step: updates made, int64 []. v: velocity, like the parameters."""

    step: Tensor
    v: Tree


_OPTAX = {"weight_decay": 0.0, "ratio_form": "joint"}
_PAPER = {"weight_decay": 0.0005, "ratio_form": "separate"}


@conventions(optax=_OPTAX, paper=_PAPER)
def lars(
    learning_rate: ScalarOrSchedule = 1.0,
    momentum: float = 0.9,
    nesterov: bool = False,
    *,
    weight_decay: float = BY_CONVENTION,
    trust_coefficient: float = 0.001,
    epsilon: float = 0.0,
    ratio_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    ratio_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """LARS: momentum with a step proportional to the norm of each tensor.

        d = g + weight_decay w_(t-1)
        joint      n = ||d||
        separate   n = ||g|| + weight_decay ||w_(t-1)||
        ratio = trust_coefficient ||w_(t-1)|| / (n + epsilon)
        v_t = momentum v_(t-1) - eta ratio d
        w_t = w_(t-1) + v_t

    and with Nesterov w_t = w_(t-1) + momentum v_t - eta ratio d. The ratio is 1 where ||w|| or n
    is 0.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        momentum: in [0, 1).
        nesterov: whether to look ahead along the velocity.
        weight_decay: at least 0; 0 (optax), 0.0005 (paper).
        trust_coefficient: above 0; at eta = 1 a first step moves a tensor by this share of its
            norm.
        epsilon: added to n, at least 0.
        ratio_form: "joint" or "separate": whether n is the norm of a sum or a sum of norms.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        ratio_mask: which parameters are adapted; the others have a ratio of 1. Commonly all but
            biases and the scales of normalization.
        convention: "optax" (joint) or "paper" (separate).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: the paper, which does not say what the ratio is where a norm is 0.

    Reference: You, Gitman and Ginsburg 2017, "Large Batch Training of Convolutional Networks".
    """
    check_rate("learning_rate", learning_rate)
    check_number("momentum", momentum, at_least=0, below=1)
    check_number("weight_decay", weight_decay, at_least=0)
    check_number("trust_coefficient", trust_coefficient, above=0)
    check_number("epsilon", epsilon, at_least=0)
    check_choice("ratio_form", ratio_form, RATIO_FORMS)
    rule = functools.partial(lars_rule, nesterov=nesterov, ratio_form=ratio_form)

    def init(params: Tree) -> LarsState:
        return LarsState(tf.zeros([], tf.int64), zeros_like(params))

    def own_decay(w: Tensor, decays: bool) -> Tensor:
        return scalar(weight_decay if decays else 0.0, widen(w))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, LarsState]:
        decays = tf.nest.map_structure(own_decay, params, resolve_mask(decay_mask, params))
        updates, v, _, _ = leafwise(
            rule,
            grads,
            state.v,
            decays,
            resolve_mask(ratio_mask, params),
            params=params,
            learning_rate=rate_at(learning_rate, state.step),
            momentum=momentum,
            trust_coefficient=trust_coefficient,
            epsilon=epsilon,
        )
        return updates, LarsState(state.step + 1, v)

    return Optimizer(init, update)
