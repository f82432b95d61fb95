"""Of what a tensor of a graph is computed."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.graph import depends_on


def in_graph(function, count=2):
    """Call a function of placeholders."""
    specs = [tf.TensorSpec([3], tf.float32)] * count
    tf.function(function, input_signature=specs, autograph=False).get_concrete_function()


def test_a_tensor_depends_on_its_operands_and_on_itself():
    def check(x, y):
        z = tf.sin(x) + 1
        found.append((depends_on([z], [x]), depends_on([z], [y]), depends_on([x], [x])))
        return z

    found: list[tuple[bool, ...]] = []
    in_graph(check)
    assert found == [(True, False, True)]


def test_results_of_a_custom_gradient_depend_on_their_own_operands():
    @tf.custom_gradient
    def two(x, y):
        return (x + 1, y * 2), lambda a, b: (a, b)

    def check(x, y):
        first, second = two(x, y)
        found.append([depends_on([z], [w]) for z in (first, second) for w in (x, y)])
        return first

    found: list[list[bool]] = []
    in_graph(check)
    assert found == [[True, False, False, True]]
