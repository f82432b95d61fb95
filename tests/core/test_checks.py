"""Checks of arguments: what passes, and messages that name argument, value and what is allowed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer, check_number, check_rate


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1), tf.constant(-1.0)])
def test_numbers_within_the_bounds_and_tensors_pass(value):
    check_number("rho", value, at_least=0, at_most=1)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (-1, {"at_least": 0}, "rho must be at least 0, got -1"),
        (0, {"above": 0}, "rho must be above 0, got 0"),
        (1, {"at_least": 0, "below": 1}, "rho must be at least 0 and below 1, got 1"),
        (2.5, {"at_most": 2}, "rho must be at most 2, got 2.5"),
        (np.nan, {}, "rho must be finite, got nan"),
        (np.inf, {"above": 0}, "rho must be finite and above 0, got inf"),
    ],
)
def test_numbers_out_of_bounds_are_refused(value, bounds, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_number("rho", value, **bounds)


@pytest.mark.parametrize("value", ["1", True, None, [1.0]])
def test_what_is_not_a_number_is_refused(value):
    with pytest.raises(TypeError, match="^rho must be a number, got "):
        check_number("rho", value)


@pytest.mark.parametrize("value", [1, np.int32(3)])
def test_integers_within_the_bounds_pass(value):
    check_integer("every_k", value, at_least=1, at_most=3)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "every_k must be at least 1 and at most 3, got 0"),
        (4, ValueError, "every_k must be at least 1 and at most 3, got 4"),
        (1.0, TypeError, "every_k must be an integer, got 1.0"),
        (True, TypeError, "every_k must be an integer, got True"),
        ("2", TypeError, "every_k must be an integer, got '2'"),
    ],
)
def test_other_integers_and_types_are_refused(value, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        check_integer("every_k", value, at_least=1, at_most=3)


def test_a_learning_rate_is_a_schedule_a_tensor_or_a_number_of_at_least_0():
    for value in (0.0, tf.constant(-1.0), lambda step: step):
        check_rate("learning_rate", value)
    with pytest.raises(ValueError, match="^learning_rate must be at least 0, got -0.5$"):
        check_rate("learning_rate", -0.5)


@pytest.mark.parametrize(
    ("name", "hint"), [("adm", "did you mean 'adam'? choose from "), ("xyz", "choose from ")]
)
def test_an_unknown_name_gets_the_nearest_choice(name, hint):
    check_choice("optimizer", "adam", ["sgd", "adam"])
    with pytest.raises(ValueError) as error:
        check_choice("optimizer", name, ["sgd", "adam"])
    assert str(error.value) == f"unknown optimizer '{name}': {hint}sgd, adam"
