"""Loss scaling: gradients too small for float16 are made larger on their way back, and small again.

    g = (1 / S) d(S L) / dw

    one of g is not finite:   the step is skipped,  S = max(S / f, floor),  n = 0
    all are finite:           the step is made,     n = n + 1
        n = N:                                      S = min(S f, cap),      n = 0

L: loss; S: scale; n: finite steps in a row; N: growth_steps; f: factor. With S and f powers of two
the scaling rounds nothing.

Reference: Micikevicius et al., "Mixed precision training", ICLR 2018.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.tree import leaves_by_path, widen
from trainlib.core.types import Tensor, Tree

GROWTH_STEPS = 2000
FACTOR = 2.0
FLOOR = 1.0
CAP = 2.0**24
THE_LOSS = "the loss"
"""What stands for a path where the loss itself was not finite."""


class LossScaleState(NamedTuple):
    """scale: S, float32 []. good_steps: n, int64 [].

    skipped: steps that were skipped, int64 []. skipped_in_a_row: those since the last that was
    made, int64 []. overflowed: the first tensor among the gradients that was not finite, at the
    last step that was skipped, int64 [], and behind them all the loss; -1 before there is one.
    exhausted: whether the last step was skipped though no lower scale was left, bool [].
    """

    scale: Tensor
    good_steps: Tensor
    skipped: Tensor
    skipped_in_a_row: Tensor
    overflowed: Tensor
    exhausted: Tensor


class LossScale(NamedTuple):
    """A pair of pure functions, as an `Optimizer` is.

    init:   `() -> LossScaleState`
    update: `(state, overflowed) -> LossScaleState`, with overflowed as `first_nonfinite` has it.
    """

    init: Callable[[], LossScaleState]
    update: Callable[[LossScaleState, Tensor], LossScaleState]


def next_loss_scale(
    state: LossScaleState,
    overflowed: Tensor,
    *,
    growth_steps: int = GROWTH_STEPS,
    factor: float = FACTOR,
    floor: float = FLOOR,
    cap: float = CAP,
) -> LossScaleState:
    """The scale of the next step; the equations stand at the head of this file.

    Args:
        state: that of the step.
        overflowed: -1 where its gradients are finite, else the place of the first that is not, as
            `first_nonfinite` has it; their number for the loss.
        growth_steps, factor, floor, cap: as in `dynamic_loss_scale`.
    """
    finite = overflowed < 0
    bad = tf.cast(~finite, tf.int64)
    good_steps = (state.good_steps + 1) * (1 - bad)
    grows = good_steps >= growth_steps
    larger = tf.where(grows, tf.minimum(state.scale * factor, cap), state.scale)
    return LossScaleState(
        scale=tf.where(finite, larger, tf.maximum(state.scale / factor, floor)),
        good_steps=tf.where(grows, tf.zeros_like(good_steps), good_steps),
        skipped=state.skipped + bad,
        skipped_in_a_row=(state.skipped_in_a_row + 1) * bad,
        overflowed=tf.where(finite, state.overflowed, overflowed),
        exhausted=~finite & (state.scale <= floor),
    )


def dynamic_loss_scale(
    initial: float = 2.0**15,
    growth_steps: int = GROWTH_STEPS,
    factor: float = FACTOR,
    floor: float = FLOOR,
    cap: float = CAP,
) -> LossScale:
    """A scale that doubles after 2,000 finite steps in a row and halves at each other step.

    Args:
        initial: the first scale, from floor to cap.
        growth_steps: N, at least 1.
        factor: f, above 1.
        floor: the least scale, above 0. It may be below 1, for losses whose gradients overflow
            unscaled.
        cap: the greatest scale.

    Raises:
        ValueError, TypeError: an argument of another kind, or out of its range.

    Differs from: Keras's `LossScaleOptimizer`, which follows the same scales between a floor of 0
    and no cap. It leaves batch statistics and dropout seeds of a skipped step advanced, and with
    replicas decides by the gradients of the first one. PyTorch's `GradScaler` follows them from
    2^16, between 0 and the greatest float32.
    """
    check_number("floor", floor, above=0)
    check_number("cap", cap, at_least=floor)
    check_number("initial", initial, at_least=floor, at_most=cap)
    check_integer("growth_steps", growth_steps, at_least=1)
    check_number("factor", factor, above=1)

    update = functools.partial(
        next_loss_scale, growth_steps=growth_steps, factor=factor, floor=floor, cap=cap
    )
    return LossScale(lambda: _first(initial), update)


def static_loss_scale(scale: float) -> LossScale:
    """A scale that stays; steps whose gradients are not finite are skipped and counted.

    Args:
        scale: S, above 0.

    Raises:
        ValueError, TypeError: a scale that is no number above 0.

    Differs from: Keras's `loss_scale_factor`, which applies gradients that are not finite.
    """
    check_number("scale", scale, above=0)

    def update(state: LossScaleState, overflowed: Tensor) -> LossScaleState:
        new = next_loss_scale(state, overflowed, growth_steps=tf.int64.max)
        return new._replace(scale=state.scale, exhausted=overflowed >= 0)

    return LossScale(lambda: _first(scale), update)


def check_loss_scale(loss_scale: Any) -> None:
    """Raises `TypeError` for what is neither a `LossScale` nor None."""
    if loss_scale is not None and not isinstance(loss_scale, LossScale):
        raise TypeError(
            f"loss_scale must be None or a LossScale such as tl.dynamic_loss_scale(), got "
            f"{loss_scale!r}"
        )


def scale_loss(loss: Tensor, state: LossScaleState | tuple[()]) -> Tensor:
    """S L in the loss's compute dtype; the loss itself where the state is `()`."""
    if not isinstance(state, LossScaleState):
        return loss
    loss = widen(loss)
    return loss * tf.cast(state.scale, loss.dtype)


