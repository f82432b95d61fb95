"""Models whose activations are recomputed train as they do without, and as in Keras."""

from __future__ import annotations

import contextlib
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, soak_except

import trainlib as tl
from trainlib.callbacks import SaveEvery, StopAfter
from trainlib.training.functional_model import functional_from_keras
from trainlib.training.model_variables import model_variables

layers = keras.layers
RNG = np.random.default_rng(0)
WORDS = np.where(np.arange(6) < RNG.integers(2, 7, (8, 1)), RNG.integers(1, 20, (8, 6)), 0)
CLASSES = RNG.integers(0, 3, 8)
X, Y = RNG.normal(size=(24, 4)).astype("float32"), RNG.integers(0, 3, 24)


def sentences(scope=contextlib.nullcontext):
    """A model with masks, random draws, batch statistics, penalties and shortcuts."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float64")
    with scope():
        inputs = keras.Input((6,), dtype="int32")
        x = layers.Embedding(20, 8, mask_zero=True)(inputs)
        for _ in range(3):
            branch = layers.Dense(8, "tanh", activity_regularizer=keras.regularizers.L2(0.1))(x)
            branch = layers.BatchNormalization()(branch)
            x = layers.Add()([x, layers.Dropout(0.3)(branch)])
        x = layers.GlobalAveragePooling1D()(x)
        model = keras.Model(inputs, layers.Dense(3, "softmax")(x))
    keras.config.set_dtype_policy("float32")
    return model


def loss_of(y_pred, penalty):
    chosen = tf.gather(y_pred, CLASSES, batch_dims=1)
    return tf.reduce_mean(-tf.math.log(chosen)) + penalty


@functools.cache
def of_keras():
    """The loss, the gradients and the state of Keras's own forward pass in training."""
    model = sentences()
    pure = functional_from_keras(model, 1)
    trained, kept = model_variables(model)
    for path, variable in kept.items():
        variable.assign(pure.model_state[path])  # the seeds
    with tf.GradientTape() as tape:
        loss = loss_of(model(WORDS, training=True), sum(model.losses))
    grads = tape.gradient(loss, [v.value for v in trained.values()])
    grads = dict(zip(trained, map(tf.convert_to_tensor, grads), strict=True))
    return float(loss), grads, {path: v.numpy() for path, v in kept.items()}


def assert_close(found, expected):
    """Assert that tensors by path agree; of two models Keras numbers the layers differently."""
    for (path, x), y in zip(expected.items(), found.values(), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-12, atol=1e-14, err_msg=path)


@pytest.mark.parametrize("execution", soak_except("graph"))
def test_gradients_and_statistics_are_those_of_keras(execution):
    pure = functional_from_keras(sentences(), 1, gradient_checkpointing=True)

    def run(params, model_state):
        with tf.GradientTape() as tape:
            tape.watch(params)
            output = pure.apply_fn(params, model_state, tf.constant(WORDS), training=True)
            loss = loss_of(output.y_pred, output.penalty)
        grads = {k: tf.convert_to_tensor(g) for k, g in tape.gradient(loss, params).items()}
        return loss, grads, output.model_state

    loss, grads, state = EXECUTIONS[execution](run)(pure.params, pure.model_state)
    if execution == "xla":  # its dropout has other masks
        pure = functional_from_keras(sentences(), 1)
        expected = EXECUTIONS[execution](run)(pure.params, pure.model_state)
    else:
        expected = of_keras()
    assert float(loss) == pytest.approx(float(expected[0]), rel=1e-13)
    assert_close(grads, expected[1])
    assert_close(state, expected[2])


def blocks(scope=contextlib.nullcontext):
    keras.utils.set_random_seed(0)
    with scope():
        x = inputs = keras.Input((4,))
        for i in range(3):
            hidden = layers.Dense(4, "tanh", use_bias=False, name=f"hidden_{i}")(x)
            branch = layers.BatchNormalization(name=f"norm_{i}")(hidden)
            x = layers.Add()([x, layers.Dropout(0.3)(branch)])
        return keras.Model(inputs, layers.Dense(3, "softmax")(x))


def trainer(model=None, **options):
    options = {"execution": "graph", "gradient_checkpointing": True} | options
    return tl.Trainer(
        model or blocks(), "sparse_categorical_crossentropy", tl.adam(0.01), **options
    )


def fit(trainer, **options):
    return trainer.fit((X, Y), batch_size=8, epochs=3, **options)


def numbers(history):
    return [results["loss"] for results in history]


@functools.cache
def without():
    """A run that recomputes nothing."""
    plain = trainer(gradient_checkpointing=False)
    return numbers(fit(plain)), plain.weights


def assert_same_run(history, weights):
    losses, expected = without()
    assert numbers(history) == losses
    pairs = zip(tf.nest.flatten(weights), tf.nest.flatten(expected), strict=True)
    for found, x in pairs:
        np.testing.assert_array_equal(found, x)


