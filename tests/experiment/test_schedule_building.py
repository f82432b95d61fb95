"""The learning-rate schedules of a configuration, and their flags."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from helpers.experiments import experiment

from trainlib.experiment.functions import FUNCTIONS, takes
from trainlib.experiment.optimization import build_optimization


def schedule_of(*arguments, updates=4, epochs=20, steps=80):
    """The learning rates of the first steps of `--schedule`, in a run of 80."""
    config = experiment("--optimizer=sgd", f"--epochs={epochs}", *arguments)
    return np.array(build_optimization(config, updates).schedule(np.arange(steps)))


def by_epoch(function, updates=4, epochs=20):
    """The learning rates of a function of the epoch, as Keras's LearningRateScheduler sets them."""
    return np.repeat(np.float32([function(epoch) for epoch in range(epochs)]), updates)


@pytest.mark.parametrize(
    ("arguments", "function"),
    [
        (
            ("--schedule=piecewise_constant", "--boundaries=5,15", "--values=.01,.005,.001"),
            lambda epoch: 0.01 if epoch < 5 else 0.005 if epoch < 15 else 0.001,
        ),
        (
            (
                "--schedule=piecewise_constant",
                "--boundaries=4,14",
                "--values=.01,.005,.001",
                "--boundary=old",
            ),
            lambda epoch: 0.01 if epoch < 5 else 0.005 if epoch < 15 else 0.001,
        ),
        (
            ("--schedule=step_decay", "--learning_rate=0.01", "--step_size=4", "--drop=0.5"),
            lambda epoch: 0.01 * 0.5 ** (epoch // 4),
        ),
        (
            ("--schedule=hold_then_decay", "--learning_rate=0.01", "--hold_steps=10"),
            lambda epoch: 0.01 if epoch < 10 else 0.01 * np.exp(-0.1 * (epoch - 9)),
        ),
        (
            (
                "--schedule=exponential_decay",
                "--learning_rate=0.01",
                "--decay_steps=20",
                "--decay_rate=0.1",
            ),
            lambda epoch: 0.01 * 0.1 ** (epoch / 20),
        ),
        (
            ("--schedule=constant,step_decay", "--learning_rate=1", "--join_at=3", "--step_size=2"),
            lambda epoch: 1.0 if epoch < 3 else 0.5 ** ((epoch - 3) // 2),
        ),
    ],
)
def test_schedules_by_epoch_change_at_the_epoch_of_the_function_of_the_epoch(arguments, function):
    rates = schedule_of("--per_epoch", *arguments)
    np.testing.assert_allclose(rates, by_epoch(function), rtol=1e-6)


def test_boundaries_of_steps_follow_keras():
    boundary = schedule_of("--schedule=piecewise_constant", "--boundaries=5", "--values=2,1")
    assert boundary.tolist() == [2.0] * 6 + [1.0] * 74


REQUIRED = {
    "exponential_decay": ["--decay_rate=0.5"],
    "inverse_time_decay": ["--decay_rate=0.5"],
    "power_decay": ["--decay_steps=10"],
    "polynomial_decay": ["--decay_steps=30"],
    "step_decay": ["--step_size=10"],
    "piecewise_constant": ["--boundaries=5,15", "--values=0.3,0.2,0.1"],
    "hold_then_decay": ["--hold_steps=10"],
    "inverse_sqrt_decay": ["--warmup_steps=10"],
    "cosine_decay": ["--decay_steps=30"],
    "cosine_decay_restarts": ["--first_decay_steps=1"],
    "cyclic": ["--maximal_learning_rate=0.5", "--step_size_up=10"],
    "linear_warmup": ["--warmup_steps=10"],
}
"""Flags that each schedule needs, and a length within the run where an option acts at its end."""
WITH = {
    ("one_cycle", "pct_final"): ["--three_phase"],
    ("cyclic", "gamma"): ["--mode=exp_range"],
    ("cosine_decay", "warmup_target"): ["--warmup_steps=5"],
    ("cosine_decay_restarts", "restart_index"): ["--t_mul=3"],
    ("cosine_decay_restarts", "convention"): ["--t_mul=3"],
}
"""Flags without which an option is refused, or has no effect in so few steps."""
OTHER_VALUES = {
    "boundaries": "7,9",
    "values": "0.4,0.3,0.2",
    "pct_start": "0.5",
    "t_mul": "1.5",
    "pct_final": "0.7",
    "gamma": "0.9",
    "maximal_learning_rate": "0.7",
}
FLAGS = [
    (schedule, name) for schedule in FUNCTIONS["schedule"] for name in takes("schedule", schedule)
]


@pytest.mark.parametrize(("schedule", "name"), FLAGS)
def test_every_flag_of_every_schedule_changes_the_rates(schedule, name):
    declared = takes("schedule", schedule)[name]
    extra = WITH.get((schedule, name), [])
    required = [flag for flag in REQUIRED.get(schedule, []) if not flag.startswith(f"--{name}=")]
    base = [f"--schedule={schedule}", *required, *extra]
    rates_of = functools.partial(schedule_of, steps=200)
    before = rates_of(*base, *(f for f in REQUIRED.get(schedule, []) if f not in required))
    values = {
        "bool": ["true"],
        "int": ["6"],
        "float": ["1.5", "0.75"],
        "str": declared.declaration.choices,
    }.get(declared.type)
    values = [OTHER_VALUES[name]] if name in OTHER_VALUES else values
    flag = f"schedule_{name}" if name == "convention" else name
    after = [
        rates_of(*base, f"--{flag}={value}")
        for value in values
        if value != "1.5" or 1.5 in declared.declaration.range
    ]
    assert any((rates != before).any() for rates in after), (schedule, name, values)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--schedule=one_cycle", "--pct_final=0.5"], "pct_final .* without three_phase"),
        (
            ["--schedule=cyclic", "--gamma=0.5", *REQUIRED["cyclic"]],
            "gamma .* without mode=exp_range",
        ),
        (
            ["--schedule=cosine_decay", "--warmup_target=1"],
            "target .* without warmup_steps$",
        ),
        (
            ["--schedule=one_cycle", "--maximal_learning_rate=0.5", "--learning_rate=0.1"],
            "maximal_learning_rate and learning_rate are both .* give one of them",
        ),
        (
            ["--schedule=piecewise_constant", *REQUIRED["piecewise_constant"], "--learning_rate=1"],
            "has its own rates: leave learning_rate",
        ),
        (["--warmup_start=0.5"], "warmup_start is not for schedule constant"),
    ],
)
def test_a_flag_that_would_have_no_effect_is_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        experiment("--optimizer=sgd", *flags)


def test_the_peak_of_one_cycle_is_the_largest_learning_rate_or_the_optimizers():
    given = schedule_of("--schedule=one_cycle", "--maximal_learning_rate=0.5")
    assert given.max() == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_array_equal(given, schedule_of("--schedule=one_cycle", "--learning_rate=0.5"))
    assert schedule_of("--schedule=one_cycle").max() == pytest.approx(0.01, rel=1e-3)
