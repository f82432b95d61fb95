"""Schedule-free AdamW: a fast sequence z, its average x, and gradients taken between them, at y.

    eta_t = eta min(t / warmup_steps, 1)          of warmup_from "zero"  (t - 1) / warmup_steps
    v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
    corrected   d = g / (sqrt(v_t / (1 - beta_2^t)) + epsilon)
    folded      eta_t = eta_t sqrt(1 - beta_2^t),   d = g / (sqrt(v_t) + epsilon)
    d     = d + lambda y                                                of decay_form "in_z"
    c_t   = rate_t^p / (rate_1^p + ... + rate_t^p)
    z_t   = z_(t-1) - eta_t d
    x_t   = (1 - c_t) x_(t-1) + c_t z_t
    y_t   = (1 - beta_1) z_t + beta_1 x_t

The parameters are y; x is found from y and z. p: weight_lr_power; rate_t: eta_t, or the largest
eta so far; lambda: weight_decay. t = 1 at the first update.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import compute_dtype, is_zero, leafwise, scalar, widen, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.transforms.decay import DECAY_FORMS, Mask, add_decayed_weights, with_weight_decay

WARMUPS = ("one", "zero")
BIAS_FORMS = ("corrected", "folded")
WEIGHTS = ("lr", "lr_max", "next_lr_max")
INTERPS = ("exact", "keras_alias")


def direction_rule(
    g: Tensor, v: Tensor, *, t: Tensor, beta_2: Tensor, epsilon: Tensor, bias_form: str
) -> tuple[Tensor, Tensor]:
    """d, without its decay."""
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    v_hat = v / (1 - beta_2**t) if bias_form == "corrected" else v
    return g / (tf.sqrt(v_hat) + epsilon), v


def schedule_free_rule(
    d: Tensor, z: Tensor, *, w: Tensor, learning_rate: Tensor, c: Tensor, beta_1: Tensor
) -> tuple[Tensor, Tensor]:
    """The step of z, and of the averages after it (Defazio et al. 2024, Algorithm 1); w is y."""
    x = average(w, z, beta_1)
    z = z - learning_rate * d
    x = (1 - c) * x + c * z
    y = (1 - beta_1) * z + beta_1 * x
    return y - w, z


def average(y: Tensor, z: Tensor, beta_1: Tensor) -> Tensor:
    """x, of which y = (1 - beta_1) z + beta_1 x."""
    return (y - (1 - beta_1) * z) / beta_1


class ScheduleFreeState(NamedTuple):
    """step: updates made, int64 []. z: the fast sequence; v: running mean of g^2; like the
    parameters. beta_1: that of the interpolation, rate_max: the largest rate so far, weight_sum:
    the sum of weights so far, float64 [].
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
    """Schedule-free AdamW: averages in the place of a decaying learning rate.

        v_t = beta_2 v_(t-1) + (1 - beta_2) g^2
        d   = g / (sqrt(v_t / (1 - beta_2^t)) + epsilon) + weight_decay y_(t-1)
        z_t = z_(t-1) - eta_t d
        x_t = (1 - c_t) x_(t-1) + c_t z_t
        y_t = (1 - beta_1) z_t + beta_1 x_t

    The parameters are y, where gradients are taken; evaluate at x, which is
    `schedule_free_eval_params(state, params)`. See the head of the file for c_t.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: the share of x in y, above 0 and at most 1.
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: above 0.
        warmup_steps: updates over which eta rises to its value; 0 for none.
        weight_decay: at least 0.
        warmup_from: "one": the first update has eta / warmup_steps; "zero": it has 0.
        bias_form: "corrected" or "folded": where the bias of v_t is corrected; folded, the
            correction is a part of eta_t, and so of c_t and of the decay.
        weight_lr_power: p, at least 0; with 0 x is the plain mean of z, c_t = 1 / t.
        weight_of: the rate in c_t: "lr", that of the update; "lr_max", the largest so far;
            "next_lr_max", the largest so far with that of the next update.
        interp: "exact"; or "keras_alias", where beta_1 has no effect and is 1: y = x.
        decay_form: "in_z": the decay is a part of d; or "pre", "add", "add_abs" or "l2", of y; see
            `with_weight_decay`.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" (corrected, next_lr_max, warm-up from zero), "paper" (folded, weights
            eta_t^2) or "keras" (plain mean, decay pre, and keras_alias). All three have the
            hyperparameters' defaults in common.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: Keras by default. There, on TensorFlow and PyTorch, the z before the update is
    overwritten before it is read, which leaves beta_1 without effect; on JAX it is not. That form
    is the convention "keras", and its intended one the same with interp="exact".

    Reference: Defazio et al. 2024, "The Road Less Scheduled".
    """
    check_adam(0.0, 0.0, beta_2, epsilon)
    check_schedule_free(learning_rate, beta_1, warmup_steps, weight_lr_power)
    check_choice("warmup_from", warmup_from, WARMUPS)
    check_choice("bias_form", bias_form, BIAS_FORMS)
    check_choice("weight_of", weight_of, WEIGHTS)
    check_choice("interp", interp, INTERPS)
    check_choice("decay_form", decay_form, ("in_z", *DECAY_FORMS))
    rule = functools.partial(direction_rule, bias_form=bias_form)
    penalized = add_decayed_weights(weight_decay, decay_mask)
    if interp == "keras_alias":
        # The old y and the new z give y_t = (1 - 1/t) y_(t-1) + z_t / t, in which beta_1 cancels.
        beta_1 = 1.0

    def init(params: Tree) -> ScheduleFreeState:
        zero = tf.zeros([], tf.float64)
        z = tf.nest.map_structure(lambda w: tf.identity(widen(w)), params)
        return ScheduleFreeState(
            tf.zeros([], tf.int64), z, zeros_like(params), scalar(beta_1, zero), zero, zero
        )

    def eta(step: Tensor) -> Tensor:
        """The warm rate of the update after `step` others, as far as `warmup_from` counts."""
        rate = scalar(rate_at(learning_rate, step), tf.zeros([], tf.float64))
        if is_zero(warmup_steps):
            return rate
        count = tf.cast(step + (1 if warmup_from == "one" else 0), tf.float64)
        return rate * tf.minimum(count / scalar(warmup_steps, rate), 1.0)

    def corrected(rate: Tensor, t: Tensor) -> Tensor:
        if bias_form == "corrected":
            return rate
        return rate * tf.sqrt(1 - scalar(beta_2, rate) ** tf.cast(t, rate.dtype))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, ScheduleFreeState]:
        t = state.step + 1
        rate = corrected(eta(state.step), t)
        weighed = corrected(eta(t), t + 1) if weight_of == "next_lr_max" else rate
        rate_max = tf.maximum(state.rate_max, weighed)
        weight = (weighed if weight_of == "lr" else rate_max) ** scalar(weight_lr_power, rate)
        weight_sum = state.weight_sum + weight
        d, v = leafwise(rule, grads, state.v, t=t, beta_2=beta_2, epsilon=epsilon)
        if decay_form == "in_z":
            d, _ = penalized.update(d, (), params)
        updates, z = leafwise(
            schedule_free_rule,
            d,
            state.z,
            params=params,
            learning_rate=rate,
            c=tf.math.divide_no_nan(weight, weight_sum),
            beta_1=beta_1,
        )
        return updates, ScheduleFreeState(t, z, v, state.beta_1, rate_max, weight_sum)

    optimizer = Optimizer(init, update)
    if decay_form == "in_z":
        return optimizer
    return with_weight_decay(optimizer, learning_rate, weight_decay, decay_form, decay_mask)


