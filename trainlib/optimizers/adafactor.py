"""Adafactor."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import compute_dtype, is_zero, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def adafactor_update(
    g: Tensor, R: Tensor, C: Tensor, V: Tensor, M: Tensor | None, hp: Hyperparameters
) -> tuple[Any, ...]:
    """Apply Adafactor to one tensor (Shazeer and Stern 2018, Algorithms 4 and 5)."""
    epsilon_1 = np.finfo(g.dtype.as_numpy_dtype).eps if hp.epsilon_1 is None else hp.epsilon_1
    added, floor = (epsilon_1, 0.0) if hp.eps1_mode == "add" else (0.0, epsilon_1)
    beta_2 = 1 - hp.t**hp.beta_2_decay
    s = tf.square(g) + added
    axes = factored_axes(hp.w.shape.as_list(), hp.factor_axes, hp.min_dim)
    if axes is None:
        V = beta_2 * V + (1 - beta_2) * s
        V_t = V
    else:
        rows, columns = axes
        R = beta_2 * R + (1 - beta_2) * tf.reduce_mean(s, columns, keepdims=True)
        C = beta_2 * C + (1 - beta_2) * tf.reduce_mean(s, rows, keepdims=True)
        V_t = R / tf.maximum(tf.reduce_mean(R, rows, keepdims=True), floor) * C
    U = g / tf.sqrt(tf.maximum(V_t, floor**2))
    if hp.clip_threshold is not None:
        U = U / tf.maximum(rms(U) / hp.clip_threshold, 1.0)
    rho = tf.minimum(1 / tf.sqrt(hp.t), hp.eta) if hp.rho_rule == "min_rsqrt" else hp.eta
    alpha = tf.maximum(rms(hp.w), hp.epsilon_2) * rho if hp.scale_parameter else rho
    u = -alpha * U
    if M is not None:
        u = M = hp.momentum * M + (1 - hp.momentum) * u
    return u, R, C, V, M


def factored_axes(shape: list[int], factor_axes: str, min_dim: int) -> tuple[int, int] | None:
    """Return the axes of rows and of columns; None for a tensor that is not factored."""
    rank = len(shape)
    if factor_axes == "none" or rank < 2:
        return None
    axes = list(range(rank))
    if factor_axes == "two_largest":
        axes.sort(key=lambda axis: shape[axis])
    rows, columns = axes[-2:]
    return None if min(shape[rows], shape[columns]) < max(min_dim, 1) else (rows, columns)


def rms(x: Tensor) -> Tensor:
    """Return the root of the mean of squares."""
    return tf.sqrt(tf.reduce_mean(tf.square(x)))


class AdafactorState(NamedTuple):
    """State of `adafactor`.

    R and C of a parameter that is not factored, and V of one that is, are a 0 of shape []. All are
    float32 or wider.

    Attributes:
        step: number of updates made; int64, shape [].
        R: means of g^2 over columns; of the parameter's shape with a 1 for the axis of columns.
        C: means of g^2 over rows; of the parameter's shape with a 1 for the axis of rows.
        V: running means of g^2 of parameters that are not factored; of the parameter's shape.
        M: running means of updates, `()` without momentum; like the parameters.
    """

    step: Tensor
    R: Tree
    C: Tree
    V: Tree
    M: Tree


_KERAS = {
    "learning_rate": 0.001,
    "epsilon_1": 1e-30,
    "rho_rule": "min_rsqrt",
    "eps1_mode": "add",
    "factor_axes": "last_two",
    "min_dim": 0,
    "decay_form": "pre",
}
_PAPER = _KERAS | {"learning_rate": 0.01, "decay_form": "add"}
_TORCH = _PAPER | {"epsilon_1": None, "eps1_mode": "floor"}
_OPTAX = _KERAS | {
    "rho_rule": "lr",
    "factor_axes": "two_largest",
    "min_dim": 128,
    "decay_form": "add_abs",
}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER)
@checked
def adafactor(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_2_decay: float = -0.8,
    epsilon_1: float | None = BY_CONVENTION,
    epsilon_2: float = 1e-3,
    clip_threshold: float | None = 1.0,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    rho_rule: str = BY_CONVENTION,
    eps1_mode: str = BY_CONVENTION,
    scale_parameter: bool = True,
    factor_axes: str = BY_CONVENTION,
    min_dim: int = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Adafactor: Adam's denominator in the memory of a row and a column.

        beta_2t = 1 - t^beta_2_decay
        R_t = beta_2t R_(t-1) + (1 - beta_2t) (means of g^2 + epsilon_1 over columns)
        C_t = beta_2t C_(t-1) + (1 - beta_2t) (means of g^2 + epsilon_1 over rows)
        V_t = R_t C_t / (mean of R_t over rows)
        U   = g / sqrt(V_t)
        U   = U / max(1, RMS(U) / clip_threshold)
        w_t = w_(t-1) - max(epsilon_2, RMS(w_(t-1))) rho_t U

    with RMS the root of the mean of squares, and t = 1 at the first update. A tensor that is not
    factored, such as a vector, has V_t = beta_2t V_(t-1) + (1 - beta_2t) (g^2 + epsilon_1).

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001
            (keras, optax), 0.01 (torch, paper).
        beta_2_decay: the power of t in beta_2t, at most 0. Default: -0.8.
        epsilon_1: above 0; None is the machine epsilon of the compute dtype. Default: 1e-30, None
            (torch).
        epsilon_2: the least RMS(w) of a step, at least 0. Default: 0.001.
        clip_threshold: the largest RMS of U, above 0; None does not clip. Default: 1.
        momentum: decay of a running mean of updates, in [0, 1); 0 keeps none. Default: 0.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        rho_rule: "min_rsqrt", rho_t = min(eta, 1 / sqrt(t)), or "lr", rho_t = eta. Default: "lr"
            (optax), "min_rsqrt" (the others).
        eps1_mode: "add": epsilon_1 is added to g^2; "floor": the mean of R_t is at least epsilon_1
            and V_t at least epsilon_1^2. Default: "floor" (torch), "add" (the others).
        scale_parameter: whether steps are relative to RMS(w). Default: True.
        factor_axes: which axes are rows and columns: "last_two", "two_largest" or "none". Default:
            "two_largest" (optax), "last_two" (the others).
        min_dim: tensors with fewer rows or columns are not factored; at least 0. Default: 128
            (optax), 0 (the others).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "add_abs" (optax), "add" (the others). With "pre", RMS(w) is
            taken after the decay.
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with an `AdafactorState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adafactor(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.7098 -1.7038]

    Differences:
        Keras: has a relative_step, which has no effect.
        Optax: t^beta_2_decay is computed in float32, which shows in float64 only (2e-8); among axes
            of the same size others may be chosen.

    References:
        Shazeer and Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost".
    """

    def zeros(w: Tensor, slot: str) -> Tensor:
        shape = list(w.shape)
        axes = factored_axes(shape, factor_axes, min_dim)
        return tf.zeros(slot_shape(shape, axes, slot), compute_dtype(w.dtype))

    def initial(params: Tree, slot: str) -> Tree:
        return tf.nest.map_structure(functools.partial(zeros, slot=slot), params)

    return from_update_rule(
        adafactor_update,
        AdafactorState,
        slots={slot: functools.partial(initial, slot=slot) for slot in "RCV"}
        | {"M": None if is_zero(momentum) else zeros_like},
        learning_rate=learning_rate,
        hyperparameters={
            "beta_2_decay": beta_2_decay,
            "epsilon_1": epsilon_1,
            "epsilon_2": epsilon_2,
            "clip_threshold": clip_threshold,
            "momentum": momentum,
            "rho_rule": rho_rule,
            "eps1_mode": eps1_mode,
            "scale_parameter": scale_parameter,
            "factor_axes": factor_axes,
            "min_dim": min_dim,
        },
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )


def slot_shape(shape: list[int], axes: tuple[int, int] | None, slot: str) -> list[int]:
    """Return the shape of R, C or V of a parameter; [] if the parameter does not use it."""
    if axes is None:
        return shape if slot == "V" else []
    rows, columns = axes
    without = {"R": columns, "C": rows, "V": None}[slot]
    if without is None:
        return []
    return [1 if axis == without else size for axis, size in enumerate(shape)]
