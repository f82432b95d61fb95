"""Rates that are known in advance: from documents, at the ends and tops of phases, from Keras."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, WITHOUT_XLA

import trainlib.schedules as schedules
from trainlib.registry import SCHEDULES

EXPONENTIAL = {"initial_learning_rate": 0.1, "decay_rate": 0.7}
COSINE = {"initial_learning_rate": 0.1}
WARMED_UP = {"initial_learning_rate": 0.01, "warmup_target": 0.1, "alpha": 0.3}
POLYNOMIAL = {"initial_learning_rate": 0.1, "end_learning_rate": 0.01, "power": 2.0}
OF_KERAS = {
    "exponential": ("exponential_decay", "ExponentialDecay", EXPONENTIAL),
    "staircase": ("exponential_decay", "ExponentialDecay", EXPONENTIAL | {"staircase": True}),
    "inverse time": ("inverse_time_decay", "InverseTimeDecay", EXPONENTIAL),
    "inverse stairs": ("inverse_time_decay", "InverseTimeDecay", EXPONENTIAL | {"staircase": True}),
    "polynomial": ("polynomial_decay", "PolynomialDecay", POLYNOMIAL),
    "cycle": ("polynomial_decay", "PolynomialDecay", POLYNOMIAL | {"cycle": True}),
    "cosine": ("cosine_decay", "CosineDecay", COSINE),
    "cosine to alpha": ("cosine_decay", "CosineDecay", COSINE | {"alpha": 0.3}),
    "warm-up": ("cosine_decay", "CosineDecay", WARMED_UP | {"warmup_steps": 15}),
    "warm-up of 0": ("cosine_decay", "CosineDecay", WARMED_UP | {"warmup_steps": 0}),
}


def steps_around(decay_steps):
    """Return 61 steps from 0 to 3 decay_steps, and steps around its multiples."""
    edges = [m * decay_steps + i for m in (1, 2, 3, 10) for i in (-1, 0, 1)]
    return sorted({*np.linspace(0, 3 * decay_steps, 61, dtype=int).tolist(), *edges})


@functools.cache
def keras_rates(case, decay_steps, kind):
    """Return the rates of Keras, which computes in the type of its arguments, `kind`."""
    _, peer, options = OF_KERAS[case]
    numbers = {k: kind(x) if isinstance(x, float) else x for k, x in options.items()}
    rate = getattr(keras.optimizers.schedules, peer)(decay_steps=decay_steps, **numbers)
    steps = tf.constant(steps_around(decay_steps), tf.int64)
    if "warmup_target" in options:  # then Keras branches on the step, and takes one at a time
        return np.array([rate(k).numpy() for k in steps])
    return rate(steps).numpy()


def our_rates(schedule, steps, execution="eager"):
    """Return the rates of all steps from one call, so that a case is compiled once."""
    return EXECUTIONS[execution](schedule)(tf.constant(steps, tf.int64)).numpy()


# Of the steps around 2^24 + 1, most are not float32 numbers.
@pytest.mark.parametrize("decay_steps", [40, 49, 2**24 + 1])
@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("case", OF_KERAS)
def test_float64_rates_equal_those_of_keras(case, execution, decay_steps):
    name, _, options = OF_KERAS[case]
    theirs = keras_rates(case, decay_steps, np.float64)
    schedule = SCHEDULES[name](decay_steps=decay_steps, dtype="float64", **options)
    ours = our_rates(schedule, steps_around(decay_steps), execution)
    # A cosine near its end is a difference of two almost equal numbers, exact to ulps of 0.1.
    atol = 1e-16 if name == "cosine_decay" else 0
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("case", OF_KERAS)
def test_float32_rates_follow_keras(case, execution):
    name, _, options = OF_KERAS[case]
    theirs = keras_rates(case, 40, float)
    ours = our_rates(SCHEDULES[name](decay_steps=40, **options), steps_around(40), execution)
    # Ours are rounded once. Keras computes in float32, where the roundings of the exponent, up to
    # 10 ln 0.7, and of the angle, up to pi, come out in the rate.
    ulp = np.finfo(np.float32).eps
    atol = 4 * ulp * 0.1 if name in ("cosine_decay", "polynomial_decay") else 0
    np.testing.assert_allclose(ours, theirs, rtol=4 * ulp, atol=atol)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_schedule_has_the_same_rate_at_every_step(dtype, execution):
    steps = [*range(100), 2**24 + 1, 2**40]
    rates = our_rates(schedules.constant_schedule(0.1, dtype), steps, execution)
    np.testing.assert_array_equal(rates, np.full(len(steps), 0.1, dtype))


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        # The documents' rates, by epochs.
        (
            schedules.piecewise_constant([5, 15], [0.01, 0.005, 0.001], "new", dtype="float64"),
            [0, 4, 5, 14, 15, 100],
            [0.01, 0.01, 0.005, 0.005, 0.001, 0.001],
        ),
        (
            schedules.piecewise_constant([4, 14], [0.01, 0.005, 0.001], dtype="float64"),
            [0, 4, 5, 14, 15, 100],
            [0.01, 0.01, 0.005, 0.005, 0.001, 0.001],
        ),
        (
            schedules.hold_then_decay(0.01, 10, dtype="float64"),
            [0, 9, 10, 11, 20],
            [0.01, 0.01, *(0.01 * math.exp(-0.1 * n) for n in (1, 2, 11))],
        ),
        (
            schedules.exponential_decay(0.01, 20, 0.1, dtype="float64"),
            [0, 20, 40, 10],
            [0.01, 0.001, 0.0001, 0.01 * 0.1**0.5],
        ),
        (schedules.power_decay(0.01, 20, dtype="float64"), [0, 20, 40], [0.01, 0.005, 0.01 / 3]),
        (schedules.power_decay(1.0, 3, 2.0, dtype="float64"), [0, 3, 6], [1, 1 / 4, 1 / 9]),
        (schedules.step_decay(0.1, 10, dtype="float64"), [9, 10, 25], [0.1, 0.05, 0.025]),
        # The ends and the top of a phase.
        (
            schedules.polynomial_decay(0.1, 8, dtype="float64"),
            [0, 4, 8, 9],
            [0.1, 0.05005] + 2 * [1e-4],
        ),
        (
            schedules.inverse_sqrt_decay(0.1, 4, dtype="float64"),
            [0, 1, 4, 16],
            [0, 0.025, 0.1, 0.05],
        ),
        (schedules.inverse_sqrt_decay(0.1, 0, dtype="float64"), [0, 1, 4], [0.1, 0.1, 0.05]),
        (
            schedules.cosine_decay(0.125, 40, 0.25, 0.5, 10, dtype="float64"),
            [0, 4, 10, 50, 51, 500],
            [0.125, 0.275, 0.5, 0.125, 0.125, 0.125],
        ),
        (
            schedules.cosine_decay(1.0, 40, 0.5, after_end="rise", dtype="float64"),
            [0, 20, 40, 60, 80, 120],
            [1.0, 0.75, 0.5, 0.75, 1.0, 0.5],
        ),
        (schedules.cosine_decay(1.0, 40, exponent=2.0, dtype="float64"), [0, 20, 40], [1, 0.25, 0]),
        (
            schedules.cosine_decay_restarts(1.0, 4, 2, 0.5, 0.5, dtype="float64"),
            [0, 2, 4, 8, 12],
            [1.0, 0.75, 0.75, 0.625, 0.625],
        ),
        (
            schedules.one_cycle(1.0, 21, 11 / 21, 4.0, 10.0, dtype="float64"),
            [0, 5, 10, 20, 21, 99],
            [0.25, 0.625, 1.0, 0.025, 0.025, 0.025],
        ),
        (
            schedules.one_cycle(
                1.0, 20, 0.5, 4.0, 10.0, "linear", True, 0.75, convention="optax", dtype="float64"
            ),
            [0, 5, 10, 15, 20, 21],
            [0.25, 0.625, 1.0, 0.25, 0.025, 0.025],
        ),
        (
            schedules.cyclic(0.1, 0.5, 4, 2, "triangular2", dtype="float64"),
            [0, 2, 4, 5, 6, 10, 12, 16],
            [0.1, 0.3, 0.5, 0.3, 0.1, 0.3, 0.1, 0.2],
        ),
        (
            schedules.warmup_stable_decay(0.1, 100, 10, dtype="float64"),
            [0, 5, 10, 80, 90, 100, 200],
            [0, 0.05, 0.1, 0.1, 0.05, 0, 0],
        ),
        (
            schedules.warmup_stable_decay(0.1, 100, 10, 40, 0.2, "sqrt", dtype="float64"),
            [60, 70, 100],
            [0.1, 0.06, 0.02],
        ),
        (
            schedules.warmup_stable_decay(0.1, 10, 10, dtype="float64"),
            [5, 9, 10, 11],
            [0.05, 0.09, 0.1, 0.1],
        ),
        (
            schedules.linear_warmup(schedules.step_decay(0.8, 2), 4, 0.4, dtype="float64"),
            [0, 2, 4, 5, 6, 8],
            [0.4, 0.6, 0.8, 0.8, 0.4, 0.2],
        ),
    ],
)
def test_rates_follow_the_equation(schedule, steps, expected):
    np.testing.assert_allclose(our_rates(schedule, steps), expected, rtol=1e-7, atol=1e-17)


def test_reducing_the_rate_by_1_percent_per_epoch_is_an_exponential_decay_by_epochs():
    by_epoch = schedules.exponential_decay(0.1, 1, 0.99, dtype="float64")
    schedule = schedules.per_epoch(by_epoch, 7, "float64")
    rate = 0.1
    for epoch in range(100):
        steps = [7 * epoch, 7 * epoch + 6]
        np.testing.assert_allclose(our_rates(schedule, steps), rate, rtol=1e-13)
        rate -= rate / 100


@pytest.mark.parametrize("convention", ["torch", "optax"])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_one_cycle_falls_from_its_top_to_its_end_without_jumps(strategy, convention):
    schedule = schedules.one_cycle(
        1.0, 100, 0.3, 10.0, 10.0, strategy, convention=convention, dtype="float64"
    )
    rates = our_rates(schedule, range(120))
    top, end = {"torch": (29, 99), "optax": (30, 100)}[convention]
    assert np.argmax(rates) == top and rates[top] == 1.0
    assert np.all(np.diff(rates[: top + 1]) > 0) and np.all(np.diff(rates[top : end + 1]) < 0)
    assert np.max(np.abs(np.diff(rates))) < 0.06
    np.testing.assert_allclose(rates[end:], 0.01, rtol=1e-13)


def test_composed_schedules_accept_numbers_and_schedules_of_any_dtype():
    plain = schedules.linear_warmup(lambda k: 0.1, 5, dtype="float64")
    assert plain(9).numpy() == 0.1  # a Python number is not rounded to float32
    joined = schedules.join_schedules([plain, schedules.constant_schedule(0.5)], [10], "float64")
    nested = schedules.per_epoch(schedules.linear_warmup(joined, 2, dtype="float64"), 3, "float64")
    np.testing.assert_allclose(our_rates(nested, [0, 6, 9, 35, 36]), [0, 0, 0.02, 0.1, 0.5])


def test_a_joined_schedule_receives_no_negative_step():
    seen = []

    def watching(k):
        seen.append(int(k))
        return tf.constant(0.1)

    joined = schedules.join_schedules([schedules.constant_schedule(0.2), watching], [10])
    for k in (0, 9, 10, 12):
        joined(k)
    assert seen == [0, 0, 0, 2]
