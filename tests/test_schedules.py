"""Schedules follow their Keras equivalents at every step, whatever runs them."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

EXPONENTIAL = {"initial_learning_rate": 0.1, "decay_rate": 0.7}
COSINE = {"initial_learning_rate": 0.1}
WARMED_UP = {"initial_learning_rate": 0.01, "warmup_target": 0.1, "alpha": 0.3}
CASES = {
    "exponential": ("exponential_decay", "ExponentialDecay", EXPONENTIAL),
    "staircase": ("exponential_decay", "ExponentialDecay", EXPONENTIAL | {"staircase": True}),
    "cosine": ("cosine_decay", "CosineDecay", COSINE),
    "cosine to alpha": ("cosine_decay", "CosineDecay", COSINE | {"alpha": 0.3}),
    "warm-up": ("cosine_decay", "CosineDecay", WARMED_UP | {"warmup_steps": 15}),
    "warm-up of 0": ("cosine_decay", "CosineDecay", WARMED_UP | {"warmup_steps": 0}),
}
RUNS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f),
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def steps_around(decay_steps):
    """121 steps from 0 to 3 decay_steps, and the edges."""
    edges = [m * decay_steps + i for m in (1, 2, 3, 10) for i in (-1, 0, 1)]
    return sorted({*np.linspace(0, 3 * decay_steps, 121, dtype=int).tolist(), *edges})


@functools.cache
def keras_rates(case, decay_steps, kind):
    """Keras computes in the type of the numbers it is given: kind."""
    _, peer, options = CASES[case]
    numbers = {k: kind(x) if isinstance(x, float) else x for k, x in options.items()}
    rate = getattr(keras.optimizers.schedules, peer)(decay_steps=decay_steps, **numbers)
    return np.array([rate(tf.constant(k, tf.int64)).numpy() for k in steps_around(decay_steps)])


def our_rates(schedule, steps, run, dtype):
    """All the steps in one call: a function is compiled once for each case, not for each step."""
    run_all = RUNS[run](lambda ks: tf.map_fn(schedule, ks, fn_output_signature=dtype))
    return run_all(tf.constant(steps, tf.int64)).numpy()


# Of the steps around 2^24 + 1, most are not float32 numbers.
@pytest.mark.parametrize("decay_steps", [40, 2**24 + 1])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("case", CASES)
def test_float64_rates_are_those_of_keras(case, run, decay_steps):
    name, _, options = CASES[case]
    theirs = keras_rates(case, decay_steps, np.float64)
    schedule = getattr(tl, name)(decay_steps=decay_steps, dtype="float64", **options)
    ours = our_rates(schedule, steps_around(decay_steps), run, "float64")
    # A cosine near its end is a difference of two almost equal numbers, exact to ulps of 0.1.
    atol = 1e-16 if name == "cosine_decay" else 0
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("case", CASES)
def test_float32_rates_follow_keras(case, run):
    name, _, options = CASES[case]
    theirs = keras_rates(case, 40, float)
    schedule = getattr(tl, name)(decay_steps=40, **options)
    ours = our_rates(schedule, steps_around(40), run, "float32")
    # Ours are rounded once. Keras computes in float32, where the roundings of the exponent, up to
    # 10 ln 0.7, and of the angle, up to pi, come out in the rate.
    ulp = np.finfo(np.float32).eps
    atol = 4 * ulp * 0.1 if name == "cosine_decay" else 0
    np.testing.assert_allclose(ours, theirs, rtol=4 * ulp, atol=atol)


@pytest.mark.parametrize("run", RUNS)
def test_constant_is_the_same_at_every_step(run):
    steps = [*range(100), 2**24 + 1, 2**40]
    for dtype in ("float32", "float64"):
        rates = our_rates(tl.constant(0.1, dtype), steps, run, dtype)
        np.testing.assert_array_equal(rates, np.full(len(steps), 0.1, dtype))


def test_a_float32_rate_counts_steps_beyond_2_to_the_24_exactly():
    staircase = tl.exponential_decay(1.0, 2**24 + 1, 0.5, staircase=True)
    # As a float32 number each of the odd steps here is its even neighbour.
    rates = [float(staircase(k)) for k in (2**24, 2**24 + 1, 2**25 + 1, 2**25 + 2)]
    assert rates == [1.0, 0.5, 0.5, 0.25]


def test_warm_up_starts_at_its_first_rate_meets_its_target_and_ends_at_alpha_of_it():
    options = {"alpha": 0.25, "warmup_target": 0.5, "warmup_steps": 10, "dtype": "float64"}
    rate = tl.cosine_decay(0.125, 40, **options)
    assert [float(rate(k)) for k in (0, 4, 10, 50, 51, 500)] == [
        0.125,
        0.275,
        0.5,
        0.125,
        0.125,
        0.125,
    ]


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(
    "schedule",
    [
        lambda dtype: tl.constant(0.1, dtype=dtype),
        lambda dtype: tl.exponential_decay(0.1, 10, 0.5, dtype=dtype),
        lambda dtype: tl.cosine_decay(0.1, 10, dtype=dtype),
        lambda dtype: tl.cosine_decay(0.1, 10, warmup_target=0.2, warmup_steps=5, dtype=dtype),
    ],
)
def test_the_rate_is_a_scalar_of_the_dtype_asked_for_and_its_number_rounded_once(schedule, dtype):
    rate = schedule(dtype)(0)
    assert (rate.shape, rate.dtype) == ((), tf.as_dtype(dtype))
    assert rate == tf.constant(0.1, dtype)


@pytest.mark.parametrize(
    "step", [7, np.int32(7), np.int64(7), tf.constant(7), tf.Variable(7, dtype=tf.int64)]
)
def test_a_step_may_be_of_any_integer_type(step):
    schedule = tl.exponential_decay(0.1, 10, 0.5, dtype="float64")
    np.testing.assert_allclose(schedule(step), 0.1 * 0.5**0.7, rtol=1e-15)


@pytest.mark.parametrize("kind", [int, np.int64, np.float32, np.float64])
def test_numbers_of_any_type_mean_the_same(kind):
    # Keras answers 0 to an integer initial_learning_rate: it would compute in integers.
    options = {"initial_learning_rate": 4, "decay_steps": 10, "decay_rate": 2}
    schedule = tl.exponential_decay(**{k: kind(x) for k, x in options.items()}, dtype="float64")
    np.testing.assert_allclose(schedule(5), 4 * 2**0.5, rtol=1e-15)
    options = {"initial_learning_rate": 0, "decay_steps": 10, "warmup_target": 4, "warmup_steps": 8}
    schedule = tl.cosine_decay(**{k: kind(x) for k, x in options.items()}, dtype="float64")
    np.testing.assert_allclose([schedule(2), schedule(13)], [1.0, 2.0], rtol=1e-15)


GOOD = {
    "constant": {"initial_learning_rate": 0.1},
    "exponential_decay": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
    "cosine_decay": {
        "initial_learning_rate": 0.1,
        "decay_steps": 10,
        "alpha": 0.0,
        "warmup_target": 0.2,
        "warmup_steps": 5,
    },
}
OUT_OF_RANGE = [-1, -1e-9, float("nan"), float("inf")]


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [(name, k, x) for name, options in GOOD.items() for k in options for x in OUT_OF_RANGE]
    + [("exponential_decay", k, 0) for k in ("decay_steps", "decay_rate")]
    + [("cosine_decay", "decay_steps", 0)],
)
def test_numbers_out_of_range_are_refused(name, argument, value):
    with pytest.raises(ValueError, match=f"^{argument} must be .*, got {value}"):
        getattr(tl, name)(**GOOD[name] | {argument: value})


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [(name, k, x) for name, options in GOOD.items() for k in options for x in ("1", True, [1])]
    + [("exponential_decay", "decay_rate", None), ("cosine_decay", "warmup_steps", None)],
)
def test_what_is_no_number_is_refused(name, argument, value):
    with pytest.raises(TypeError, match=f"^{argument} must be a number"):
        getattr(tl, name)(**GOOD[name] | {argument: value})


def test_warm_up_steps_without_a_target_are_refused():
    with pytest.raises(ValueError, match="warmup_steps=5 needs a warmup_target"):
        tl.cosine_decay(0.1, 10, warmup_steps=5)
