"""Cosine decay, once and with warm restarts."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import checked_number, falling_cosine, from_equation, periods, progress

AFTER_END = ("hold", "rise")
RESTART_INDICES = ("exact", "log")
SMALLEST_GROWTH = 1.001
"""Smallest t_mul of growing cycles; with it about 30,000 cycles fit into 2^53 steps."""


def cosine_decay(
    initial_learning_rate: float,
    decay_steps: int,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: int = 0,
    after_end: str = "hold",
    exponent: float = 1.0,
    dtype: Any = "float32",
) -> Schedule:
    """Decay the rate along half a cosine, after an optional linear warm-up.

        rate = eta_0 ((1 - alpha) ((1 + cos(pi p)) / 2)^exponent + alpha)
        hold    p = min(k / decay_steps, 1)
        rise    p = k / decay_steps

    With warmup_target, the rate first rises in warmup_steps from eta_0 to the target,

        rate = eta_0 + (warmup_target - eta_0) k / warmup_steps       for k < warmup_steps,

    and then follows the cosine from warmup_target, with k - warmup_steps instead of k.

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: length of the cosine in steps, above 0; the warm-up is not part of it.
        alpha: the final rate as a fraction of the largest, at least 0. Default: 0.
        warmup_target: the rate at the end of the warm-up, at least 0; None for no warm-up. Default:
            None.
        warmup_steps: length of the warm-up in steps, at least 0. Default: 0.
        after_end: what follows the cosine: "hold" keeps the final rate, "rise" continues the
            cosine, which rises and falls again. Default: "hold".
        exponent: the power of the cosine, above 0. Default: 1.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.cosine_decay(0.1, decay_steps=100, alpha=0.1)
        >>> np.round(schedule(tf.constant([0, 50, 100, 200])), 3)
        array([0.1  , 0.055, 0.01 , 0.01 ], dtype=float32)

    Differences:
        Optax: decay_steps includes the warm-up.
        PyTorch: the cosine rises again after its end, and ends at the rate eta_min instead of the
            fraction alpha.

    References:
        Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts".
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    decay_steps = checked_number("decay_steps", decay_steps, above=0)
    alpha = checked_number("alpha", alpha, at_least=0)
    warmup_steps = checked_number("warmup_steps", warmup_steps, at_least=0)
    check_choice("after_end", after_end, AFTER_END)
    exponent = checked_number("exponent", exponent, above=0)
    if warmup_target is None and warmup_steps:
        raise ValueError(f"warmup_steps={warmup_steps} needs a warmup_target, the rate to reach")

    def cosine(k: Tensor, top: float) -> Tensor:
        if after_end == "hold":
            p = progress(k, decay_steps)
        else:
            p = (k - 2 * decay_steps * periods(k, 2 * decay_steps)) / decay_steps
        return top * ((1 - alpha) * falling_cosine(p) ** exponent + alpha)

    if warmup_target is None:
        return from_equation(lambda k: cosine(k, eta_0), dtype)
    target = checked_number("warmup_target", warmup_target, at_least=0)

    def warmed_up(k: Tensor) -> Tensor:
        rising = eta_0 + (target - eta_0) * progress(k, warmup_steps)
        return tf.where(k < warmup_steps, rising, cosine(k - warmup_steps, target))

    return from_equation(warmed_up, dtype)


_EXACT = {"restart_index": "exact"}


