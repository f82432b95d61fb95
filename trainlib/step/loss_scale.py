"""Loss scaling: multiply the loss, divide the gradients, so that they do not underflow in float16.

    g = (1 / S) d(S L) / dw

    all elements of g are finite:   n = n + 1;  at n = N:  S = min(S f, cap), n = 0
    otherwise:                      S = max(S / f, floor), n = 0, and the step is skipped

L: loss; S: scale; n: finite steps in a row; N: growth_steps; f: factor. With S and f powers of two
the scaling rounds nothing.

References:
    Micikevicius et al., "Mixed precision training", ICLR 2018.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.tree import map_values, widen
from trainlib.core.types import Tensor, Tree

GROWTH_STEPS = 2000
FACTOR = 2.0
FLOOR = 1.0
CAP = 2.0**24


class LossScaleState(NamedTuple):
    """State of a loss scale.

    Attributes:
        scale: S, the factor of the loss, float32 [].
        good_steps: n, the finite steps in a row since the scale last changed, int64 [].
    """

    scale: Tensor
    good_steps: Tensor


class LossScale(NamedTuple):
    """A loss scale as pure functions; made by `dynamic_loss_scale` or `static_loss_scale`.

    Attributes:
        init: `() -> LossScaleState`.
        update: `(state, is_finite) -> LossScaleState`, with `is_finite` a scalar bool: whether all
            gradients of the step are finite.
        is_lowest: `(state) -> bool []`, whether the scale cannot be reduced further.

    Example:
        >>> loss_scale = tl.dynamic_loss_scale(initial=8.0)
        >>> state = loss_scale.init()
        >>> float(loss_scale.update(state, tf.constant(False)).scale)
        4.0
    """

    init: Callable[[], LossScaleState]
    update: Callable[[LossScaleState, Tensor], LossScaleState]
    is_lowest: Callable[[LossScaleState], Tensor]


def next_loss_scale(
    state: LossScaleState,
    is_finite: Tensor,
    *,
    growth_steps: int = GROWTH_STEPS,
    factor: float = FACTOR,
    floor: float = FLOOR,
    cap: float = CAP,
) -> LossScaleState:
    """Return the loss scale of the next step; the equations are those of this module.

    Args:
        state: state of the loss scale before this step.
        is_finite: whether all gradients of this step are finite, bool [].
        growth_steps: N, at least 1. Default: 2000.
        factor: f, above 1. Default: 2.
        floor: the lowest scale, above 0. Default: 1.
        cap: the highest scale. Default: 2^24.

    Returns:
        The new `LossScaleState`.

    Example:
        >>> state = tl.static_loss_scale(8.0).init()
        >>> state = tl.next_loss_scale(state, tf.constant(True), growth_steps=1)
        >>> float(state.scale), int(state.good_steps)
        (16.0, 0)
    """
    good_steps = (state.good_steps + 1) * tf.cast(is_finite, tf.int64)
    grows = good_steps >= growth_steps
    larger = tf.where(grows, tf.minimum(state.scale * factor, cap), state.scale)
    return LossScaleState(
        scale=tf.where(is_finite, larger, tf.maximum(state.scale / factor, floor)),
        good_steps=tf.where(grows, tf.zeros_like(good_steps), good_steps),
    )


def dynamic_loss_scale(
    initial: float = 2.0**15,
    growth_steps: int = GROWTH_STEPS,
    factor: float = FACTOR,
    floor: float = FLOOR,
    cap: float = CAP,
) -> LossScale:
    """Return a loss scale that grows after finite steps and shrinks where gradients overflow.

    Args:
        initial: the first scale, from `floor` to `cap`. Default: 2^15.
        growth_steps: N, finite steps in a row before the scale grows, at least 1. Default: 2000.
        factor: f, by which the scale is multiplied or divided, above 1. Default: 2.
        floor: the lowest scale, above 0. Default: 1. A floor below 1 is for losses whose gradients
            overflow without scaling.
        cap: the highest scale. Default: 2^24.

    Returns:
        A `LossScale`, for `StepConfig` and `init_state`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is not a number, or `growth_steps` is not an integer.

    Example:
        >>> loss_scale = tl.dynamic_loss_scale(growth_steps=2)
        >>> state = loss_scale.init()
        >>> for _ in range(2):
        ...     state = loss_scale.update(state, tf.constant(True))
        >>> float(state.scale)
        65536.0

    Differences:
        Keras: `LossScaleOptimizer` follows the same scales between a floor of 0 and no cap. It
            keeps the batch statistics and dropout seeds of a skipped step, and with replicas it
            tests the gradients of the first replica only.
        PyTorch: `GradScaler` follows the same scales from 2^16, between 0 and the largest float32.

    References:
        Micikevicius et al., "Mixed precision training", ICLR 2018.
    """
    check_number("floor", floor, above=0)
    check_number("cap", cap, at_least=floor)
    check_number("initial", initial, at_least=floor, at_most=cap)
    check_integer("growth_steps", growth_steps, at_least=1)
    check_number("factor", factor, above=1)
    return LossScale(
        lambda: _init(initial),
        functools.partial(
            next_loss_scale, growth_steps=growth_steps, factor=factor, floor=floor, cap=cap
        ),
        lambda state: state.scale <= floor,
    )


def static_loss_scale(scale: float) -> LossScale:
    """Return a loss scale that does not change; steps with gradients that overflow are skipped.

    Args:
        scale: S, above 0.

    Returns:
        A `LossScale`, for `StepConfig` and `init_state`.

    Raises:
        ValueError: `scale` is not above 0.
        TypeError: `scale` is not a number.

    Example:
        >>> loss_scale = tl.static_loss_scale(1024.0)
        >>> float(loss_scale.update(loss_scale.init(), tf.constant(False)).scale)
        1024.0

    Differences:
        Keras: with `loss_scale_factor`, gradients that are not finite are applied.
    """
    check_number("scale", scale, above=0)

    def update(state: LossScaleState, is_finite: Tensor) -> LossScaleState:
        new = next_loss_scale(state, is_finite, growth_steps=tf.int64.max)
        return new._replace(scale=state.scale)

    return LossScale(lambda: _init(scale), update, lambda state: tf.constant(True))


def check_loss_scale(loss_scale: Any) -> None:
    """Raise `TypeError` unless the argument is a `LossScale` or None."""
    if loss_scale is not None and not isinstance(loss_scale, LossScale):
        raise TypeError(
            f"loss_scale must be None or a LossScale such as tl.dynamic_loss_scale(), got "
            f"{loss_scale!r}"
        )


def scale_loss(loss: Tensor, state: LossScaleState | tuple[()]) -> Tensor:
    """Multiply a loss by its scale, in the compute dtype of the loss.

    Args:
        loss: L, a floating scalar.
        state: the loss scale, `TrainState.loss_scale`; `()` returns the loss as it is.

    Returns:
        S L in float32, or in float64 for a loss in float64.

    Example:
        >>> state = tl.static_loss_scale(8.0).init()
        >>> float(tl.scale_loss(tf.constant(0.5), state))
        4.0
    """
    if not isinstance(state, LossScaleState):
        return loss
    loss = widen(loss)
    return loss * tf.cast(state.scale, loss.dtype)


def unscale_grads(grads: Tree, state: LossScaleState | tuple[()]) -> Tree:
    """Divide the gradients of a scaled loss by its scale.

    Args:
        grads: a structure of gradients; leaves of None stay None.
        state: the loss scale, `TrainState.loss_scale`; `()` returns the gradients as they are.

    Returns:
        g / S in float32, or in float64 for gradients in float64, so that nothing underflows.

    Example:
        >>> state = tl.static_loss_scale(8.0).init()
        >>> [float(g) for g in tl.unscale_grads([tf.constant(4.0)], state)]
        [0.5]
    """
    if not isinstance(state, LossScaleState):
        return grads

    def unscale(g: Tensor) -> Tensor:
        if g is None:
            return None
        g = widen(g)
        return g / tf.cast(state.scale, g.dtype)

    return tf.nest.map_structure(lambda g: map_values(unscale, g), grads)


def _init(scale: float) -> LossScaleState:
    """Return the state of a scale before the first step."""
    return LossScaleState(tf.constant(scale, tf.float32), tf.zeros([], tf.int64))
