"""The logits of a model, and whether it begins with preprocessing."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.models import has_preprocessing, logits_model, mlp


@pytest.mark.parametrize(
    "last",
    [
        lambda: keras.layers.Activation("softmax"),
        lambda: keras.layers.Activation("sigmoid"),
        lambda: keras.layers.Softmax(),
    ],
)
def test_the_logits_model_is_the_model_without_its_last_activation(last):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="z"), last()])
    bare = logits_model(model)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(bare(x), model.get_layer("z")(x), rtol=1e-6)
    np.testing.assert_allclose(model.layers[-1](bare(x)), model(x), rtol=1e-6)
    assert bare.name == model.name


def test_the_logits_model_takes_the_structure_of_the_inputs():
    inputs = {name: keras.Input((2,), name=name) for name in ("a", "b")}
    joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, keras.layers.Softmax()(joined))
    x = {"a": np.ones((1, 2), "float32"), "b": np.zeros((1, 2), "float32")}
    np.testing.assert_array_equal(logits_model(model)(x), [[1, 1, 0, 0]])


def test_the_logits_model_has_the_structure_of_the_outputs():
    x = keras.Input((3,))
    first, second = keras.layers.Dense(2)(x), keras.layers.Dense(4)(x)
    outputs = {"a": keras.layers.Softmax()(first), "b": keras.layers.Activation("softmax")(second)}
    found = logits_model(keras.Model(x, outputs))(np.ones((1, 3), "float32"))
    assert {name: tuple(y.shape) for name, y in found.items()} == {"a": (1, 2), "b": (1, 4)}
    assert logits_model(keras.Model(x, [outputs["a"], second])) is None


def test_the_logits_model_shares_its_variables_with_the_model():
    model = mlp((3,), 4, "softmax", hidden=(5,), batch_norm=True, dropout=0.5)
    bare = logits_model(model)
    assert [id(v) for v in bare.variables] == [id(v) for v in model.variables]
    tl.Trainer(bare, "mean_squared_error", tl.sgd(), execution="graph").fit(
        (np.ones((2, 3), "float32"), np.ones((2, 4), "float32"))
    )
    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(keras.ops.softmax(bare(x)), model(x), rtol=1e-6)


@pytest.mark.parametrize(
    "last",
    [
        lambda: keras.layers.Dense(4),
        lambda: keras.layers.Dense(4, activation="softmax"),
        lambda: keras.layers.Activation("tanh"),
        lambda: keras.layers.Dropout(0.5),
    ],
)
def test_a_model_with_another_last_layer_has_no_logits_model(last):
    assert logits_model(keras.Sequential([keras.Input((3,)), last()])) is None


def ended(last, calls=1):
    """A model that ends in a nested one, called a number of times; and the nested one."""
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4, name="z"), keras.layers.Dropout(0.5), last]
    )
    x = keras.Input((3,))
    y = keras.layers.Dense(4)(x)
    for _ in range(calls):
        y = inner(y, training=True)
    return keras.Model(x, y), inner


def test_the_last_activation_of_a_nested_model_is_removed_and_the_rest_of_its_call_stays():
    model, inner = ended(keras.layers.Softmax())
    bare = logits_model(model)
    assert [id(v) for v in bare.trainable_variables] == [id(v) for v in model.trainable_variables]
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    z = bare(x).numpy()
    assert (z == 0).any() and (z != 0).any(), "dropout is on, as the call of the model says"
    inner.layers[-2].rate = 0
    np.testing.assert_allclose(keras.ops.softmax(logits_model(model)(x)), model(x), rtol=1e-5)


@pytest.mark.parametrize("pack", [lambda y: [y], lambda y: {"main": y}], ids=["list", "dict"])
@pytest.mark.parametrize("nested", [False, True])
def test_the_structure_of_a_single_output_stays(pack, nested):
    x = keras.Input((3,))
    model = keras.Model(x, pack(keras.layers.Softmax()(keras.layers.Dense(4)(x))))
    if nested:
        outer = keras.Input((3,))
        model = keras.Model(outer, model(keras.layers.Dense(3)(outer)))
    x = np.ones((1, 3), "float32")
    found, whole = logits_model(model)(x), model(x)  # Keras returns a list of one as its element
    keras.tree.assert_same_structure(found, whole)
    (z,), (p,) = keras.tree.flatten(found), keras.tree.flatten(whole)
    np.testing.assert_allclose(keras.ops.softmax(z), p, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ended(keras.layers.Dense(4))[0],
        lambda: ended(keras.layers.Softmax(), calls=2)[0],
    ],
    ids=["another last layer", "called twice"],
)
def test_other_nested_models_have_no_logits_model(make):
    assert logits_model(make()) is None


class Subclassed(keras.Model):
    """A model whose layers Keras cannot put in order."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def call(self, x):
        return x


@pytest.mark.parametrize("parts", [(), ("softmax",)])
def test_a_subclass_with_a_custom_call_has_no_logits_model(parts):
    assert logits_model(Subclassed(*map(keras.layers.Activation, parts))) is None


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (lambda: keras.layers.Rescaling(0.5), True),
        (lambda: keras.layers.Normalization(mean=0, variance=1), True),
        (lambda: keras.layers.BatchNormalization(), False),
        (lambda: keras.layers.Dense(3), False),
    ],
)
def test_preprocessing_is_a_first_layer_that_scales(first, expected):
    later = keras.layers.Rescaling(2.0)
    assert has_preprocessing(keras.Sequential([keras.Input((3,)), first(), later])) is expected
    inputs = keras.Input((3,))
    assert has_preprocessing(keras.Model(inputs, later(first()(inputs)))) is expected


def in_a_nest(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (lambda: [keras.layers.Reshape((2, 2)), keras.layers.Rescaling(0.5)], True),
        (lambda: [keras.layers.Dense(4), keras.layers.Normalization(mean=0, variance=1)], True),
        (lambda: [in_a_nest(in_a_nest(keras.layers.Rescaling(0.5)))], True),
        (lambda: [keras.layers.Reshape((4, 1)), in_a_wrapper(keras.layers.Rescaling(2.0))], True),
        (lambda: [Scaling(2.0)], True),
        (lambda: [keras.layers.Normalization(mean=0, variance=1, invert=True)], False),
    ],
)
def test_preprocessing_is_found_anywhere(layers, expected):
    assert has_preprocessing(in_a_nest(*layers(), keras.layers.Dense(2))) is expected


def test_a_layer_that_scales_predictions_is_no_preprocessing():
    scaled = in_a_nest(keras.layers.Dense(1), keras.layers.Rescaling(100.0))
    assert not has_preprocessing(scaled)
    assert not has_preprocessing(in_a_nest(keras.layers.Dense(4), scaled))


def in_a_wrapper(layer):
    return keras.layers.TimeDistributed(layer)


class Scaling(keras.layers.Rescaling):
    """A layer of the user's that scales."""
