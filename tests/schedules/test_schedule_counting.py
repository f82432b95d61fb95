"""Steps are counted exactly: drops, restarts, boundaries and epochs occur in their step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, WITHOUT_XLA

import trainlib.schedules as schedules

LENGTHS = [3, 37, 49, 1000, 2**24 + 1, 10**9 + 7, 2**50 + 1]
LAST = 2**53 - 1


def around_multiples(length):
    """Return steps before, at and after multiples of a length, up to 2^53."""
    most = LAST // length
    chosen = np.linspace(1, most, min(most, 500)).astype(np.int64)
    multiples = np.unique([*range(1, min(200, most) + 1), *chosen]) * length
    steps = np.unique([0, LAST, *multiples, *(multiples - 1), *(multiples + 1)])
    return steps[steps <= LAST]


def number_of_the_step(k):
    return tf.cast(k, tf.float64)


def rates(schedule, steps, execution):
    return EXECUTIONS[execution](schedule)(tf.constant(steps, tf.int64)).numpy()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_epochs_have_their_number_of_steps(execution, length):
    steps = around_multiples(length)
    epoch = schedules.per_epoch(number_of_the_step, length, "float64")
    np.testing.assert_array_equal(rates(epoch, steps, execution), steps // length)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_staircases_drop_in_their_step(execution, length):
    steps = around_multiples(length)
    passed = (steps // length).astype(np.float64)
    inverse = schedules.inverse_time_decay(1.0, length, 1.0, staircase=True, dtype="float64")
    np.testing.assert_array_equal(1 / rates(inverse, steps, execution), 1 / (1 / (1 + passed)))
    expected = 0.5 ** np.minimum(passed, 1000)
    for halves in (
        schedules.exponential_decay(1.0, length, 0.5, staircase=True, dtype="float64"),
        schedules.step_decay(1.0, length, dtype="float64"),
    ):
        found = rates(halves, steps, execution)
        few = passed <= 1000
        np.testing.assert_allclose(found[few], expected[few], rtol=1e-15)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_float32_rate_counts_steps_beyond_2_to_the_24(execution):
    staircase = schedules.exponential_decay(1.0, 2**24 + 1, 0.5, staircase=True)
    # As float32 numbers the odd steps here are their even neighbours.
    steps = [2**24, 2**24 + 1, 2**25 + 1, 2**25 + 2]
    np.testing.assert_array_equal(rates(staircase, steps, execution), [1.0, 0.5, 0.5, 0.25])


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("boundary", [1, 37, 2**24 + 1, 2**53 - 3])
def test_a_joined_schedule_restarts_in_the_step_of_its_boundary(boundary, execution):
    parts = [number_of_the_step, lambda k: -1 - number_of_the_step(k)]
    joined = schedules.join_schedules(parts, [boundary], "float64")
    steps = [boundary - 1, boundary, boundary + 1, boundary + 2]
    np.testing.assert_array_equal(rates(joined, steps, execution), [boundary - 1, -1, -2, -3])


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("boundary", [37, 2**24 + 1, 2**53 - 3])
def test_a_boundary_separates_two_steps(boundary, execution):
    steps = [boundary - 1, boundary, boundary + 1]
    for owner, expected in (("old", [1, 1, 2]), ("new", [1, 2, 2])):
        pieces = schedules.piecewise_constant([boundary], [1, 2], boundary=owner)
        np.testing.assert_array_equal(rates(pieces, steps, execution), expected)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize(
    ("first", "growth"), [(1, 1), (49, 1), (2**24 + 1, 1), (1, 2), (37, 2), (1, 3), (3, 10)]
)
def test_each_cosine_starts_at_the_top_in_its_step(first, growth, execution):
    starts = [0]
    while len(starts) < 60 and starts[-1] < LAST:
        starts.append(starts[-1] + first * growth ** (len(starts) - 1))
    starts = np.array(starts[1:])
    starts = starts[starts <= LAST]
    restarts = schedules.cosine_decay_restarts(1.0, first, growth, 0.9, dtype="float64")
    tops = 0.9 ** np.arange(1, len(starts) + 1)
    np.testing.assert_allclose(rates(restarts, starts, execution), tops, rtol=1e-13)
    # One step before its end a cosine of n steps is at sin(pi / 2n)^2 of its top, 1/4 for n = 3.
    lengths = first * growth ** np.arange(len(starts), dtype=np.float64)
    before = np.sin(np.pi / 2 / lengths) ** 2 * tops / 0.9
    np.testing.assert_allclose(
        rates(restarts, starts - 1, execution), before, rtol=1e-9, atol=1e-16
    )


def test_cycles_that_grow_by_a_decimal_factor_end_exactly():
    # 10 + 11 = 21 and 10 + 11 + 12.1 = 33.1; in binary 1.1 is a little more than 1.1.
    restarts = schedules.cosine_decay_restarts(1.0, 10, 1.1, 0.5, dtype="float64")
    found = rates(restarts, [9, 10, 20, 21, 33, 34], "eager")
    assert found[1] == 0.5 and found[3] == 0.25
    assert found[0] < 0.03 and found[2] < 0.02 and found[4] < 0.001 and 0.1 < found[5] < 0.125


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_the_logarithm_of_keras_is_late_only_where_it_is_rounded_down(execution):
    # The 5th restart, of t_mul 3, is at 1 + 3 + 9 + 27 + 81 = 121: log(243) / log(3) < 5.
    exact = schedules.cosine_decay_restarts(1.0, 1, 3, alpha=0.1, dtype="float64")
    late = schedules.cosine_decay_restarts(
        1.0, 1, 3, alpha=0.1, convention="keras", dtype="float64"
    )
    steps = np.arange(500)
    exact, late = rates(exact, steps, execution), rates(late, steps, execution)
    assert exact[121] == 1.0
    np.testing.assert_allclose(late[121], 0.1, rtol=1e-15)
    np.testing.assert_array_equal(np.delete(late, 121), np.delete(exact, 121))


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_each_polynomial_cycle_ends_at_its_end_rate_exactly(execution):
    # In a graph 49 / 49 is less than 1, and the root of what is missing is 1e-8.
    schedule = schedules.polynomial_decay(1.0, 49, 0.0, 0.5, cycle=True, dtype="float64")
    np.testing.assert_array_equal(rates(schedule, [49, 98, 147, 4900], execution), 0.0)
    left = [1, 48 / 98, 48 / 147]
    np.testing.assert_allclose(rates(schedule, [0, 50, 99], execution), np.sqrt(left), rtol=1e-14)