def schedule_free_eval_params(state: ScheduleFreeState, params: Tree) -> Tree:
    """x, the parameters to evaluate, of a state of `schedule_free_adamw` and its parameters.

        x = (y - (1 - beta_1) z) / beta_1

    Raises:
        TypeError: the state of another optimizer.
    """
    if not isinstance(state, ScheduleFreeState):
        raise TypeError(
            f"schedule_free_eval_params takes the state of schedule_free_adamw, got a "
            f"{type(state).__name__}"
        )

    def evaluated(y: Tensor, z: Tensor) -> Tensor:
        y = tf.convert_to_tensor(y)
        beta_1 = tf.cast(state.beta_1, compute_dtype(y.dtype))
        return tf.cast(average(widen(y), z, beta_1), y.dtype)

    return tf.nest.map_structure(evaluated, params, state.z)


def check_schedule_free(
    learning_rate: ScalarOrSchedule, beta_1: float, warmup_steps: int, weight_lr_power: float
) -> None:
    """Raises unless the numbers that Adam does not have are in their ranges."""
    check_rate("learning_rate", learning_rate)
    check_number("beta_1", beta_1, above=0, at_most=1)
    check_number("warmup_steps", warmup_steps, at_least=0)
    check_number("weight_lr_power", weight_lr_power, at_least=0)
