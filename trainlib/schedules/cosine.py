"""Cosines, once and with restarts.

    rate = eta ((1 - alpha) (1 + cos(pi p)) / 2 + alpha)

falls from eta at p = 0 to alpha eta at p = 1.
"""

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
from trainlib.schedules.base import falling_cosine, from_equation, number, periods, share

AFTER_END = ("hold", "rise")
RESTART_INDICES = ("exact", "log")
SMALLEST_GROWTH = 1.001
"""Of cycles that grow: with it the 2^53 steps that are counted hold some 30,000 of them."""


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
    """Half a cosine from eta_0 down to alpha eta_0, after a linear warm-up where one is asked for.

        rate = eta_0 ((1 - alpha) ((1 + cos(pi p)) / 2)^exponent + alpha)
        hold    p = min(k / decay_steps, 1)
        rise    p = k / decay_steps

    With warmup_target, the rate first rises in warmup_steps from eta_0 to the target,

        rate = eta_0 + (warmup_target - eta_0) k / warmup_steps       for k < warmup_steps,

    and then follows the cosine from warmup_target, with k - warmup_steps in the place of k.

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: length of the cosine in steps, above 0; the warm-up comes on top of it.
        alpha: the last rate as a share of the largest, at least 0.
        warmup_target: the rate that the warm-up reaches, at least 0; None for no warm-up.
        warmup_steps: length of the warm-up in steps, at least 0.
        after_end: "hold" for the last rate ever after, "rise" for the cosine's way up and down.
        exponent: a power of the cosine, above 0.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: Optax, whose decay_steps include the warm-up; PyTorch, whose cosine rises again
    after its end and ends at a rate, eta_min, where alpha is a share.

    Reference: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts".
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    decay_steps = number("decay_steps", decay_steps, above=0)
    alpha = number("alpha", alpha, at_least=0)
    warmup_steps = number("warmup_steps", warmup_steps, at_least=0)
    check_choice("after_end", after_end, AFTER_END)
    exponent = number("exponent", exponent, above=0)
    if warmup_target is None and warmup_steps:
        raise ValueError(f"warmup_steps={warmup_steps} needs a warmup_target, the rate to reach")

    def cosine(k: Tensor, top: float) -> Tensor:
        if after_end == "hold":
            p = share(k, decay_steps)
        else:
            p = (k - 2 * decay_steps * periods(k, 2 * decay_steps)) / decay_steps
        return top * ((1 - alpha) * falling_cosine(p) ** exponent + alpha)

    if warmup_target is None:
        return from_equation(lambda k: cosine(k, eta_0), dtype)
    target = number("warmup_target", warmup_target, at_least=0)

    def warmed_up(k: Tensor) -> Tensor:
        rising = eta_0 + (target - eta_0) * share(k, warmup_steps)
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
    """Cosines one after the other, each t_mul times as long and m_mul times as high as the last.

        rate = eta_0 ((1 - alpha) m_mul^i (1 + cos(pi p)) / 2 + alpha)
        p    = (k - S_i) / (first_decay_steps t_mul^i)
        S_i  = first_decay_steps (1 + t_mul + ... + t_mul^(i-1)),  the last that is at most k

    Args:
        initial_learning_rate: eta_0, at least 0.
        first_decay_steps: length of the first cosine in steps, above 0.
        t_mul: growth of the length; 1, or at least 1.001.
        m_mul: growth of the height, at least 0.
        alpha: the lowest rate as a share of eta_0, at least 0; it does not grow with m_mul.
        restart_index: "exact", or "log" for the logarithm of Keras, whose rounding misses some
            restarts: their step gets the lowest rate, and the next one is in the new cosine.
        convention: "paper", "torch" and "optax" (exact), "keras" (log).
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: PyTorch and the paper, whose cosines end at a rate, eta_min, where alpha is a
    share; Keras's missed restarts are those of its float64 numbers, whatever the dtype.

    Reference: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts".
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    first_decay_steps = number("first_decay_steps", first_decay_steps, above=0)
    t_mul = number("t_mul", t_mul, at_least=1)
    if 1 < t_mul < SMALLEST_GROWTH:
        raise ValueError(f"t_mul must be 1 or at least {SMALLEST_GROWTH}, got {t_mul}")
    m_mul = number("m_mul", m_mul, at_least=0)
    alpha = number("alpha", alpha, at_least=0)
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
    """The starts S_i of the cycles up to step 2^53, and their lengths.

    They are summed as decimals, as they were written: 10 steps and 1.1 times as many end at 21.
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
    """1 for each restart whose index Keras's logarithm, rounded down, takes for the one before."""
    if t_mul == 1:
        return np.zeros_like(restarts)
    passed = (restarts / float(first_decay_steps)).tolist()
    indices = [math.floor(math.log(1 - f * (1 - float(t_mul))) / math.log(t_mul)) for f in passed]
    return (np.array(indices) < np.arange(len(restarts))).astype(float)


def _last_at_most(sorted_values: np.ndarray, k: Tensor) -> Tensor:
    """The index of the last value that is at most k, for each k of at least the first of them."""
    flat = tf.searchsorted(sorted_values, tf.reshape(k, [-1]), side="right") - 1
    return tf.reshape(flat, tf.shape(k))