@conventions(paper=_EXACT, keras={"restart_index": "log"}, torch=_EXACT, optax=_EXACT)
def cosine_decay_restarts(
    initial_learning_rate: float,
    first_decay_steps: int,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
    restart_index: str = BY_CONVENTION,
    convention: str = "paper",
    dtype: Any = "float32",
) -> Schedule:
    """Decay the rate along a sequence of cosines, each t_mul times as long as the last.

        rate = eta_0 ((1 - alpha) m_mul^i (1 + cos(pi p)) / 2 + alpha)
        p    = (k - S_i) / (first_decay_steps t_mul^i)
        S_i  = first_decay_steps (1 + t_mul + ... + t_mul^(i-1)),  the last that is at most k

    Args:
        initial_learning_rate: eta_0, at least 0.
        first_decay_steps: length of the first cosine in steps, above 0.
        t_mul: factor of the length from one cosine to the next; 1, or at least 1.001. Default: 2.
        m_mul: factor of the height from one cosine to the next, at least 0. Default: 1.
        alpha: the lowest rate as a fraction of eta_0, at least 0; m_mul does not change it.
            Default: 0.
        restart_index: how i is found: "exact", or "log" for the rounded logarithm of Keras, which
            misses some restarts by one step; that step gets the lowest rate. Default: "exact"
            (paper, torch, optax), "log" (keras).
        convention: "paper", "keras", "torch" or "optax". Default: "paper".
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.cosine_decay_restarts(0.1, first_decay_steps=10, t_mul=2.0)
        >>> np.round(schedule(tf.constant([0, 5, 10, 20, 30])), 3)
        array([0.1 , 0.05, 0.1 , 0.05, 0.1 ], dtype=float32)

    Differences:
        Keras: "log" misses the restarts that Keras misses in float64, whatever the dtype.
        PyTorch, Paper: the cosines end at the rate eta_min instead of the fraction alpha.

    References:
        Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts".
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    first_decay_steps = checked_number("first_decay_steps", first_decay_steps, above=0)
    t_mul = checked_number("t_mul", t_mul, at_least=1)
    if 1 < t_mul < SMALLEST_GROWTH:
        raise ValueError(f"t_mul must be 1 or at least {SMALLEST_GROWTH}, got {t_mul}")
    m_mul = checked_number("m_mul", m_mul, at_least=0)
    alpha = checked_number("alpha", alpha, at_least=0)
    check_choice("restart_index", restart_index, RESTART_INDICES)
    starts, lengths = _cycles(first_decay_steps, t_mul)
    restarts = np.ceil(starts)
    if restart_index == "log":
        restarts += _missed(restarts, first_decay_steps, t_mul)

    def rate(k: Tensor) -> Tensor:
        if t_mul == 1:
            i = periods(k, first_decay_steps)
            p = (k - i * first_decay_steps) / first_decay_steps
        else:
            index = _last_at_most(restarts, k)
            i = tf.cast(index, k.dtype)
            p = (k - tf.gather(starts, index)) / tf.gather(lengths, index)
        height = tf.constant(m_mul, k.dtype) ** i
        return eta_0 * ((1 - alpha) * height * falling_cosine(p) + alpha)

    return from_equation(rate, dtype)


def _cycles(first_decay_steps: float, t_mul: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts S_i of the cycles up to step 2^53, and their lengths.

    They are summed in decimal arithmetic, so that 10 + 10 * 1.1 steps end exactly at step 21.
    """
    starts, lengths = [0.0], [float(first_decay_steps)]
    with decimal.localcontext() as context:
        context.prec = 50
        length, growth = Decimal(repr(lengths[0])), Decimal(repr(float(t_mul)))
        start = length
        while t_mul > 1 and start < 2**53:
            length *= growth
            starts.append(float(start))
            lengths.append(float(length))
            start += length
    return np.array(starts), np.array(lengths)


def _missed(restarts: np.ndarray, first_decay_steps: float, t_mul: float) -> np.ndarray:
    """Return 1 for each restart that the rounded logarithm of Keras finds one step late, else 0."""
    if t_mul == 1:
        return np.zeros_like(restarts)
    passed = (restarts / float(first_decay_steps)).tolist()
    indices = [math.floor(math.log(1 - f * (1 - float(t_mul))) / math.log(t_mul)) for f in passed]
    return (np.array(indices) < np.arange(len(restarts))).astype(float)


def _last_at_most(sorted_values: np.ndarray, k: Tensor) -> Tensor:
    """Return the index of the last value that is at most k, for each k from the first value on."""
    flat = tf.searchsorted(sorted_values, tf.reshape(k, [-1]), side="right") - 1
    return tf.reshape(flat, tf.shape(k))
