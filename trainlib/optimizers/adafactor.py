"""Adafactor: squares of gradients kept as row and column means; clipped, relative steps.

    beta_2t = 1 - t^beta_2_decay
    s = g^2 + epsilon_1                                           of eps1_mode "floor"  s = g^2
    R_t = beta_2t R_(t-1) + (1 - beta_2t) (means of s over columns)
    C_t = beta_2t C_(t-1) + (1 - beta_2t) (means of s over rows)
    V_t = R_t C_t / (mean of R_t over rows)
    U = g / sqrt(V_t)
    U = U / max(1, RMS(U) / clip_threshold)
    min_rsqrt  rho_t = min(eta, 1 / sqrt(t))
    lr         rho_t = eta
    alpha_t = max(epsilon_2, RMS(w)) rho_t
    u = -alpha_t U

A tensor that is not factored keeps V itself: V_t = beta_2t V_(t-1) + (1 - beta_2t) s. With
eps1_mode "floor", the mean of R_t is at least epsilon_1 and V_t at least epsilon_1^2.
RMS: root of the mean of squares. t = 1 at the first update, when beta_2t is 0.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import compute_dtype, is_zero, leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.decay import Mask, with_weight_decay

RHO_RULES = ("min_rsqrt", "lr")
EPS1_MODES = ("add", "floor")
FACTOR_AXES = ("last_two", "two_largest", "none")


def adafactor_rule(
    g: Tensor,
    R: Tensor,
    C: Tensor,
    V: Tensor,
    *,
    w: Tensor,
    t: Tensor,
    learning_rate: Tensor,
    beta_2_decay: Tensor,
    epsilon_2: Tensor,
    epsilon_1: Tensor | None = None,
    clip_threshold: Tensor | None = None,
    rho_rule: str,
    eps1_mode: str,
    scale_parameter: bool,
    factor_axes: str,
    min_dim: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Adafactor (Shazeer and Stern 2018, Algorithms 4 and 5)."""
    epsilon_1 = np.finfo(g.dtype.as_numpy_dtype).eps if epsilon_1 is None else epsilon_1
    added, floor = (epsilon_1, 0.0) if eps1_mode == "add" else (0.0, epsilon_1)
    beta_2 = 1 - t**beta_2_decay
    s = tf.square(g) + added
    axes = factored_axes(w.shape.as_list(), factor_axes, min_dim)
    if axes is None:
        V = beta_2 * V + (1 - beta_2) * s
        V_t = V
    else:
        rows, columns = axes
        R = beta_2 * R + (1 - beta_2) * tf.reduce_mean(s, columns, keepdims=True)
        C = beta_2 * C + (1 - beta_2) * tf.reduce_mean(s, rows, keepdims=True)
        V_t = R / tf.maximum(tf.reduce_mean(R, rows, keepdims=True), floor) * C
    U = g / tf.sqrt(tf.maximum(V_t, floor**2))
    if clip_threshold is not None:
        U = U / tf.maximum(rms(U) / clip_threshold, 1.0)
    rho = learning_rate
    if rho_rule == "min_rsqrt":
        rho = tf.minimum(1 / tf.sqrt(t), learning_rate)
    alpha = tf.maximum(rms(w), epsilon_2) * rho if scale_parameter else rho
    return -alpha * U, R, C, V


def factored_axes(shape: list[int], factor_axes: str, min_dim: int) -> tuple[int, int] | None:
    """The axes of rows and of columns; None for a tensor that is not factored."""
    rank = len(shape)
    if factor_axes == "none" or rank < 2:
        return None
    axes = list(range(rank))
    if factor_axes == "two_largest":
        axes.sort(key=lambda axis: shape[axis])
    rows, columns = axes[-2:]
    return None if min(shape[rows], shape[columns]) < max(min_dim, 1) else (rows, columns)


def rms(x: Tensor) -> Tensor:
    """RMS(x), the root of the mean of squares."""
    return tf.sqrt(tf.reduce_mean(tf.square(x)))


def momentum_rule(u: Tensor, M: Tensor, *, momentum: Tensor) -> tuple[Tensor, Tensor]:
    """The running mean of updates in the update's place."""
    M = momentum * M + (1 - momentum) * u
    return M, M