def unscale_grads(grads: Tree, state: LossScaleState | tuple[()]) -> Tree:
    """g / S in the compute dtypes of the gradients, in which it does not underflow.

    None stays None, and all stays as it is where the state is `()`.
    """
    if not isinstance(state, LossScaleState):
        return grads

    def unscale(g: Tensor) -> Tensor:
        if g is None:
            return None
        g = widen(g)
        return g / tf.cast(state.scale, g.dtype)

    return tf.nest.map_structure(unscale, grads)


def first_nonfinite(tensors: Tree) -> Tensor:
    """The first tensor with an element that is infinite or NaN, int64 []; -1 where none has one.

    It is counted from 0 in the order of `tf.nest.flatten`; None is finite.
    """
    leaves = tf.nest.flatten(tensors)
    found = [(i, _nonfinite(x)) for i, x in enumerate(leaves) if x is not None]
    if not found:
        return tf.constant(-1, tf.int64)
    places, bad = zip(*found, strict=True)
    nowhere = tf.constant(len(leaves), tf.int64)
    first = tf.reduce_min(tf.where(tf.stack(bad), tf.constant(places, tf.int64), nowhere))
    return tf.where(first == nowhere, tf.constant(-1, tf.int64), first)


def overflowed_path(state: LossScaleState, params: Tree) -> str | None:
    """The path of the parameter whose gradient overflowed first at the last skipped step.

    It reads the state's value, so it is for loops and not for what is traced. `THE_LOSS` where
    that was not finite; None before a step was skipped.
    """
    index, leaves = int(state.overflowed), leaves_by_path(params)
    if index == len(leaves):
        return THE_LOSS
    return None if index < 0 else leaves[index][0]


def _first(scale: float) -> LossScaleState:
    zero = tf.zeros([], tf.int64)
    none = tf.constant(-1, tf.int64)
    return LossScaleState(
        tf.constant(scale, tf.float32), zero, zero, zero, none, tf.constant(False)
    )


def _nonfinite(x: Tensor) -> Tensor:
    return tf.reduce_any(~tf.math.is_finite(widen(x)))
