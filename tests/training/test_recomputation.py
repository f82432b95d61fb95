"""Functions that a gradient computes again: their results, their gradients, and how often."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainlib.training.recomputation import Recomputed, with_recomputed_gradient
from trainlib.training.reentry import reentered
from trainlib.training.variable_scope import VariableScope

X = tf.constant([[1.0, -2.0]], tf.float64)
W = tf.constant([[0.5, 1.0], [2.0, -1.0]], tf.float64)


def test_the_gradient_is_that_of_the_function_which_is_called_again():
    calls = []

    def function(x, w):
        calls.append(1)
        return (tf.tanh(x @ w),)

    with tf.GradientTape() as tape:
        tape.watch((X, W))
        (y,) = with_recomputed_gradient(function, 1)(X, W)
        loss = tf.reduce_sum(y**2)
    assert len(calls) == 1
    dx, dw = tape.gradient(loss, (X, W))
    assert len(calls) == 2
    z = X.numpy() @ W.numpy()
    upstream = 2 * np.tanh(z) / np.cosh(z) ** 2
    np.testing.assert_allclose(dx, upstream @ W.numpy().T, rtol=1e-13)
    np.testing.assert_allclose(dw, X.numpy().T @ upstream, rtol=1e-13)


def test_an_argument_that_nothing_depends_on_has_no_gradient():
    with tf.GradientTape() as tape:
        tape.watch((X, W))
        (y,) = with_recomputed_gradient(lambda x, w: (x * 2,), 1)(X, W)
    assert tape.gradient(y, W) is None


def test_a_graph_keeps_only_the_arguments_of_the_function():
    def function(x):
        for _ in range(3):
            x = tf.tanh(x)
        return (x,)

    @tf.function(autograph=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            (y,) = with_recomputed_gradient(function, 1)(x)
        return tape.gradient(y, x)

    graph = gradient.get_concrete_function(X).graph
    forward = [op for op in graph.get_operations() if op.type == "Tanh"][:3]
    backward = [op for op in graph.get_operations() if op.type == "TanhGrad"]
    assert len(backward) == 3
    assert not any(op.outputs[0] is x for op in forward for g in backward for x in g.inputs)
    np.testing.assert_allclose(gradient(X), _by_hand(X))


def _by_hand(x):
    x, factor = x.numpy(), 1.0
    for _ in range(3):
        x = np.tanh(x)
        factor = factor * (1 - x**2)
    return factor


@pytest.fixture
def count():
    return keras.Variable(3.0, trainable=False, name="count", dtype="float64")


@pytest.fixture
def weight():
    return keras.Variable(W, name="weight", dtype="float64")


class Layer:
    """Something with variables."""

    def __init__(self, *variables):
        self.variables = list(variables)


def test_what_a_part_assigns_is_assigned_once(weight, count):
    def part(x):
        count.assign(count + 1.0)
        return x @ weight.value * count.value

    given = [(weight, W), (count, tf.constant(3.0, tf.float64))]
    with tf.GradientTape() as tape:
        tape.watch(W)
        with VariableScope(given, [weight]) as scope:
            y = Recomputed(part, scope, [Layer(weight, count)])(X)
    assert float(scope.value_of(count)) == 4
    np.testing.assert_allclose(y, 4 * X @ W)
    np.testing.assert_allclose(tape.gradient(y, W), 4 * np.tile(X.numpy().T, 2))


def test_a_trained_variable_that_no_layer_of_the_part_holds_is_refused(weight):
    with VariableScope([(weight, W)], [weight]) as scope:
        with pytest.raises(ValueError, match="reads the variable 'weight', which it does not hold"):
            Recomputed(lambda x: x @ weight.value, scope, [])(X)


def test_masks_and_integers_pass_through_a_part():
    seen = []

    def part(x, options):
        seen.append((x._keras_mask, options))
        y = x * 2
        y._keras_mask = x._keras_mask
        return {"y": y, "n": tf.constant(1)}

    x = tf.identity(X)
    x._keras_mask = tf.constant([True])
    with VariableScope([], []) as scope:
        found = Recomputed(part, scope, [])(x, options=None)
    assert found["y"]._keras_mask is x._keras_mask and int(found["n"]) == 1
    assert seen == [(x._keras_mask, None)]


def test_contexts_of_the_pass_are_entered_again_where_a_part_is_recomputed(weight):
    factor = [1.0]

    @contextlib.contextmanager
    def doubled():
        factor.append(2.0)
        yield
        factor.pop()

    with tf.GradientTape() as tape:
        tape.watch(W)
        with VariableScope([(weight, W)], [weight]) as scope, reentered(doubled):
            y = Recomputed(lambda x: factor[-1] * x @ weight.value, scope, [Layer(weight)])(X)
    assert factor == [1.0]
    np.testing.assert_allclose(tape.gradient(y, W), 2 * np.tile(X.numpy().T, 2))
    assert factor == [1.0]


@pytest.mark.parametrize("draw", [tf.random.normal, tf.random.uniform])
def test_random_operations_that_draw_other_numbers_are_refused(draw):
    @tf.function(autograph=False)
    def run(x):
        with VariableScope([], []) as scope:
            return Recomputed(lambda x: x + draw(tf.shape(x), dtype=x.dtype), scope, [])(x)

    with pytest.raises(ValueError, match="draws random numbers by the operation Random"):
        run(X)