class AdafactorState(NamedTuple):
    """step: updates made, int64 []. R, C: of a factored parameter, the means of g^2.

    V: of one that is not factored, the running mean of g^2. R and C are of its shape with a 1 for
    the axis of columns and of rows; where R and C, or V, are not in use they are a 0 of shape [].
    M: the running mean of updates, like the parameters; `()` without momentum.
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

    A scalar or a vector keeps V_t = beta_2t V_(t-1) + (1 - beta_2t) (g^2 + epsilon_1) itself.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule. 0.001 (keras,
            optax), 0.01 (torch, paper).
        beta_2_decay: the power of t in beta_2t, at most 0.
        epsilon_1: above 0; 1e-30, of "torch" None, the machine epsilon of the dtype that the rule
            runs in.
        epsilon_2: the least RMS(w) of a step, at least 0.
        clip_threshold: the largest RMS of U, above 0; None clips nothing.
        momentum: of a running mean of updates, in [0, 1); 0 has none.
        weight_decay: at least 0.
        rho_rule: "min_rsqrt": rho_t = min(eta, 1 / sqrt(t)); "lr": rho_t = eta.
        eps1_mode: "add": epsilon_1 is added to g^2; "floor": the mean of R_t is at least epsilon_1
            and V_t at least epsilon_1^2.
        scale_parameter: whether steps are relative to RMS(w).
        factor_axes: "last_two", "two_largest" or "none": which axes are rows and columns.
        min_dim: tensors with fewer rows or columns are not factored; at least 0.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts. With
            "pre" RMS(w) is that of the with_weight_decay w.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (decay pre), "torch" (floor, decay add), "optax" (rho_t = eta, the two
            largest axes from 128 on, decay add_abs) or "paper" (as "keras", learning_rate 0.01).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: Keras's relative_step, which has no effect there and is not here. Optax computes
    t^beta_2_decay in float32, which shows in float64 alone (2e-8); of axes of one size, its choice
    may be another.

    Reference: Shazeer and Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory
    Cost".
    """
    check_adafactor(learning_rate, beta_2_decay, epsilon_1, epsilon_2, clip_threshold)
    check_number("momentum", momentum, at_least=0, below=1)
    check_number("min_dim", min_dim, at_least=0)
    check_choice("rho_rule", rho_rule, RHO_RULES)
    check_choice("eps1_mode", eps1_mode, EPS1_MODES)
    check_choice("factor_axes", factor_axes, FACTOR_AXES)
    rule = functools.partial(
        adafactor_rule,
        rho_rule=rho_rule,
        eps1_mode=eps1_mode,
        scale_parameter=scale_parameter,
        factor_axes=factor_axes,
        min_dim=min_dim,
    )
    optional = {"epsilon_1": epsilon_1, "clip_threshold": clip_threshold}
    given = {name: x for name, x in optional.items() if x is not None}
    has_momentum = not is_zero(momentum)

    def zeros(w: Tensor, slot: str) -> Tensor:
        shape = slot_shape(list(w.shape), factored_axes(list(w.shape), factor_axes, min_dim), slot)
        return tf.zeros(shape, compute_dtype(w.dtype))

    def init(params: Tree) -> AdafactorState:
        R, C, V = (
            tf.nest.map_structure(functools.partial(zeros, slot=slot), params) for slot in "RCV"
        )
        M = zeros_like(params) if has_momentum else ()
        return AdafactorState(tf.zeros([], tf.int64), R, C, V, M)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdafactorState]:
        t = state.step + 1
        updates, R, C, V = leafwise(
            rule,
            grads,
            state.R,
            state.C,
            state.V,
            params=params,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_2_decay=beta_2_decay,
            epsilon_2=epsilon_2,
            **given,
        )
        M = state.M
        if has_momentum:
            updates, M = leafwise(momentum_rule, updates, M, momentum=momentum)
        return updates, AdafactorState(t, R, C, V, M)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )


def slot_shape(shape: list[int], axes: tuple[int, int] | None, slot: str) -> list[int]:
    """The shape of R, C or V of a parameter; [] where the parameter does not use it."""
    if axes is None:
        return shape if slot == "V" else []
    rows, columns = axes
    without = {"R": columns, "C": rows, "V": None}[slot]
    if without is None:
        return []
    return [1 if axis == without else size for axis, size in enumerate(shape)]


def check_adafactor(
    learning_rate: ScalarOrSchedule,
    beta_2_decay: float,
    epsilon_1: float | None,
    epsilon_2: float,
    clip_threshold: float | None,
) -> None:
    """Raises unless the rule's numbers are in their ranges."""
    check_rate("learning_rate", learning_rate)
    check_number("beta_2_decay", beta_2_decay, at_most=0)
    check_number("epsilon_2", epsilon_2, at_least=0)
    if epsilon_1 is not None:
        check_number("epsilon_1", epsilon_1, above=0)
    if clip_threshold is not None:
        check_number("clip_threshold", clip_threshold, above=0)
