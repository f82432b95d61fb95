"""RMSProp: each parameter's rate falls with a running mean of its squared gradients.

    s_t = rho s_(t-1) + (1 - rho) g^2
    a_t = rho a_(t-1) + (1 - rho) g             centered
    d_t = s_t - a_t^2                           centered; s_t where not

    inside     r = g / sqrt(d_t + epsilon)
    outside    r = g / (sqrt(d_t) + epsilon)

    u = -eta r, or momentum on r as in `sgd`

With bias_correction s_t / (1 - rho^t) and a_t / (1 - rho^t) stand for s_t and a_t in d_t; t = 1 at
the first update.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import full_like, leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree
from trainlib.optimizers.adagrad import EPSILON_PLACES, root
from trainlib.optimizers.sgd import SgdState, sgd
from trainlib.transforms.decay import Mask, with_weight_decay


def rmsprop_rule(
    g: Tensor,
    s: Tensor,
    *,
    t: Tensor,
    rho: Tensor,
    epsilon: Tensor,
    epsilon_place: str,
    bias_correction: bool,
) -> tuple[Tensor, Tensor]:
    """RMSProp (Tieleman and Hinton 2012), before the learning rate."""
    s = rho * s + (1 - rho) * tf.square(g)
    c = 1 - rho**t if bias_correction else 1.0
    return g / root(s / c, epsilon, epsilon_place), s


def centered_rule(
    g: Tensor,
    s: Tensor,
    a: Tensor,
    *,
    t: Tensor,
    rho: Tensor,
    epsilon: Tensor,
    epsilon_place: str,
    bias_correction: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """RMSProp by an estimate of the variance (Graves 2013), before the learning rate."""
    s = rho * s + (1 - rho) * tf.square(g)
    a = rho * a + (1 - rho) * g
    c = 1 - rho**t if bias_correction else 1.0
    variance = tf.nn.relu(s / c - tf.square(a / c))  # Rounding can leave it below 0.
    return g / root(variance, epsilon, epsilon_place), s, a


class RmspropState(NamedTuple):
    """step: updates made, int64 []. s, a: running means of g^2 and g, like the parameters.

    v: velocities, like the parameters. a is `()` where not centered, v without momentum.
    """

    step: Tensor
    s: Tree
    a: Tree
    v: Tree


_KERAS = {
    "learning_rate": 0.001,
    "rho": 0.9,
    "epsilon": 1e-7,
    "epsilon_place": "inside",
    "velocity": "lr_in",
    "decay_form": "pre",
}
_TORCH = {
    "learning_rate": 0.01,
    "rho": 0.99,
    "epsilon": 1e-8,
    "epsilon_place": "outside",
    "velocity": "lr_out",
    "decay_form": "l2",
}
_OPTAX = _KERAS | {"epsilon": 1e-8, "decay_form": "l2"}
_TEXTBOOK = _KERAS | {"epsilon": 1e-10, "decay_form": "l2"}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, textbook=_TEXTBOOK)
def rmsprop(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    rho: float = BY_CONVENTION,
    momentum: float = 0.0,
    epsilon: float = BY_CONVENTION,
    centered: bool = False,
    *,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    epsilon_place: str = BY_CONVENTION,
    initial_scale: float = 0.0,
    bias_correction: bool = False,
    velocity: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """RMSProp, with momentum where it is above 0.

        s_t = rho s_(t-1) + (1 - rho) g^2,  s_0 = initial_scale
        a_t = rho a_(t-1) + (1 - rho) g,    a_0 = 0
        d_t = s_t                           or, centered, s_t - a_t^2
        inside     r = g / sqrt(d_t + epsilon)
        outside    r = g / (sqrt(d_t) + epsilon)
        w_t = w_(t-1) - eta r               or, with momentum, w moves as `sgd` moves it by r

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        rho: decay of the running means, in [0, 1).
        momentum: in [0, 1]; 0 keeps no velocity.
        epsilon: above 0.
        centered: whether the variance stands for the mean of squares. Where gradients hardly
            change it comes near 0, and the steps grow to eta g / sqrt(epsilon).
        weight_decay: at least 0.
        nesterov: whether to look ahead along the velocity.
        epsilon_place: "inside" or "outside" the root.
        initial_scale: s_0, at least 0.
        bias_correction: whether s_t and a_t are divided by 1 - rho^t in d_t.
        velocity: "lr_in" or "lr_out": whether the velocity holds the learning rate; see `sgd`.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (epsilon 1e-7 inside, lr_in), "torch" (rho 0.99, epsilon 1e-8
            outside, lr_out, rate 0.01, decay l2), "optax" (epsilon 1e-8 inside, lr_in, decay
            l2), "textbook" (epsilon 1e-10 inside, lr_in, decay l2).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody, under the convention of that name; Keras calls s a velocity, and its
    momentum has the opposite sign of v.

    Reference: Tieleman and Hinton 2012, "Neural Networks for Machine Learning", lecture 6.5;
    centered: Graves 2013, "Generating Sequences With Recurrent Neural Networks".
    """
    check_number("rho", rho, at_least=0, below=1)
    check_number("epsilon", epsilon, above=0)
    check_number("initial_scale", initial_scale, at_least=0)
    check_choice("epsilon_place", epsilon_place, EPSILON_PLACES)
    descent = sgd(learning_rate, momentum, nesterov, velocity=velocity)
    rule = functools.partial(
        centered_rule if centered else rmsprop_rule,
        epsilon_place=epsilon_place,
        bias_correction=bias_correction,
    )

    def init(params: Tree) -> RmspropState:
        step, v = descent.init(params)
        a = zeros_like(params) if centered else ()
        return RmspropState(step, full_like(params, initial_scale), a, v)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, RmspropState]:
        slots = (state.s, state.a) if centered else (state.s,)
        scaled, s, *a = leafwise(rule, grads, *slots, t=state.step + 1, rho=rho, epsilon=epsilon)
        updates, (step, v) = descent.update(scaled, SgdState(state.step, state.v), params)
        return updates, RmspropState(step, s, a[0] if centered else (), v)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )
