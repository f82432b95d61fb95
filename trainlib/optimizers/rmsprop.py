"""RMSProp, plain and centered."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import is_zero, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.adagrad import root
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule, full
from trainlib.optimizers.sgd import sgd_hyperparameters, sgd_update
from trainlib.transforms.decay import Mask


def rmsprop_update(
    g: Tensor, s: Tensor, a: Tensor | None, v: Tensor | None, hp: Hyperparameters
) -> tuple[Any, ...]:
    """Apply RMSProp to one tensor (Tieleman and Hinton 2012; centered: Graves 2013)."""
    s = hp.rho * s + (1 - hp.rho) * tf.square(g)
    c = 1 - hp.rho**hp.t if hp.bias_correction else 1.0
    d = s / c
    if a is not None:
        a = hp.rho * a + (1 - hp.rho) * g
        d = tf.nn.relu(d - tf.square(a / c))  # Rounding can leave it below 0.
    r = g / root(d, hp.epsilon, hp.epsilon_place)
    u, v = sgd_update(r, v, hp)
    return u, s, a, v


class RmspropState(NamedTuple):
    """State of `rmsprop`.

    Attributes:
        step: number of updates made; int64, shape [].
        s: running means of squared gradients; like the parameters, float32 or wider.
        a: running means of gradients, `()` where not centered; like the parameters.
        v: velocities, `()` without momentum; like the parameters.
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
@checked
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
        w_t = w_(t-1) - eta r               or, with momentum, as `sgd` with the gradient r

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001,
            0.01 (torch).
        rho: decay of the running means, in [0, 1). Default: 0.9, 0.99 (torch).
        momentum: in [0, 1]; 0 keeps no velocity. Default: 0.
        epsilon: above 0. Default: 1e-7 (keras), 1e-8 (torch, optax), 1e-10 (textbook).
        centered: whether to divide by the standard deviation instead of the root of the mean of
            squares. Where gradients hardly change it approaches 0, and the steps grow to eta g /
            sqrt(epsilon). Default: False.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        nesterov: whether to use Nesterov's momentum; it needs a momentum above 0. Default: False.
        epsilon_place: "inside" or "outside" the root. Default: "outside" (torch), "inside" (the
            others).
        initial_scale: s_0, at least 0. Default: 0.
        bias_correction: whether s_t and a_t are divided by 1 - rho^t in d_t. Default: False.
        velocity: whether the velocity includes the learning rate, "lr_in" or "lr_out"; see `sgd`.
            Default: "lr_out" (torch), "lr_in" (the others).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "l2" (the others).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax" or "textbook". Default: "keras".

    Returns:
        An `Optimizer` with an `RmspropState`.

    Raises:
        ValueError: a hyperparameter out of its range, or nesterov without a momentum.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.rmsprop(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.4989 -1.4739]

    Differences:
        Keras: s is called a velocity, and the momentum has the opposite sign of v.

    References:
        Tieleman and Hinton 2012, "Neural Networks for Machine Learning", lecture 6.5; centered:
        Graves 2013, "Generating Sequences With Recurrent Neural Networks".
    """
    return from_update_rule(
        rmsprop_update,
        RmspropState,
        slots={
            "s": full(initial_scale),
            "a": zeros_like if centered else None,
            "v": None if is_zero(momentum) else zeros_like,
        },
        learning_rate=learning_rate,
        hyperparameters=sgd_hyperparameters(momentum, nesterov, velocity=velocity)
        | {
            "rho": rho,
            "epsilon": epsilon,
            "epsilon_place": epsilon_place,
            "bias_correction": bias_correction,
        },
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )._replace(by_row=True)
