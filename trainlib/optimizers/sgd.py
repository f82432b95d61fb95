"""Stochastic gradient descent: plain, with momentum, and Nesterov's.

    plain       u   = -eta g

    lr_in       v_t = mu v_(t-1) - (1 - dampening) eta g
    momentum    u   = v_t
    Nesterov    u   = mu v_t - eta g

    lr_out      v_t = mu v_(t-1) - (1 - dampening) g
    momentum    u   = eta v_t
    Nesterov    u   = eta (mu v_t - g)

w moves by u. eta: learning rate; mu: momentum; g: gradient at w; v: velocity, at first 0.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import is_zero, leafwise, scalar, zeros_like
from trainlib.core.types import (
    Optimizer,
    ScalarOrSchedule,
    State,
    Tensor,
    Tree,
    apply_updates,
    rate_at,
)
from trainlib.transforms.decay import Mask, with_weight_decay

VELOCITIES = ("lr_in", "lr_out")
FIRST_VELOCITIES = ("zero", "copy")


def sgd_rule(g: Tensor, *, learning_rate: Tensor) -> tuple[Tensor]:
    """Gradient descent: u = -eta g."""
    return (-learning_rate * g,)


def momentum_rule(
    g: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    momentum: Tensor,
    dampening: Tensor,
    velocity: str,
    first_velocity: str,
    nesterov: bool,
) -> tuple[Tensor, Tensor]:
    """Momentum (Polyak 1964) and Nesterov's (1983), with g taken at w; see the file's head."""
    inner, outer = (learning_rate, 1.0) if velocity == "lr_in" else (1.0, learning_rate)
    v = momentum * v - (1 - dampening) * inner * g
    if first_velocity == "copy":
        v = tf.where(t > 1, v, -inner * g)
    u = momentum * v - inner * g if nesterov else v
    return outer * u, v


class SgdState(NamedTuple):
    """step: updates made, int64 []. v: velocities like the parameters; `()` without momentum."""

    step: Tensor
    v: Tree


_KERAS = {
    "learning_rate": 0.01,
    "velocity": "lr_in",
    "first_velocity": "zero",
    "decay_form": "pre",
}
_TORCH = {
    "learning_rate": 0.001,
    "velocity": "lr_out",
    "first_velocity": "copy",
    "decay_form": "l2",
}
_OPTAX = _KERAS | {"velocity": "lr_out", "decay_form": "l2"}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, textbook=_KERAS | {"decay_form": "l2"})
def sgd(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    momentum: float = 0.0,
    nesterov: bool = False,
    *,
    weight_decay: float = 0.0,
    dampening: float = 0.0,
    velocity: str = BY_CONVENTION,
    first_velocity: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Stochastic gradient descent, with momentum where it is above 0.

        lr_in     v_t = mu v_(t-1) - (1 - dampening) eta g
                  w_t = w_(t-1) + v_t                   or, with nesterov,
                  w_t = w_(t-1) + mu v_t - eta g
        lr_out    v_t = mu v_(t-1) - (1 - dampening) g
                  w_t = w_(t-1) + eta v_t               or, with nesterov,
                  w_t = w_(t-1) + eta (mu v_t - g)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        momentum: mu in [0, 1]; 0 keeps no velocity.
        nesterov: whether to look ahead along the velocity.
        weight_decay: at least 0.
        dampening: in [0, 1]: the share of the gradient that the velocity leaves out.
        velocity: "lr_in" or "lr_out": whether the velocity holds the learning rate.
        first_velocity: "zero", or "copy": the first gradient enters the velocity undampened.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (lr_in), "torch" (lr_out, first_velocity copy, decay l2), "optax"
            (lr_out, decay l2), "textbook" (lr_in, decay l2).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody, under the convention of that name; PyTorch's and Optax's velocity has
    the opposite sign in its state. lr_in and lr_out part once the rate changes; "zero" and
    "copy" part under dampening. Textbooks and Sutskever et al. take Nesterov's gradient at the
    point w + mu v, and the libraries hold that point in w: see `nesterov_point`.

    Reference: Polyak 1964; Nesterov 1983; Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning".
    """
    check_rate("learning_rate", learning_rate)
    check_number("momentum", momentum, at_least=0, at_most=1)
    check_number("dampening", dampening, at_least=0, at_most=1)
    check_choice("velocity", velocity, VELOCITIES)
    check_choice("first_velocity", first_velocity, FIRST_VELOCITIES)
    if nesterov and is_zero(momentum):
        raise ValueError("nesterov needs a momentum above 0, got momentum=0")
    if nesterov and isinstance(dampening, (int, float)) and dampening != 0:
        raise ValueError(f"nesterov needs a dampening of 0, got {dampening!r}")
    has_velocity = not is_zero(momentum)
    rule = functools.partial(
        momentum_rule, velocity=velocity, first_velocity=first_velocity, nesterov=nesterov
    )

    def init(params: Tree) -> SgdState:
        return SgdState(tf.zeros([], tf.int64), zeros_like(params) if has_velocity else ())

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, SgdState]:
        t = state.step + 1
        eta = rate_at(learning_rate, state.step)
        if not has_velocity:
            (updates,) = leafwise(sgd_rule, grads, learning_rate=eta)
            return updates, SgdState(t, ())
        updates, v = leafwise(
            rule,
            grads,
            state.v,
            t=t,
            learning_rate=eta,
            momentum=momentum,
            dampening=dampening,
        )
        return updates, SgdState(t, v)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )


def nesterov_point(
    params: Tree, state: SgdState, momentum: float, learning_rate: float | Tensor = 1.0
) -> Tree:
    """The point at which the textbooks take Nesterov's gradient.

        w + mu v            lr_in
        w + eta mu v        lr_out

    The textbooks' Nesterov is momentum with its gradient taken there:

        tx = tl.sgd(0.01, momentum=0.9)
        grads = gradient(tl.nesterov_point(params, state, 0.9))
        updates, state = tx.update(grads, state, params)

    `sgd(nesterov=True)` under lr_in makes the same steps in other variables: its parameters are
    the textbooks' look-ahead points, whatever the rate does, and
    `nesterov_point(params, state, -momentum)` gives the textbooks' parameters back. Under lr_out
    this holds while the rate is constant.

    Args:
        params: w.
        state: of `sgd` with a momentum.
        momentum: mu in [-1, 1].
        learning_rate: eta of the next update, under lr_out; to be left out under lr_in.

    Raises:
        ValueError, TypeError: a state without a velocity, or of another optimizer; a
            hyperparameter out of its range, or of another type.

    Reference: Nesterov 1983; Sutskever et al. 2013, "On the importance of initialization and
    momentum in deep learning".
    """
    check_number("momentum", momentum, at_least=-1, at_most=1)
    check_number("learning_rate", learning_rate, at_least=0)
    if not isinstance(state, SgdState):
        raise TypeError(f"nesterov_point needs a state of sgd, got a {type(state).__name__}")
    if isinstance(state.v, tuple) and not state.v:
        raise ValueError("nesterov_point needs a velocity, and sgd without momentum keeps none")

    def ahead(v: Tensor) -> Tensor:
        return scalar(learning_rate, v) * scalar(momentum, v) * v

    return apply_updates(params, tf.nest.map_structure(ahead, state.v))
