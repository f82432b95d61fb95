"""What holds for every schedule: dtype and shape in every execution, and what it rejects."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, WITHOUT_XLA, soak_except

import trainlib.schedules as schedules
from trainlib.core.conventions import BY_CONVENTION
from trainlib.registry import SCHEDULES, hyperparameters

DECAY = {"initial_learning_rate": 0.1, "decay_steps": 49, "decay_rate": 0.5}
ONE_CYCLE = {"maximal_learning_rate": 0.1, "total_steps": 99, "div_factor": 5.0}
EXAMPLES = {
    "constant": {"initial_learning_rate": 0.1},
    "exponential_decay": DECAY | {"staircase": True},
    "inverse_time_decay": DECAY | {"staircase": True},
    "power_decay": {"initial_learning_rate": 0.1, "decay_steps": 49, "power": 0.7},
    "polynomial_decay": {
        "initial_learning_rate": 0.1,
        "decay_steps": 49,
        "end_learning_rate": 0.01,
        "power": 0.5,
        "cycle": True,
    },
    "step_decay": {"initial_learning_rate": 0.1, "step_size": 49, "drop": 0.5},
    "hold_then_decay": {"initial_learning_rate": 0.1, "hold_steps": 5, "decay_rate": 0.9},
    "inverse_sqrt_decay": {"initial_learning_rate": 0.1, "warmup_steps": 49},
    "cosine_decay": {
        "initial_learning_rate": 0.1,
        "decay_steps": 49,
        "alpha": 0.1,
        "warmup_target": 0.2,
        "warmup_steps": 7,
        "exponent": 1.5,
    },
    "cosine_decay_restarts": {
        "initial_learning_rate": 0.1,
        "first_decay_steps": 49,
        "t_mul": 1.5,
        "m_mul": 0.9,
        "alpha": 0.1,
    },
    "one_cycle": ONE_CYCLE
    | {"pct_start": 0.3, "final_div_factor": 9.0, "three_phase": True, "pct_final": 0.8},
    "cyclic": {
        "initial_learning_rate": 0.1,
        "maximal_learning_rate": 0.3,
        "step_size_up": 24,
        "step_size_down": 25,
        "mode": "exp_range",
        "gamma": 0.99,
    },
    "warmup_stable_decay": {
        "initial_learning_rate": 0.1,
        "total_steps": 100,
        "warmup_steps": 7,
        "cooldown_steps": 49,
        "alpha": 0.1,
        "cooldown_shape": "sqrt",
    },
    "piecewise_constant": {"boundaries": [7, 49], "values": [0.1, 0.3, 0.2]},
    "linear_warmup": {"initial_learning_rate": 0.1, "warmup_steps": 49, "warmup_start": 0.01},
    "join_schedules": {
        "schedules": [schedules.constant_schedule(0.1, "float64"), schedules.power_decay(0.2, 3)],
        "boundaries": [49],
    },
    "per_epoch": {"schedule": schedules.power_decay(0.1, 3), "steps_per_epoch": 49},
}
"""Each schedule with a value for each of its numbers."""
DEGENERATE = {
    "polynomial_decay": {"initial_learning_rate": 0.1, "decay_steps": 1, "power": 0.5},
    "hold_then_decay": {"initial_learning_rate": 0.1, "hold_steps": 0},
    "inverse_sqrt_decay": {"initial_learning_rate": 0.1, "warmup_steps": 0},
    "cosine_decay": {"initial_learning_rate": 0.1, "decay_steps": 1, "warmup_target": 0.2},
    "cosine_decay_restarts": {"initial_learning_rate": 0.1, "first_decay_steps": 1, "t_mul": 1},
    "one_cycle": {"maximal_learning_rate": 0.1, "total_steps": 1},
    "cyclic": {"initial_learning_rate": 0.0, "maximal_learning_rate": 0.1, "step_size_up": 1},
    "warmup_stable_decay": {"initial_learning_rate": 0.1, "total_steps": 1, "cooldown_steps": 0},
    "linear_warmup": {"initial_learning_rate": 0.1, "warmup_steps": 0},
}
STEPS = [0, 1, 6, 7, 48, 49, 50, 98, 99, 147, 1000, 2**40]
NAMES = list(EXAMPLES)


def make(name, dtype="float64", **options):
    return SCHEDULES[name](**EXAMPLES[name] | options, dtype=dtype)


def by_step(schedule, steps=STEPS):
    return np.array([schedule(tf.constant(k, tf.int64)).numpy() for k in steps])


def test_there_is_an_example_of_every_schedule():
    assert set(EXAMPLES) == set(SCHEDULES)
    assert {SCHEDULES[name].__name__ for name in EXAMPLES} == set(schedules.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_a_rate_is_a_scalar_in_float32_by_default(name):
    rate = SCHEDULES[name](**EXAMPLES[name])(3)
    assert (rate.shape, rate.dtype) == ((), tf.float32)


@pytest.mark.parametrize("dtype", soak_except("bfloat16", names=["float32", "bfloat16", "float16"]))
@pytest.mark.parametrize("name", NAMES)
def test_a_rate_is_rounded_once(name, dtype):
    exact = tf.cast(by_step(make(name)), dtype)
    np.testing.assert_array_equal(by_step(make(name, dtype)), exact)


@pytest.mark.parametrize("execution", soak_except("graph", names=["graph", "xla"]))
@pytest.mark.parametrize("name", NAMES)
def test_a_rate_is_the_same_in_every_execution(name, execution):
    compiled = EXECUTIONS[execution](make(name))
    np.testing.assert_allclose(by_step(compiled), by_step(make(name)), rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_of_steps_gives_the_vector_of_their_rates(name):
    rates = make(name)(tf.constant(STEPS, tf.int64))
    np.testing.assert_allclose(rates, by_step(make(name)), rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_may_have_any_integer_dtype(name):
    schedule = make(name)
    for step in (7, np.int32(7), np.uint8(7), tf.constant(7), tf.Variable(7, dtype=tf.int64)):
        assert schedule(step) == schedule(tf.constant(7, tf.int64)), type(step)


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_phases_of_length_0_leave_finite_rates(name, execution):
    schedule = SCHEDULES[name](**DEGENERATE[name], dtype="float64")
    rates = EXECUTIONS[execution](schedule)(tf.constant([0, 1, 2, 3, 2**53 - 1], tf.int64)).numpy()
    assert np.all(np.isfinite(rates) & (rates >= 0))
    assert rates.max() > 0


@pytest.mark.parametrize("kind", soak_except(np.float32, names=[np.int64, np.float32, np.float64]))
@pytest.mark.parametrize("name", NAMES)
def test_numpy_numbers_give_the_rates_of_python_numbers(name, kind):
    # Keras answers 0 to an integer initial_learning_rate: it would compute in integers.
    def change(convert, value):
        if isinstance(value, list):
            return [change(convert, x) for x in value]
        return convert(value) if type(value) in (int, float) else value

    if kind is np.int64:
        options = {k: change(lambda x: max(1, round(x)), x) for k, x in EXAMPLES[name].items()}
    else:
        options = {k: change(lambda x: float(kind(x)), x) for k, x in EXAMPLES[name].items()}
    typed = {k: change(kind, x) for k, x in options.items()}
    np.testing.assert_array_equal(by_step(make(name, **typed)), by_step(make(name, **options)))


def scalars(name):
    """The arguments of a schedule's example that are numbers."""
    return [k for k, x in EXAMPLES[name].items() if type(x) in (int, float)]


