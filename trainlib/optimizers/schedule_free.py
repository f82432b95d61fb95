"""Schedule-free AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import (
    compute_dtype,
    is_zero,
    leaves_by_path,
    paths,
    scalar,
    widen,
    zeros_like,
)
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.base import Hyperparameters, checked, copies, map_update_rule
from trainlib.transforms.decay import Mask, add_decayed_weights, with_weight_decay
from trainlib.transforms.states import find_states


def direction_leaf(g: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Return the direction of the step of z, without weight decay, and the new v."""
    v = hp.beta_2 * v + (1 - hp.beta_2) * tf.square(g)
    v_hat = v / (1 - hp.beta_2**hp.t) if hp.bias_form == "corrected" else v
    return g / (tf.sqrt(v_hat) + hp.epsilon), v


def schedule_free_update(d: Tensor, z: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply the step of one tensor (Defazio et al. 2024, Algorithm 1); hp.w is y.

    y was made with the beta_1 of the last update, hp.last_beta_1; hp.last_rest is 1 less that.
    """
    x = (hp.w - hp.last_rest * z) / hp.last_beta_1
    z = z - hp.eta * d
    x = (1 - hp.c) * x + hp.c * z
    y = (1 - hp.beta_1) * z + hp.beta_1 * x
    return y - hp.w, z


def average(y: Tensor, z: Tensor, beta_1: Tensor) -> Tensor:
    """Return x, given y = (1 - beta_1) z + beta_1 x."""
    return (y - (1 - beta_1) * z) / beta_1


class ScheduleFreeState(NamedTuple):
    """State of `schedule_free_adamw`.

    Attributes:
        step: number of updates made; int64, shape [].
        z: the fast sequence; like the parameters, float32 or wider.
        v: running means of squared gradients; like the parameters, float32 or wider.
        beta_1: the beta_1 of the last interpolation; float64, shape [].
        rate_max: the largest learning rate so far; float64, shape [].
        weight_sum: the sum of the weights so far; float64, shape [].
    """

    step: Tensor
    z: Tree
    v: Tree
    beta_1: Tensor
    rate_max: Tensor
    weight_sum: Tensor


_KERAS = {
    "weight_decay": 0.0,
    "warmup_from": "one",
    "bias_form": "corrected",
    "weight_lr_power": 0.0,
    "weight_of": "lr",
    "interp": "keras_alias",
    "decay_form": "pre",
}
_PAPER = _KERAS | {
    "bias_form": "folded",
    "weight_lr_power": 2.0,
    "interp": "exact",
    "decay_form": "in_z",
}
_OPTAX = _PAPER | {"bias_form": "corrected", "warmup_from": "zero", "weight_of": "next_lr_max"}


@conventions(keras=_KERAS, optax=_OPTAX, paper=_PAPER)
@checked
def schedule_free_adamw(
    learning_rate: ScalarOrSchedule = 0.0025,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    warmup_steps: int = 0,
    *,
    weight_decay: float = BY_CONVENTION,
    warmup_from: str = BY_CONVENTION,
    bias_form: str = BY_CONVENTION,
    weight_lr_power: float = BY_CONVENTION,
    weight_of: str = BY_CONVENTION,
    interp: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Schedule-free AdamW: an average of the parameters instead of a decaying learning rate.

        eta_t = eta min(t / warmup_steps, 1)    (warmup_from "zero": (t - 1) / warmup_steps)
        v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2

        corrected   d = g / (sqrt(v_t / (1 - beta_2^t)) + epsilon)
        folded      d = g / (sqrt(v_t) + epsilon),  eta_t = eta_t sqrt(1 - beta_2^t)

        d     = d + weight_decay y_(t-1)    with decay_form "in_z"
        c_t   = rate_t^p / (rate_1^p + ... + rate_t^p)
        z_t   = z_(t-1) - eta_t d
        x_t   = (1 - c_t) x_(t-1) + c_t z_t
        y_t   = (1 - beta_1) z_t + beta_1 x_t

    with x_0 = y_0 = z_0 and p the weight_lr_power. The parameters are y, where gradients are
    taken; evaluate at x, which is `schedule_free_eval_params(state, params)`. Trainers and commands
    evaluate and save y.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.0025.
        beta_1: weight of x in y, above 0 and at most 1. Default: 0.9.
        beta_2: decay of the mean of squares, in [0, 1). Default: 0.999.
        epsilon: added to the root, above 0. Default: 1e-8.
        warmup_steps: updates over which eta_t rises to eta; 0 for no warm-up. Default: 0.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        warmup_from: the first learning rate of the warm-up: "one", eta / warmup_steps, or "zero",
            0. Default: "zero" (optax), "one" (keras, paper).
        bias_form: where the bias of v_t is corrected: "corrected" or "folded". Folded, the
            correction is a part of eta_t, and so of c_t and of the decay. Default: "folded"
            (paper), "corrected" (keras, optax).
        weight_lr_power: p, at least 0; with 0 x is the mean of z, c_t = 1 / t. Default: 0 (keras),
            2 (optax, paper).
        weight_of: rate_t: "lr", which is eta_t; "lr_max", the largest eta so far; "next_lr_max",
            the largest so far and of the next update. Default: "next_lr_max" (optax), "lr" (keras,
            paper).
        interp: "exact", or "keras_alias", where beta_1 is ignored and y = x. Default: "keras_alias"
            (keras), "exact" (optax, paper).
        decay_form: "in_z", where the decay is a part of d, or where it acts on y: "pre", "add",
            "add_abs" or "l2"; see `with_weight_decay`. Default: "pre" (keras), "in_z" (optax,
            paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with a `ScheduleFreeState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.schedule_free_adamw(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(3):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(tl.schedule_free_eval_params(state, w), 4))
        [ 0.8061 -1.8029]

    Differences:
        Keras: with TensorFlow and PyTorch the z of the last update is overwritten before it is
            read, so that beta_1 has no effect; with JAX it is not. That form is the convention
            "keras"; the intended one is "keras" with interp="exact".

    References:
        Defazio et al. 2024, "The Road Less Scheduled".
    """
    decay = add_decayed_weights(weight_decay, decay_mask)
    if interp == "keras_alias":
        # The old y and the new z give y_t = (1 - 1/t) y_(t-1) + z_t / t, in which beta_1 cancels.
        beta_1 = 1.0
    folded_beta_2 = beta_2 if bias_form == "folded" else None
    eta = _warm_rate(learning_rate, warmup_steps, warmup_from, folded_beta_2)
    fixed = {"beta_2": beta_2, "epsilon": epsilon}

    def init(params: Tree) -> ScheduleFreeState:
        zero = tf.zeros([], tf.float64)
        return ScheduleFreeState(
            tf.zeros([], tf.int64),
            copies(params),
            zeros_like(params),
            scalar(beta_1, zero),
            zero,
            zero,
        )

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, ScheduleFreeState]:
        t = state.step + 1
        rate = eta(state.step)
        weighted = eta(t) if weight_of == "next_lr_max" else rate
        rate_max = tf.maximum(state.rate_max, weighted)
        weight = (weighted if weight_of == "lr" else rate_max) ** scalar(weight_lr_power, rate)
        weight_sum = state.weight_sum + weight
        d, v = map_update_rule(
            direction_leaf,
            grads,
            state.v,
            params=params,
            scalars={**fixed, "t": t},
            constants={"bias_form": bias_form},
        )
        if decay_form == "in_z":
            d, _ = decay.update(d, (), params)
        c = tf.math.divide_no_nan(weight, weight_sum)
        last = {"last_beta_1": state.beta_1, "last_rest": 1 - state.beta_1}
        scalars = {"eta": rate, "c": c, "beta_1": beta_1, **last}
        updates, z = map_update_rule(
            schedule_free_update, d, state.z, params=params, scalars=scalars
        )
        new_beta_1 = scalar(beta_1, state.beta_1)
        return updates, ScheduleFreeState(t, z, v, new_beta_1, rate_max, weight_sum)

    optimizer = Optimizer(init, update)
    if decay_form == "in_z":
        return optimizer
    return with_weight_decay(optimizer, learning_rate, weight_decay, decay_form, decay_mask)


