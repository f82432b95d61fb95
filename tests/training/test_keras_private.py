"""The private names of Keras are there: one test for each, which fails in a release without it."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import trainlib.training.keras_private as private

X = np.ones([2, 4], "float32")


def test_layers_of_nested_models_and_wrappers_are_found():
    dense = keras.layers.Dense(2)
    inner = keras.Sequential([keras.Input((4, 3)), keras.layers.TimeDistributed(dense)])
    model = keras.Sequential([keras.Input((4, 3)), inner])
    found = private.all_layers(model)
    assert found[0] is model
    assert inner in found
    assert dense in found


def test_metrics_that_a_layer_keeps_are_its_own():
    outer, inner = keras.layers.Dense(1), keras.layers.Dense(1)
    outer.inner, outer.seen = inner, keras.metrics.Mean()
    inner.seen = keras.metrics.Mean()
    assert private.metrics_of(outer) == [outer.seen]
    assert outer.seen in vars(outer)["_metrics"]
    assert not any(value == [outer.seen] for value in private.attributes_of(outer))


def test_outputs_have_their_structure():
    x = keras.Input((4,))
    outputs = {"b": (keras.layers.Dense(2)(x), x), "a": x}
    found = private.outputs_of(keras.Model(x, outputs))
    assert set(found) == {"a", "b"} and isinstance(found["b"], tuple)
    stack = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert private.outputs_of(stack).shape == (None, 2)


def test_the_graph_of_layers_is_read():
    x = keras.Input((4,))
    dense = keras.layers.Dense(2)
    dense(x)
    hidden = keras.layers.Dense(4)(x)
    layer, node, index = private.source_of(dense(hidden))
    assert (layer, node, index) == (dense, 1, 0)
    assert private.inputs_of_call(dense, 0)[0] is x
    assert private.inputs_of_call(dense, 1)[0] is hidden


def test_another_layer_is_called_as_a_layer_was():
    x = keras.Input((100,))
    layer, node, _ = private.source_of(keras.layers.Dropout(0.9)(x, training=True))
    y = private.called_again(layer, node, keras.layers.Dropout(0.5))
    assert set(keras.Model(x, y)(np.ones((1, 100), "float32")).numpy().ravel()) == {0, 2}


def test_masks_are_kept_with_tensors():
    masked = keras.layers.Masking()(np.array([[[0.0], [1.0]]], "float32"))
    assert private.mask_of(masked).numpy().tolist() == [[False, True]]
    assert private.mask_of(tf.ones([2])) is None
    error, predicted = keras.losses.MeanSquaredError(), tf.constant([[1.0], [3.0]])
    private.set_mask(predicted, tf.constant([True, False]))
    assert float(error(tf.zeros([2, 1]), predicted)) == 1  # not (1 + 9) / 2


def test_activations_keep_their_logits():
    logits = tf.constant([[1.0, 2.0]])
    for name in ("softmax", "sigmoid"):
        kept = private.logits_of(keras.activations.get(name)(logits))
        assert kept is not None, name
        np.testing.assert_array_equal(kept, logits)
    assert private.logits_of(logits) is None


def test_statistics_of_batch_normalization_are_replaced():
    layer = keras.layers.BatchNormalization(epsilon=0.0)
    layer.build((None, 4))
    assert private.moments_axes(layer) == [0]
    assert private.moments_method(layer) is not None
    assert private.moments_method(keras.layers.Dense(1)) is None
    assert not private.has_replaced_moments(layer)
    private.replace_moments(layer, lambda inputs, mask: (tf.fill([4], -1.0), tf.fill([4], 4.0)))
    assert private.has_replaced_moments(layer)
    np.testing.assert_array_equal(layer(X, training=True), X)  # (1 - -1) / 2


def test_metrics_that_make_their_variables_late_are_known():
    metric = keras.metrics.F1Score()
    assert not private.has_its_variables(metric)
    metric.update_state(X, X)
    assert private.has_its_variables(metric)
    assert private.has_its_variables(keras.metrics.AUC())


def test_the_output_shape_of_a_lambda_is_read():
    assert private.output_shape_of(keras.layers.Lambda(lambda x: x, output_shape=(3,))) == (3,)


def test_assignments_of_a_graph_are_found_within_loops_too():
    variable = tf.Variable(0.0)

    def graph_of(function):
        return tf.function(function, autograph=False).get_concrete_function().graph

    def loop():
        return tf.while_loop(lambda i: i < 3, lambda i: (i + variable.assign_add(i),), (0.0,))

    assert private.assigns_variables(graph_of(lambda: variable.assign(1.0)), 0)
    assert private.assigns_variables(graph_of(loop), 0)
    assert not private.assigns_variables(graph_of(lambda: variable + 1.0), 0)


def test_layers_that_preprocess_inputs_are_known_and_those_derived_from_them():
    class Flip(keras.layers.RandomFlip):
        pass

    for layer in (Flip(), keras.layers.RandomContrast(0.5), keras.layers.Rescaling(1.0)):
        assert private.preprocesses_inputs(layer)
    assert not private.preprocesses_inputs(keras.layers.Dropout(0.5))


def test_a_traced_function_is_called_with_its_structures_and_variables():
    variable = tf.Variable(1.0)

    def add(pair, named):
        variable.assign_add(pair[0])
        return {"sum": pair[1] + named["b"], "variable": variable.read_value()}

    number = tf.TensorSpec([])
    signature = [(number, number), {"b": number, "a": number}]
    traced = tf.function(add, signature, autograph=False).get_concrete_function()
    call = private.TracedCall(traced)
    assert call.graph is traced.graph
    pair, named = (tf.constant(1.0), tf.constant(2.0)), {"b": tf.constant(3.0), "a": tf.zeros([])}
    for expected in (2.0, 3.0):
        found = call(pair, named)
        assert (float(found["sum"]), float(found["variable"])) == (5.0, expected)


def test_the_calls_of_a_graph_are_read_in_order_and_made_by_another_function():
    first = keras.Input((4,))
    a, b = keras.layers.Dense(2, name="a"), keras.layers.Dense(3, name="b")
    model = keras.Model(first, {"y": b(a(first))})
    graph = private.graph_of_layers(model)
    assert graph is model and private.graph_of_layers(a) is None
    calls = private.calls_of(graph)
    assert [call.operation for call in calls] == [a, b]
    assert calls[1].input_tensors[0] is calls[0].outputs[0]
    args, options = calls[0].arguments.fill_in({id(first): X})
    assert args == (X,) and options == {}
    vars(graph)[private.RUN_OF_GRAPH] = lambda inputs, operation_fn: private.pack_outputs(
        graph, [operation_fn(b)(a(inputs[0])) * 0]
    )
    assert not np.any(model(X)["y"])
    stack = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert len(private.calls_of(private.graph_of_layers(stack))) == 1


def test_layers_of_a_remat_scope_are_known_and_their_calls_made_by_another_function():
    with keras.RematScope("list_of_layers", layer_names=["chosen"]):
        chosen, other = keras.layers.Dense(2, name="chosen"), keras.layers.Dense(2)
    plain = keras.layers.Dense(2)
    chosen(X)
    assert private.is_rematerialized(chosen) and not private.is_rematerialized(plain)
    method = getattr(chosen, private.CALL_IN_SCOPE)
    assert method(chosen.call, X) is not chosen.call
    assert getattr(other, private.CALL_IN_SCOPE)(len, X) is len
    vars(chosen)[private.CALL_IN_SCOPE] = lambda call, *args: lambda x: call(x) * 0
    assert not np.any(chosen(X))
    private.copy_rematerialization(chosen, plain)
    assert private.is_rematerialized(plain)


def test_inner_calls_are_made_as_in_the_call_that_was_kept():
    class Keeps(keras.layers.Layer):
        def call(self, x, training=False):
            self.state = private.call_state()
            return x

    outer, dropout = Keeps(dtype="mixed_float16"), keras.layers.Dropout(1.0)
    outer(X, training=True)
    weight = keras.Variable(1.0)
    assert np.any(dropout(X)) and weight.value.dtype == tf.float32
    with private.in_call_state(outer.state):
        assert not np.any(dropout(X)) and (weight + 0).dtype == tf.float16
    assert np.any(dropout(X)) and (weight + 0).dtype == tf.float32


def test_layers_that_a_layer_holds_itself_are_found():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    outer = keras.Sequential([keras.Input((4,)), inner])
    assert inner in private.direct_layers(outer)
    assert inner.layers[0] not in private.direct_layers(outer)


def test_operations_that_draw_other_numbers_are_found():
    @tf.function(autograph=False)
    def draw(x):
        return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y + tf.random.normal([])), x)

    graph = draw.get_concrete_function((tf.constant(0), tf.constant(0.0))).graph
    assert private.stateful_random_operation(graph, 0) == "RandomStandardNormal"
    plain = tf.function(lambda x: tf.random.stateless_normal([2], (1, 2)) + x, autograph=False)
    assert private.stateful_random_operation(plain.get_concrete_function(1.0).graph, 0) is None
