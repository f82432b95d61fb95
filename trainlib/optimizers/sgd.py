"""Stochastic gradient descent: plain, with momentum, and with Nesterov's momentum."""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import is_zero, scalar, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree, apply_updates
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def sgd_update(g: Tensor, v: Tensor | None, hp: Hyperparameters) -> tuple[Tensor, Tensor | None]:
    """Apply gradient descent to one tensor, with momentum (Polyak 1964; Nesterov 1983) where v is.

    Nesterov's gradient is taken at w; see `sgd`.
    """
    if v is None:
        return -hp.eta * g, None
    inner, outer = (hp.eta, 1.0) if hp.velocity == "lr_in" else (1.0, hp.eta)
    v = hp.momentum * v - (1 - hp.dampening) * inner * g
    if hp.first_velocity == "copy":
        v = tf.where(hp.t > 1, v, -inner * g)
    u = hp.momentum * v - inner * g if hp.nesterov else v
    return outer * u, v


class SgdState(NamedTuple):
    """State of `sgd`.

    Attributes:
        step: number of updates made; int64, shape [].
        v: velocities, `()` without momentum; like the parameters, float32 or wider.
    """

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
@checked
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

        plain     w_t = w_(t-1) - eta g

        lr_in     v_t = mu v_(t-1) - (1 - dampening) eta g
                  w_t = w_(t-1) + v_t                   or, with nesterov,
                  w_t = w_(t-1) + mu v_t - eta g

        lr_out    v_t = mu v_(t-1) - (1 - dampening) g
                  w_t = w_(t-1) + eta v_t               or, with nesterov,
                  w_t = w_(t-1) + eta (mu v_t - g)

    with v_0 = 0, and mu the momentum.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.01,
            0.001 (torch).
        momentum: mu, in [0, 1]; 0 keeps no velocity. Default: 0.
        nesterov: whether to use Nesterov's momentum. It needs a momentum above 0 and a dampening of
            0. Default: False.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        dampening: the fraction of the gradient that the velocity leaves out, in [0, 1]. Default: 0.
        velocity: whether the velocity includes the learning rate: "lr_in" or "lr_out". The two
            differ once the learning rate changes. Default: "lr_in" (keras, textbook), "lr_out"
            (torch, optax).
        first_velocity: "zero", or "copy": the first gradient enters the velocity undampened. The
            two differ with a dampening above 0. Default: "copy" (torch), "zero" (the others).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "l2" (the others).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax" or "textbook". Default: "keras".

    Returns:
        An `Optimizer` with an `SgdState`.

    Raises:
        ValueError: a hyperparameter out of its range; nesterov without a momentum or with a
            dampening.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.sgd(0.1, momentum=0.5)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.54 -1.08]

    Differences:
        PyTorch, Optax: the velocity has the opposite sign.
        Paper: textbooks and Sutskever et al. take Nesterov's gradient at the point w + mu v; the
            libraries keep that point in w. See `nesterov_point`.

    References:
        Polyak 1964; Nesterov 1983; Sutskever et al. 2013, "On the importance of initialization and
        momentum in deep learning".
    """
    return from_update_rule(
        sgd_update,
        SgdState,
        slots={"v": None if is_zero(momentum) else zeros_like},
        learning_rate=learning_rate,
        hyperparameters=sgd_hyperparameters(
            momentum, nesterov, dampening, velocity, first_velocity
        ),
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )._replace(by_row=True)


def sgd_hyperparameters(
    momentum: float,
    nesterov: bool,
    dampening: float = 0.0,
    velocity: str = "lr_in",
    first_velocity: str = "zero",
) -> dict[str, Any]:
    """Return the hyperparameters of `sgd_update` by name.

    Raises:
        ValueError: nesterov without a momentum, or with a dampening.
    """
    if nesterov and is_zero(momentum):
        raise ValueError("nesterov needs a momentum above 0, got momentum=0")
    if nesterov and isinstance(dampening, numbers.Real) and not is_zero(dampening):
        raise ValueError(f"nesterov needs a dampening of 0, got {dampening!r}")
    return {
        "momentum": momentum,
        "dampening": dampening,
        "velocity": velocity,
        "first_velocity": first_velocity,
        "nesterov": nesterov,
    }


def nesterov_point(
    params: Tree, state: SgdState, momentum: float, learning_rate: float | Tensor = 1.0
) -> Tree:
    """Return the point at which textbooks take Nesterov's gradient.

        w + mu v            lr_in
        w + eta mu v        lr_out

    The Nesterov momentum of the textbooks is momentum with its gradient taken there:

        tx = tl.sgd(0.01, momentum=0.9)
        grads = gradient(tl.nesterov_point(params, state, 0.9))
        updates, state = tx.update(grads, state, params)

    `sgd(nesterov=True)` under lr_in makes the same steps in other variables: its parameters are
    the textbooks' look-ahead points, at any learning rate, and
    `nesterov_point(params, state, -momentum)` recovers the textbooks' parameters. Under lr_out
    this holds while the learning rate is constant.

    Args:
        params: w.
        state: a state of `sgd` with a momentum.
        momentum: mu, in [-1, 1].
        learning_rate: eta of the next update under lr_out, at least 0. Leave it out under lr_in.
            Default: 1.

    Returns:
        A structure like the parameters.

    Raises:
        ValueError: a state without a velocity, or a hyperparameter out of its range.
        TypeError: the state of another optimizer, or a hyperparameter of another type.

    Example:
        >>> tx = tl.sgd(0.5, momentum=0.5)
        >>> w = tf.constant(1.0)
        >>> _, state = tx.update(tf.constant(1.0), tx.init(w), w)
        >>> float(tl.nesterov_point(w, state, 0.5))
        0.75

    References:
        Nesterov 1983; Sutskever et al. 2013, "On the importance of initialization and momentum in
        deep learning".
    """
    check_number("momentum", momentum, at_least=-1, at_most=1)
    check_number("learning_rate", learning_rate, at_least=0)
    if not isinstance(state, SgdState):
        raise TypeError(f"nesterov_point needs a state of sgd, got {type(state).__name__}")
    if isinstance(state.v, tuple) and not state.v:
        raise ValueError("nesterov_point needs a velocity, and sgd without momentum keeps none")

    def ahead(v: Tensor) -> Tensor:
        return scalar(learning_rate, v) * scalar(momentum, v) * v

    return apply_updates(params, tf.nest.map_structure(ahead, state.v))
