"""A forward pass reads given values, and what it assigns reaches no variable."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainlib.training.variable_scope import PartScope, VariableScope


@pytest.fixture
def weight():
    return keras.Variable([1.0, 2.0], name="weight")


@pytest.fixture
def count():
    return keras.Variable(3.0, trainable=False, name="count")


def test_values_are_those_given_and_the_variables_keep_theirs(weight, count):
    given = tf.constant([5.0, 6.0]), tf.constant(7.0)
    with VariableScope(list(zip((weight, count), given, strict=True)), [weight]) as scope:
        count.assign(count + 1.0)
        seen = weight * count
    np.testing.assert_array_equal(seen, [40.0, 48.0])
    assert scope.value_of(weight) is given[0]
    assert float(scope.value_of(count)) == 8
    np.testing.assert_array_equal(weight.numpy(), [1.0, 2.0])
    assert float(count.numpy()) == 3


def test_no_gradient_flows_through_what_is_assigned(weight, count):
    value = tf.constant([5.0, 6.0])
    with tf.GradientTape() as tape:
        tape.watch(value)
        with VariableScope([(weight, value), (count, tf.constant(0.0))], [weight]):
            count.assign(tf.reduce_sum(weight.value))
            y = tf.reduce_sum(weight * count)
    np.testing.assert_array_equal(tape.gradient(y, value), [11.0, 11.0])


def test_a_variable_without_a_given_value_may_not_be_assigned(weight, count):
    with pytest.raises(ValueError, match="assigns the variable 'count', which no layer of the mod"):
        with VariableScope([(weight, tf.constant([5.0, 6.0]))], [weight]):
            count.assign(1.0)


def test_a_part_of_a_pass_starts_from_its_values_and_its_arguments(weight, count):
    given = [(weight, tf.constant([5.0, 6.0])), (count, tf.constant(7.0))]
    with VariableScope(given, [weight]) as scope:
        count.assign(8.0)
        start, argument = scope.current(), tf.constant([1.0, 2.0])
        with PartScope(start, scope.trained, {id(weight): argument}) as part:
            count.assign(count + 1.0)
            seen = weight * count
        for update in part.assigned():
            scope.add_update(update)
    np.testing.assert_array_equal(seen, [9.0, 18.0])
    assert [variable for variable, _ in part.assigned()] == [count]
    assert float(scope.value_of(count)) == 9
    assert scope.value_of(weight) is given[0][1]


def test_a_part_may_not_read_a_trained_variable_that_is_no_argument(weight, count):
    given = [(weight, tf.constant([5.0, 6.0])), (count, tf.constant(7.0))]
    with PartScope(given, [weight], {}):
        assert float(count + 0) == 7
        with pytest.raises(ValueError, match="reads the variable 'weight', which it does not hold"):
            weight + 0
