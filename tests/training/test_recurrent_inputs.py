"""One product for the inputs of all time steps, beside the loops of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training.keras_call import pure_call
from trainlib.training.model_variables import model_variables
from trainlib.training.recurrent_inputs import recurrent_layers_of

EXAMPLES, STEPS, WORDS = 12, 7, 9
UNITS = 5
layers = keras.layers


class DoublingCell(layers.LSTMCell):
    """A cell of another equation."""

    def call(self, inputs, states, training=False):
        h, new = super().call(2 * inputs, states, training=training)
        return h, new


LAYERS = {
    "simple": lambda: layers.SimpleRNN(UNITS),
    "simple, relu, no bias": lambda: layers.SimpleRNN(UNITS, "relu", use_bias=False),
    "lstm": lambda: layers.LSTM(UNITS),
    "lstm, product by gate": lambda: layers.LSTM(UNITS, implementation=1),
    "lstm, no bias": lambda: layers.LSTM(UNITS, use_bias=False),
    "lstm, other activations": lambda: layers.LSTM(UNITS, "relu", "hard_sigmoid"),
    "lstm, unrolled": lambda: layers.LSTM(UNITS, unroll=True),
    "lstm, backwards": lambda: layers.LSTM(UNITS, go_backwards=True),
    "lstm of a cell": lambda: layers.RNN(layers.LSTMCell(UNITS)),
    "gru": lambda: layers.GRU(UNITS),
    "gru, reset before": lambda: layers.GRU(UNITS, reset_after=False),
    "gru, reset before, no bias": lambda: layers.GRU(UNITS, reset_after=False, use_bias=False),
    "gru, no bias": lambda: layers.GRU(UNITS, use_bias=False),
    "gru, product by gate": lambda: layers.GRU(UNITS, implementation=1),
    "both directions": lambda: layers.Bidirectional(layers.GRU(UNITS)),
    "dropout": lambda: layers.LSTM(UNITS, dropout=0.5, recurrent_dropout=0.5, seed=0),
    "another cell": lambda: layers.RNN(DoublingCell(UNITS)),
}
UNCHANGED = ("another cell",)
IN_SUITE = [
    *((name, False) for name in ("simple", "gru", "gru, reset before", "another cell")),
    *((name, True) for name in ("lstm", "both directions")),
]
"""Layers that the suite trains, and whether under a mask."""


def model_of(name, mask_zero, several=False):
    """Return a float64 model of words, with weights of no symmetry."""
    keras.utils.set_random_seed(0)
    policy = keras.dtype_policies.get("float64")
    keras.config.set_dtype_policy(policy)
    try:
        body = [LAYERS[name]()]
        if several:
            body.insert(0, layers.LSTM(UNITS, return_sequences=True))
        model = keras.Sequential(
            [
                keras.Input((STEPS,), dtype="int32"),
                layers.Embedding(WORDS, 4, mask_zero=mask_zero),
                *body,
                layers.Dense(1),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def words():
    """Return words, of which some at the end are masked, and targets."""
    rng = np.random.default_rng(1)
    x = rng.integers(1, WORDS, (EXAMPLES, STEPS)).astype("int32")
    x[::3, 4:] = 0
    return x, rng.integers(-8, 9, (EXAMPLES, 1)) / 8  # exact in float32, in which Keras passes them


@pytest.mark.parametrize(
    ("name", "mask_zero"),
    [
        pytest.param(name, masked, marks=[pytest.mark.soak] * ((name, masked) not in IN_SUITE))
        for name in LAYERS
        for masked in (False, True)
        if name != "dropout"
    ],
)
def test_training_follows_keras(name, mask_zero):
    model, of_keras = (model_of(name, mask_zero) for _ in range(2))
    assert len(recurrent_layers_of(model)) == (
        0 if name in UNCHANGED else 2 if name == "both directions" else 1
    )
    x, y = words()
    trainer = tl.Trainer(
        model, "mean_squared_error", tl.sgd(0.125, momentum=0.5), precision="float64"
    )
    trainer.fit((x, y), batch_size=4, epochs=5, shuffle=False)
    loss = keras.losses.MeanSquaredError(dtype="float64")
    of_keras.compile(keras.optimizers.SGD(0.125, 0.5), loss)
    of_keras.fit(x, y, batch_size=4, epochs=5, shuffle=False, verbose=0)
    for ours, theirs in zip(trainer.model.get_weights(), of_keras.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_the_loop_multiplies_by_the_recurrent_kernel_alone(name):
    """The first product of the two is that of the time step 0, whose result is not used."""
    model = model_of(name, mask_zero=False)
    apply_fn = of_model(model)

    @tf.function(autograph=False)
    def outputs(x):
        return apply_fn(x, training=True).y_pred

    graph = outputs.get_concrete_function(tf.TensorSpec([EXAMPLES, STEPS], tf.int32)).graph
    bodies = [f for f in graph.as_graph_def().library.function if "while_body" in f.signature.name]
    assert bodies
    assert [sum(n.op == "MatMul" for n in body.node_def) for body in bodies] == [1]


def of_model(model):
    """Return the pure call of a model, at the values of its variables."""
    found = model_variables(model)
    apply_fn = pure_call(model, *(list(group) for group in found))
    params, state = ({path: v.value for path, v in group.items()} for group in found)
    return lambda x, training: apply_fn(params, state, x, training)


def test_dropout_within_a_cell_is_that_of_keras():
    model = model_of("dropout", mask_zero=False)
    x, _ = words()
    ours = of_model(model)(x, training=True).y_pred
    np.testing.assert_array_equal(ours, model(x, training=True))


def test_a_forward_pass_alone_is_that_of_keras():
    model = model_of("gru", mask_zero=True)
    x, _ = words()
    np.testing.assert_array_equal(of_model(model)(x, training=False).y_pred, model(x))


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_layers_in_a_row_train_in_each_execution(execution):
    x, y = words()
    weights = []
    for how in ("graph", execution):
        model = model_of("gru", mask_zero=True, several=True)
        trainer = tl.Trainer(
            model, "mean_squared_error", tl.adam(2.0**-7), precision="float64", execution=how
        )
        trainer.fit((x, y), batch_size=4, epochs=5)
        weights.append(trainer.model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_a_state_that_is_given_and_returned():
    keras.utils.set_random_seed(0)
    x, start = keras.Input((STEPS, 3)), [keras.Input((UNITS,)) for _ in range(2)]
    y, *end = layers.LSTM(UNITS, return_sequences=True, return_state=True)(x, initial_state=start)
    model = keras.Model([x, *start], [y, *end])
    rng = np.random.default_rng(0)
    arrays = [tf.constant(rng.normal(size=(4, *i.shape[1:])), tf.float32) for i in model.inputs]
    outputs = of_model(model)(arrays, training=True).y_pred
    for ours, theirs in zip(outputs, model(arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
