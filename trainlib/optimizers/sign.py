"""Rules that read only signs: signSGD, Signum, Lion and Rprop.

    signSGD    u   = -eta sign(g)

    Signum     m_t = mu m_(t-1) + (1 - mu) g
               u   = -eta sign(m_t)

    Lion       u   = -eta sign(beta_1 m_(t-1) + (1 - beta_1) g)
               m_t = beta_2 m_(t-1) + (1 - beta_2) g

    Rprop      s       = -sign(g u_(t-1))
               delta_t = delta_(t-1) times eta_plus, 1 or eta_minus as s is 1, 0 or -1
               u_t     = -delta_t sign(g), but 0 where s = -1

sign(0) = 0. u_(t-1) has the opposite sign of the last gradient, so s tells whether the gradient
kept its sign. w moves by u; Rprop's variants differ in when and where it does.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import full_like, leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.decay import Mask, with_weight_decay

RPROPS = ("irprop_minus", "rprop_plus", "late")


def sign_rule(g: Tensor, *, learning_rate: Tensor) -> tuple[Tensor]:
    """signSGD (Bernstein et al. 2018, Algorithm 1)."""
    return (-learning_rate * tf.sign(g),)


def signum_rule(
    g: Tensor, m: Tensor, *, learning_rate: Tensor, momentum: Tensor
) -> tuple[Tensor, Tensor]:
    """Signum (Bernstein et al. 2018, Algorithm 2)."""
    m = momentum * m + (1 - momentum) * g
    return -learning_rate * tf.sign(m), m


def lion_rule(
    g: Tensor, m: Tensor, *, learning_rate: Tensor, beta_1: Tensor, beta_2: Tensor
) -> tuple[Tensor, Tensor]:
    """Lion (Chen et al. 2023, Algorithm 2)."""
    u = -learning_rate * tf.sign(beta_1 * m + (1 - beta_1) * g)
    m = beta_2 * m + (1 - beta_2) * g
    return u, m


def rprop_rule(
    g: Tensor,
    delta: Tensor,
    u: Tensor,
    *,
    eta_minus: Tensor,
    eta_plus: Tensor,
    min_step_size: Tensor,
    max_step_size: Tensor,
    variant: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rprop (Riedmiller and Braun 1993; irprop_minus: Igel and Huesken 2000)."""
    s = -tf.sign(g) * tf.sign(u)
    none, one = tf.zeros_like(g), tf.ones_like(g)
    factor = tf.where(s > 0, eta_plus * one, tf.where(s < 0, eta_minus * one, one))
    delta = tf.clip_by_value(delta * factor, min_step_size, max_step_size)
    last, u = u, tf.where(s < 0, none, -delta * tf.sign(g))
    if variant == "rprop_plus":
        return tf.where(s < 0, -last, u), delta, u
    if variant == "late":
        return tf.where(s < 0, none, last), delta, u
    return u, delta, u


class SignState(NamedTuple):
    """step: updates made, int64 []."""

    step: Tensor


class MomentumState(NamedTuple):
    """step: updates made, int64 []. m: running means of g, like the parameters."""

    step: Tensor
    m: Tree


class RpropState(NamedTuple):
    """step: updates made, int64 []. delta: step sizes. u: updates, 0 where the sign changed.

    delta and u are like the parameters.
    """

    step: Tensor
    delta: Tree
    u: Tree


@conventions(optax={}, paper={})
def sign_sgd(learning_rate: ScalarOrSchedule = 0.001, *, convention: str = "optax") -> Optimizer:
    """Gradient descent by the signs of the gradients.

        w_t = w_(t-1) - eta sign(g)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        convention: "optax" or "paper", which are one.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody.

    Reference: Bernstein et al. 2018, "signSGD: Compressed Optimisation for Non-Convex Problems".
    """
    check_rate("learning_rate", learning_rate)

    def init(params: Tree) -> SignState:
        return SignState(tf.zeros([], tf.int64))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, SignState]:
        (updates,) = leafwise(sign_rule, grads, learning_rate=rate_at(learning_rate, state.step))
        return updates, SignState(state.step + 1)

    return Optimizer(init, update)