LISTS = [("piecewise_constant", "values"), ("piecewise_constant", "boundaries")]


@pytest.mark.parametrize("name", NAMES)
def test_numbers_out_of_range_are_rejected(name):
    for argument in scalars(name):
        for value in (-1, -1e-9, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"^{argument} must be .*, got {value}"):
                make(name, **{argument: value})


@pytest.mark.parametrize("name", NAMES)
def test_arguments_that_are_not_numbers_are_rejected(name):
    for argument in scalars(name):
        for value in ("1", True, [1]):
            with pytest.raises(TypeError, match=f"^{argument} must be a number"):
                make(name, **{argument: value})


@pytest.mark.parametrize("name", NAMES)
def test_0_is_rejected_where_it_would_be_a_divisor_or_end_training(name):
    for argument in scalars(name):
        if (
            argument.endswith(("decay_steps", "total_steps", "per_epoch", "factor"))
            or argument in ("step_size", "step_size_up", "step_size_down", "drop", "gamma")
            or argument in ("power", "exponent")
            or (argument == "decay_rate" and name != "inverse_time_decay")
        ):
            with pytest.raises(ValueError, match=f"^{argument} must be above 0"):
                make(name, **{argument: 0})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosine_decay_restarts", {"t_mul": 0.5}, "t_mul must be at least 1, got 0.5"),
        ("cosine_decay_restarts", {"t_mul": 1.0001}, "t_mul must be 1 or at least 1.001, got"),
        ("one_cycle", {"pct_start": 1.5}, "pct_start must be at least 0 and at most 1, got 1.5"),
        ("one_cycle", {"pct_final": 0.1}, "pct_final must be at least 0.3 and at most 1, got 0.1"),
        ("one_cycle", {"pct_start": 0.6, "pct_final": None}, "pct_final .* at most 1, got 1.2"),
        ("cyclic", {"gamma": 1.5}, "gamma must be above 0 and at most 1, got 1.5"),
        (
            "warmup_stable_decay",
            {"warmup_steps": 101},
            "warmup_steps must be .* at most 100, got 101",
        ),
        (
            "warmup_stable_decay",
            {"cooldown_steps": 94},
            "cooldown_steps must be .* at most 93, got 94",
        ),
        (
            "cosine_decay",
            {"warmup_target": None, "warmup_steps": 5},
            "warmup_steps=5 needs a warmup_target",
        ),
        ("piecewise_constant", {"boundaries": [5, 5]}, r"boundaries must be rising, got \[5, 5\]"),
        ("piecewise_constant", {"boundaries": [-1, 5]}, "boundaries must be at least 0, got -1"),
        ("piecewise_constant", {"values": [1.0, 2.0]}, "values must be one more than the 2 bound"),
        ("piecewise_constant", {"values": [1.0, -2.0, 1.0]}, "values must be at least 0, got -2"),
        (
            "join_schedules",
            {"boundaries": [1, 2]},
            "schedules must be one more than the 2 boundaries, got 2",
        ),
        (
            "join_schedules",
            {"schedules": [], "boundaries": []},
            "schedules must be one more than the 0",
        ),
        ("cosine_decay", {"after_end": "holt"}, "unknown after_end 'holt': did you mean 'hold'"),
        ("cosine_decay_restarts", {"restart_index": "x"}, "unknown restart_index 'x'"),
        ("cosine_decay_restarts", {"convention": "kera"}, "unknown convention of cosine_decay_res"),
        ("one_cycle", {"anneal_strategy": "cosine"}, "unknown anneal_strategy 'cosine'"),
        ("one_cycle", {"phase_end": "last"}, "unknown phase_end 'last'"),
        ("one_cycle", {"convention": "keras"}, "unknown convention of one_cycle 'keras'"),
        ("cyclic", {"mode": "triangle"}, "unknown mode 'triangle': did you mean 'triangular'"),
        ("warmup_stable_decay", {"cooldown_shape": "cos"}, "unknown cooldown_shape 'cos'"),
        ("piecewise_constant", {"boundary": "left"}, "unknown boundary 'left'"),
    ],
)
def test_inconsistent_arguments_are_rejected(name, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("join_schedules", {"schedules": [0.1, 0.2]}, "schedules must be a schedule"),
        ("per_epoch", {"schedule": 0.1}, "schedule must be a schedule"),
        ("piecewise_constant", {"values": 0.1}, "values must be a sequence, got 0.1"),
        ("piecewise_constant", {"boundaries": 5}, "boundaries must be a sequence, got 5"),
        ("piecewise_constant", {"boundaries": [5, "9"]}, "boundaries must be a number, got '9'"),
    ],
)
def test_arguments_of_another_type_are_rejected(name, options, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        make(name, **options)


def test_a_dtype_that_is_not_floating_is_rejected():
    for name in NAMES:
        with pytest.raises(TypeError, match="^dtype must be floating, got int32"):
            make(name, "int32")


def test_each_argument_is_documented_and_dtype_is_the_last():
    for name in NAMES:
        assert list(inspect.signature(SCHEDULES[name]).parameters)[-1] == "dtype", name
        undocumented = [x.name for x in hyperparameters(SCHEDULES[name]).values() if not x.help]
        assert not undocumented, name


def test_an_argument_has_one_type_and_one_default_in_all_schedules():
    seen = {}
    for name in NAMES:
        for p in inspect.signature(SCHEDULES[name]).parameters.values():
            if p.default not in (p.empty, BY_CONVENTION) and p.name != "convention":
                entry = (p.annotation, p.default)
                assert seen.setdefault(p.name, entry) == entry, (name, p.name)