def _warm_rate(
    learning_rate: ScalarOrSchedule,
    warmup_steps: int,
    warmup_from: str,
    folded_beta_2: float | None,
) -> Callable[[Tensor], Tensor]:
    """Return eta_t, a function of the updates made, in float64."""

    def eta(step: Tensor) -> Tensor:
        rate = scalar(rate_at(learning_rate, step), tf.zeros([], tf.float64))
        if not is_zero(warmup_steps):
            count = tf.cast(step + (1 if warmup_from == "one" else 0), tf.float64)
            rate = rate * tf.minimum(count / scalar(warmup_steps, rate), 1.0)
        if folded_beta_2 is not None:
            t = tf.cast(step + 1, rate.dtype)
            rate = rate * tf.sqrt(1 - scalar(folded_beta_2, rate) ** t)
        return rate

    return eta


def schedule_free_eval_params(state: State, params: Tree) -> Tree:
    """Return x, the parameters at which `schedule_free_adamw` is evaluated.

        x = (y - (1 - beta_1) z) / beta_1

    Args:
        state: a state of `schedule_free_adamw`, or one that contains it: of a chain, a wrapper, a
            partition.
        params: y, the parameters that it updates. One that the optimizer does not update, such as a
            frozen one, is returned unchanged.

    Returns:
        A structure like the parameters.

    Raises:
        TypeError: the state contains none of `schedule_free_adamw`.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> state = tl.schedule_free_adamw().init(w)
        >>> print(tl.schedule_free_eval_params(state, w).numpy())
        [ 1. -2.]
    """
    found = {
        path: (z, inner.beta_1)
        for inner in find_states(state, ScheduleFreeState)
        for path, z in leaves_by_path(inner.z)
    }
    if not found:
        raise TypeError(
            f"schedule_free_eval_params needs a state of schedule_free_adamw, got "
            f"{type(state).__name__}"
        )

    def evaluated(path: str, y: Tensor) -> Tensor:
        y = tf.convert_to_tensor(y)
        if path not in found:
            return y
        z, beta_1 = found[path]
        return tf.cast(average(widen(y), z, tf.cast(beta_1, compute_dtype(y.dtype))), y.dtype)

    return tf.nest.map_structure(evaluated, paths(params), params)