@conventions(optax={}, paper={})
def signum(
    learning_rate: ScalarOrSchedule = 0.001, momentum: float = 0.9, *, convention: str = "optax"
) -> Optimizer:
    """Gradient descent by the signs of a running mean of the gradients.

        m_t = mu m_(t-1) + (1 - mu) g
        w_t = w_(t-1) - eta sign(m_t)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        momentum: mu in [0, 1); 0 is `sign_sgd`.
        convention: "optax" or "paper", which are one.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody; Optax calls mu beta.

    Reference: Bernstein et al. 2018, "signSGD: Compressed Optimisation for Non-Convex Problems".
    """
    check_rate("learning_rate", learning_rate)
    check_number("momentum", momentum, at_least=0, below=1)

    def init(params: Tree) -> MomentumState:
        return MomentumState(tf.zeros([], tf.int64), zeros_like(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, MomentumState]:
        eta = rate_at(learning_rate, state.step)
        updates, m = leafwise(signum_rule, grads, state.m, learning_rate=eta, momentum=momentum)
        return updates, MomentumState(state.step + 1, m)

    return Optimizer(init, update)


@conventions(
    keras={"weight_decay": 0.0, "decay_form": "pre"},
    optax={"weight_decay": 0.001, "decay_form": "add"},
    paper={"weight_decay": 0.0, "decay_form": "add"},
)
def lion(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    *,
    weight_decay: float = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Lion.

        w_t = w_(t-1) - eta sign(beta_1 m_(t-1) + (1 - beta_1) g)
        m_t = beta_2 m_(t-1) + (1 - beta_2) g

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: share of the mean in the update, in [0, 1].
        beta_2: decay of the mean of gradients, in [0, 1).
        weight_decay: at least 0; 0 (keras, paper), 0.001 (optax).
        decay_form: "pre" and "add" are the same up to rounding; see `with_weight_decay`.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (decay pre), "optax" (decay add), "paper" (decay add).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody, under the convention of that name; Keras refuses a beta_1 of 0.

    Reference: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms".
    """
    check_rate("learning_rate", learning_rate)
    check_number("beta_1", beta_1, at_least=0, at_most=1)
    check_number("beta_2", beta_2, at_least=0, below=1)

    def init(params: Tree) -> MomentumState:
        return MomentumState(tf.zeros([], tf.int64), zeros_like(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, MomentumState]:
        eta = rate_at(learning_rate, state.step)
        updates, m = leafwise(
            lion_rule, grads, state.m, learning_rate=eta, beta_1=beta_1, beta_2=beta_2
        )
        return updates, MomentumState(state.step + 1, m)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )


@conventions(
    torch={"variant": "irprop_minus"}, optax={"variant": "late"}, paper={"variant": "rprop_plus"}
)
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
    """Rprop: step sizes that grow while a gradient keeps its sign; for whole batches.

        s       = -sign(g u_(t-1))
        delta_t = clip(delta_(t-1) eta_plus,  min, max)    where s > 0
                  clip(delta_(t-1) eta_minus, min, max)    where s < 0
                  delta_(t-1)                              where s = 0
        u_t     = 0 where s < 0, else -delta_t sign(g)

        irprop_minus    w_t = w_(t-1) + u_t
        rprop_plus      w_t = w_(t-1) - u_(t-1) where s < 0, else w_(t-1) + u_t
        late            w_t = w_(t-1)           where s < 0, else w_(t-1) + u_(t-1)

    Args:
        learning_rate: delta_0, between min_step_size and max_step_size; a number, a scalar
            tensor, or a schedule, of which the first value counts.
        eta_minus: in (0, 1).
        eta_plus: above 1.
        min_step_size, max_step_size: bounds of the step sizes, above 0.
        variant: "irprop_minus", "rprop_plus" (a step that went too far is taken back), or "late".
        convention: "torch" (irprop_minus), "optax" (late), "paper" (rprop_plus).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody, under the convention of that name. "late" is a fault of Optax 0.2.8: it
    returns the update of the step before, so that the first step moves nothing.

    Reference: Riedmiller and Braun 1993, "A Direct Adaptive Method for Faster Backpropagation
    Learning: The RPROP Algorithm"; Igel and Huesken 2000, "Improving the Rprop Learning
    Algorithm".
    """
    _check_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size)
    check_choice("variant", variant, RPROPS)
    rule = functools.partial(rprop_rule, variant=variant)

    def init(params: Tree) -> RpropState:
        step = tf.zeros([], tf.int64)
        delta = full_like(params, rate_at(learning_rate, step))
        return RpropState(step, delta, zeros_like(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, RpropState]:
        updates, delta, u = leafwise(
            rule,
            grads,
            state.delta,
            state.u,
            eta_minus=eta_minus,
            eta_plus=eta_plus,
            min_step_size=min_step_size,
            max_step_size=max_step_size,
        )
        return updates, RpropState(state.step + 1, delta, u)

    return Optimizer(init, update)


def _check_rprop(
    learning_rate: ScalarOrSchedule,
    eta_minus: float,
    eta_plus: float,
    min_step_size: float,
    max_step_size: float,
) -> None:
    check_rate("learning_rate", learning_rate)
    check_number("eta_minus", eta_minus, above=0, below=1)
    check_number("eta_plus", eta_plus, above=1)
    check_number("min_step_size", min_step_size, above=0)
    check_number("max_step_size", max_step_size, above=0)
    sizes = [
        x for x in (min_step_size, learning_rate, max_step_size) if isinstance(x, (int, float))
    ]
    if sizes != sorted(sizes):
        raise ValueError(
            "learning_rate must be between min_step_size and max_step_size, got "
            f"{learning_rate!r}, {min_step_size!r} and {max_step_size!r}"
        )
