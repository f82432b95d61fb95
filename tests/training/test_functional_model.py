"""Keras models as pure functions: names, seeds, and values assigned back to the model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainlib.step.state import ModelOutput
from trainlib.training.functional_model import (
    FunctionalModel,
    as_functional_model,
    functional_from_keras,
)
from trainlib.training.model_variables import model_variables, write_back

X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")


def net(name=None):
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5, name="drop"),
            keras.layers.Dropout(0.5, name="drop_more"),
            keras.layers.Dense(2, name="last"),
        ],
        name=name,
    )


class Own(keras.Model):
    """A custom model whose layers may share a name, and whose call has no training argument."""

    def __init__(self, *names):
        super().__init__()
        self.parts = [keras.layers.Dense(2, name=name) for name in names]
        self.build((None, 3))

    def build(self, input_shape):
        for part in self.parts:
            part.build(input_shape)
        self.built = True

    def call(self, x):
        return sum(part(x) for part in self.parts)


TRAINED = ["first/kernel", "first/bias", "norm/gamma", "norm/beta", "last/kernel", "last/bias"]
KEPT = [
    "norm/moving_mean",
    "norm/moving_variance",
    "seed_generator_state_0",
    "seed_generator_state_1",
]


@pytest.mark.parametrize("name", [None, "named", "first"])
def test_names_depend_neither_on_the_model_nor_on_earlier_models(name):
    net(), net("named")
    stateless = functional_from_keras(net(name))
    assert list(stateless.params) == TRAINED
    assert list(stateless.model_state) == KEPT


@pytest.mark.parametrize("make", [net, lambda: Own("a", "b")], ids=["with a mode", "without"])
def test_predictions_are_those_of_the_model(make):
    model = make()
    apply_fn, params, model_state = functional_from_keras(model)
    forward = apply_fn(params, model_state, X, training=False)
    np.testing.assert_allclose(forward.y_pred, model(X), rtol=1e-6)
    assert forward.penalty == 0
    shifted = {name: w + 1 for name, w in params.items()}
    moved = apply_fn(shifted, model_state, X, training=False).y_pred
    assert np.max(np.abs(moved - forward.y_pred)) > 0.1


def test_a_call_does_not_change_the_variables_of_the_model():
    model = net()
    before = model.get_weights()
    apply_fn, params, model_state = functional_from_keras(model)
    forward = apply_fn(params, model_state, X, training=True)
    assert list(forward.model_state) == KEPT
    assert all(np.any(forward.model_state[k].numpy() != v) for k, v in model_state.items())
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_generators_start_from_the_seed_and_differ():
    def starts(seed):
        state = functional_from_keras(net(), seed).model_state
        return [tuple(state[name].numpy()) for name in KEPT[2:]]

    found = [starts(seed) for seed in (0, 1, 2)]
    assert len({start for pair in found for start in pair}) == 6
    assert found == [starts(seed) for seed in (0, 1, 2)]


def test_penalties_of_all_layers_are_added():
    l1, l2 = keras.regularizers.L1(0.5), keras.regularizers.L2(0.25)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, kernel_regularizer=l1, bias_regularizer=l2, name="a"),
            keras.layers.Dense(2, activity_regularizer=l1, name="b"),
        ]
    )
    apply_fn, params, model_state = functional_from_keras(model)
    params["a/bias"] += 1.0
    penalty = apply_fn(params, model_state, X, training=True).penalty
    of_weights = 0.5 * np.abs(params["a/kernel"]).sum() + 0.25 * np.square(params["a/bias"]).sum()
    model.get_layer("a").bias.assign_add(np.ones(4))
    model(X, training=True)
    assert penalty.numpy() == pytest.approx(sum(map(float, model.losses)), rel=1e-6)
    assert penalty.numpy() > of_weights + 0.01  # that of activities is there as well


def test_frozen_layers_are_state_and_not_parameters():
    model = net()
    model.get_layer("first").trainable = False
    stateless = functional_from_keras(model)
    assert list(stateless.params) == TRAINED[2:]
    assert sorted(stateless.model_state) == sorted([*KEPT, *TRAINED[:2]])


def test_values_are_assigned_back_to_the_model():
    model = net()
    apply_fn, params, model_state = functional_from_keras(model)
    params = {name: w + 1 for name, w in params.items()}
    model_state = {name: v + 1 for name, v in model_state.items()}
    write_back(model, params, model_state)
    for group, values in zip(model_variables(model), (params, model_state), strict=True):
        for name, variable in group.items():
            np.testing.assert_array_equal(variable, values[name])
    expected = apply_fn(params, model_state, X, training=False).y_pred
    np.testing.assert_allclose(model(X), expected, rtol=1e-6)


def test_values_are_copies_of_the_variables():
    model = net()
    params = functional_from_keras(model).params
    kept = params["last/bias"].numpy()
    model.get_layer("last").bias.assign([5.0, 6.0])
    np.testing.assert_array_equal(params["last/bias"], kept)


def test_a_model_with_two_layers_of_one_name_is_refused():
    with pytest.raises(ValueError, match="two variables of the model are named 'a/kernel'"):
        functional_from_keras(Own("a", "a"))


def test_a_model_without_variables_is_refused():
    with pytest.raises(ValueError, match=r"start it with keras.Input\(...\) or call model.build"):
        functional_from_keras(keras.Sequential([keras.layers.Dense(2)]))


@pytest.mark.parametrize("model", [None, tf.identity, "mlp"])
def test_other_objects_are_refused(model):
    with pytest.raises(TypeError, match="^model must be a Keras model or a FunctionalModel, got"):
        functional_from_keras(model)


@pytest.mark.parametrize("precision", [None, "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"penalty": tf.reduce_sum}, "^the model adds a penalty that is not a mean over its batch"),
        ({"model_state": lambda x: {"mean": tf.reduce_mean(x)}}, "^mean: the forward pass assigns"),
        ({"params": lambda x: {"w": tf.reduce_mean(x)}}, "^w: the forward pass assigns"),
        ({"penalty": tf.reduce_mean, "model_state": lambda x: {"mean": tf.ones([])}}, None),
    ],
    ids=["penalty", "state", "parameters", "what a part can give"],
)
def test_a_function_on_replicas_may_not_look_over_the_batch(part, message, precision):
    def apply_fn(params, model_state, x, training):
        y = ModelOutput(x * params["w"], model_state)
        return y._replace(**{name: value(x) for name, value in part.items()})

    model = FunctionalModel(apply_fn, {"w": tf.ones([])}, {"mean": tf.zeros([])})
    model = as_functional_model(model, precision=precision, synchronized=True)

    def predicted(x):
        return model.apply_fn(model.params, model.model_state, x, training=True).y_pred

    call = tf.function(predicted, autograph=False)
    if message is None:
        assert call(X).shape == X.shape
    else:
        with pytest.raises(ValueError, match=message):
            call(X)


def test_a_compiled_function_is_refused_on_replicas():
    compiled = tf.function(lambda params, model_state, x, training: ModelOutput(x * params))
    model = FunctionalModel(compiled, tf.ones([]))
    with pytest.raises(
        ValueError, match=r"^apply_fn is a tf\.function.*: pass the Python function"
    ):
        as_functional_model(model, synchronized=True)
    assert as_functional_model(model) is model