def test_a_run_ends_in_the_bits_of_one_that_recomputes_nothing():
    recomputing = trainer()
    assert_same_run(fit(recomputing), recomputing.weights)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:checkpoint .* has other automatic names of layers")
def test_an_interrupted_run_is_resumed_in_the_same_bits_with_the_same_setting(tmp_path):
    options = {"checkpoints": tl.Checkpoints(tmp_path), "callbacks": [SaveEvery(epochs=1)]}
    fit(trainer(), **{**options, "callbacks": [*options["callbacks"], StopAfter(4)]})
    options["checkpoints"] = tl.Checkpoints(tmp_path, resume=True)
    with pytest.raises(ValueError, match="was made with gradient_checkpointing True, not None"):
        fit(trainer(gradient_checkpointing=False), **options)
    resumed = trainer()
    assert_same_run(fit(resumed, **options), resumed.weights)


def test_layers_of_a_remat_scope_are_recomputed():
    def within():
        return keras.RematScope("list_of_layers", layer_names=["hidden_1"])

    assert _tanh_operations(blocks(within)) == _tanh_operations(blocks()) + 1


@pytest.mark.soak
def test_a_run_with_layers_of_a_remat_scope_ends_in_the_bits_of_one_without():
    scoped = trainer(blocks(lambda: keras.RematScope("full")), gradient_checkpointing=False)
    assert_same_run(fit(scoped), scoped.weights)


def recurrent(scope=contextlib.nullcontext):
    """A model of layers that have layers inside of them: cells."""
    keras.utils.set_random_seed(0)
    with scope():
        inputs = keras.Input((4,))
        x = layers.Reshape((2, 2))(inputs)
        for i in range(3):
            x = layers.LSTM(4, return_sequences=True, name=f"lstm_{i}")(x)
        x = layers.Flatten()(x)
        return keras.Model(inputs, layers.Dense(3, "softmax", name="outputs")(x))


@pytest.mark.parametrize(
    "by_parts", [pytest.param(False, marks=pytest.mark.soak), True], ids=["layers", "parts"]
)
def test_layers_of_a_remat_scope_are_trained_inside_of_recomputed_ones(by_parts):
    plain = trainer(recurrent(), gradient_checkpointing=False)
    scoped = trainer(recurrent(lambda: keras.RematScope("full")), gradient_checkpointing=by_parts)
    np.testing.assert_allclose(numbers(fit(scoped)), numbers(fit(plain)), rtol=1e-6)
    pairs = zip(tf.nest.flatten(scoped.weights), tf.nest.flatten(plain.weights), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


ENDINGS = {
    "identity": lambda x: layers.Identity()(x),
    "linear": lambda x: layers.Activation("linear", dtype="float64")(x),
    "cast": lambda x: keras.ops.cast(x, "float64"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_loss_finds_the_logits_before_layers_that_change_nothing(ending):
    """Of a large logit the probability is 0, which a loss clips."""
    losses = []
    for checkpointing in (False, True):
        keras.utils.set_random_seed(0)
        x = inputs = keras.Input((4,))
        for i in range(4):
            x = layers.Dense(4, use_bias=False, name=f"hidden_{i}")(x)
        x = layers.Dense(3, "softmax", name="outputs")(x)
        model = keras.Model(inputs, ENDINGS[ending](x))
        ours = trainer(model, gradient_checkpointing=checkpointing)
        losses += numbers(ours.fit((1000 * X, Y), batch_size=24))
    assert losses[0] == losses[1] > 100


def _tanh_operations(model, **options):
    """Number of activations of the hidden layers in a forward and a backward pass."""
    pure = functional_from_keras(model, **options)

    @tf.function(autograph=False)
    def gradients(params):
        with tf.GradientTape() as tape:
            tape.watch(params)
            output = pure.apply_fn(params, pure.model_state, tf.constant(X), training=True)
        return tape.gradient(output.y_pred, params)

    operations = gradients.get_concrete_function(pure.params).graph.get_operations()
    return sum(operation.type == "Tanh" for operation in operations)


def test_evaluation_recomputes_nothing():
    pure = functional_from_keras(blocks(), gradient_checkpointing=True)
    run = tf.function(
        lambda x: pure.apply_fn(pure.params, pure.model_state, x, training=False).y_pred,
        autograph=False,
    )
    kinds = [op.type for op in run.get_concrete_function(tf.constant(X)).graph.get_operations()]
    assert "IdentityN" not in kinds and "Softmax" in kinds


def test_what_cannot_be_recomputed_is_refused():
    with pytest.raises(ValueError, match="'perceptron' has no part to recompute"):
        trainer(tl.models.perceptron((4,), 3))
    with pytest.raises(ValueError, match="gradient_checkpointing is for Keras models: in your own"):
        trainer(tl.FunctionalModel(lambda *args: None, {"w": tf.ones([1])}))
    with pytest.raises(TypeError, match="gradient_checkpointing must be True or False, got 2"):
        trainer(gradient_checkpointing=2)
