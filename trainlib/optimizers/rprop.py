"""Rprop and its variants."""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import full_like, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree, rate_at
from trainlib.optimizers.base import Hyperparameters, checked, from_update_rule


def rprop_update(g: Tensor, delta: Tensor, u: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply Rprop to one tensor (Riedmiller and Braun 1993; irprop_minus: Igel and Huesken 2000).

    The last update u has the opposite sign of the last gradient, or is 0.
    """
    s = -tf.sign(g) * tf.sign(u)
    zero, one = tf.zeros_like(g), tf.ones_like(g)
    factor = tf.where(s > 0, hp.eta_plus * one, tf.where(s < 0, hp.eta_minus * one, one))
    delta = tf.clip_by_value(delta * factor, hp.min_step_size, hp.max_step_size)
    last, u = u, tf.where(s < 0, zero, -delta * tf.sign(g))
    if hp.variant == "rprop_plus":
        return tf.where(s < 0, -last, u), delta, u
    if hp.variant == "late":
        return tf.where(s < 0, zero, last), delta, u
    return u, delta, u


class RpropState(NamedTuple):
    """State of `rprop`.

    Attributes:
        step: number of updates made; int64, shape [].
        delta: step sizes; like the parameters, float32 or wider.
        u: last updates, 0 where the gradient changed its sign; like the parameters.
    """

    step: Tensor
    delta: Tree
    u: Tree


@conventions(
    torch={"variant": "irprop_minus"}, optax={"variant": "late"}, paper={"variant": "rprop_plus"}
)
@checked
def rprop(
    learning_rate: ScalarOrSchedule = 0.01,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
    *,
    variant: str = BY_CONVENTION,
    convention: str = "torch",
) -> Optimizer:
    """Rprop: step sizes that grow while a gradient keeps its sign; for full batches.

        s       = -sign(g u_(t-1))
        delta_t = clip(delta_(t-1) eta_plus,  min, max)    where s > 0
                  clip(delta_(t-1) eta_minus, min, max)    where s < 0
                  delta_(t-1)                              where s = 0
        u_t     = 0 where s < 0, else -delta_t sign(g)

        irprop_minus    w_t = w_(t-1) + u_t
        rprop_plus      w_t = w_(t-1) - u_(t-1) where s < 0, else w_(t-1) + u_t
        late            w_t = w_(t-1)           where s < 0, else w_(t-1) + u_(t-1)

    with u_0 = 0. s is 1 where the gradient keeps its sign and -1 where it changes it.

    Args:
        learning_rate: delta_0, between min_step_size and max_step_size: a number, a scalar tensor
            or a schedule, whose first value alone is used. Default: 0.01.
        eta_minus: factor of a step size where the gradient changes its sign, in (0, 1). Default:
            0.5.
        eta_plus: factor of a step size where the gradient keeps its sign, above 1. Default: 1.2.
        min_step_size: the smallest step size, above 0. Default: 1e-6.
        max_step_size: the largest step size, above 0. Default: 50.
        variant: "irprop_minus", "rprop_plus", which reverts a step that went too far, or "late".
            Default: "irprop_minus" (torch), "late" (optax), "rprop_plus" (paper).
        convention: "torch", "optax" or "paper". Default: "torch".

    Returns:
        An `Optimizer` with an `RpropState`.

    Raises:
        ValueError: a hyperparameter out of its range, or a learning rate that is not between the
            smallest and the largest step size.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.rprop(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.78 -1.78]

    Differences:
        Optax: 0.2.8 returns the update of the step before, so that the first step does not move the
            parameters. That is a fault, which "late" reproduces.

    References:
        Riedmiller and Braun 1993, "A Direct Adaptive Method for Faster Backpropagation Learning:
        The RPROP Algorithm"; Igel and Huesken 2000, "Improving the Rprop Learning Algorithm".
    """
    sizes = [
        x for x in (min_step_size, learning_rate, max_step_size) if isinstance(x, numbers.Real)
    ]
    if sizes != sorted(sizes):
        raise ValueError(
            "learning_rate must be between min_step_size and max_step_size, got "
            f"{learning_rate!r}, {min_step_size!r} and {max_step_size!r}"
        )

    def first_sizes(params: Tree) -> Tree:
        return full_like(params, rate_at(learning_rate, tf.zeros([], tf.int64)))

    return from_update_rule(
        rprop_update,
        RpropState,
        slots={"delta": first_sizes, "u": zeros_like},
        learning_rate=learning_rate,
        hyperparameters={
            "eta_minus": eta_minus,
            "eta_plus": eta_plus,
            "min_step_size": min_step_size,
            "max_step_size": max_step_size,
            "variant": variant,
        },
    )
