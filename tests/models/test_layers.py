"""Activations and initializers by name, with options."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.models import cnn, mlp
from trainlib.models.layers import activation_layer, name_and_options

X = np.array([[-2.0, -0.5, 0.0, 3.0]], "float32")


@pytest.mark.parametrize("model", [mlp, cnn])
@pytest.mark.parametrize("initializer", ["zeros", "orthogonal", "lecun_uniform"])
def test_hidden_kernels_start_from_the_initializer(model, initializer):
    made = model((8, 6), 5, initializer=initializer)
    hidden = [layer for layer in made.layers if layer.name.startswith(("hidden", "conv"))]
    expected = type(keras.initializers.get(initializer))
    assert len(hidden) == 2
    assert all(type(layer.kernel_initializer) is expected for layer in hidden)


def test_auto_gives_the_kernel_of_the_initializer_it_chooses():
    kernels = []
    for name in ("auto", "he_normal"):
        keras.utils.set_random_seed(0)
        kernels.append(mlp((4,), 2, hidden=(3,), initializer=name).get_weights()[0])
    np.testing.assert_array_equal(*kernels)


@pytest.mark.parametrize(
    ("activation", "chosen"),
    [
        ("silu", "HeNormal"),
        ("prelu", "HeNormal"),
        ("tanh", "GlorotUniform"),
        ("selu", "LecunNormal"),
    ],
)
def test_auto_follows_the_activation(activation, chosen):
    layer = mlp((4,), 2, hidden=(3,), activation=activation).get_layer("hidden_1")
    assert type(layer.kernel_initializer).__name__ == chosen


def test_initializers_take_options():
    text = "variance_scaling:scale=2.5,mode=fan_avg,distribution=uniform"
    model = mlp((4,), 2, initializer=text)
    config = model.get_layer("hidden_2").kernel_initializer.get_config()
    assert (config["scale"], config["mode"], config["distribution"]) == (2.5, "fan_avg", "uniform")
    first, second = (
        mlp((4,), 2, hidden=(4, 4), initializer=text).get_layer(f"hidden_{i}").kernel.numpy()
        for i in (1, 2)
    )
    assert np.any(first != second)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", [0, 0, 0, 3]),
        ("relu:max_value=2", [0, 0, 0, 2]),
        ("leaky_relu:negative_slope=0.5", [-1, -0.25, 0, 3]),
        ("prelu:alpha=0.25", [-0.5, -0.125, 0, 3]),
        ("elu:alpha=2", [2 * np.expm1(-2), 2 * np.expm1(-0.5), 0, 3]),
        ("silu", X[0] / (1 + np.exp(-X[0]))),
        ("tanh", np.tanh(X[0])),
        ("softmax", np.exp(X[0]) / np.exp(X[0]).sum()),
    ],
)
def test_activations_are_their_functions(activation, expected):
    np.testing.assert_allclose(activation_layer(activation, "a")(X)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initializer": "variance_scaling:scal=2"}, "initializer .*: .* the options scale, mode"),
        ({"initializer": "variance_scaling:scale=-1"}, "initializer .*: .*scale"),
        ({"initializer": "orthogonal:gain"}, "initializer 'orthogonal:gain': options are written"),
        ({"activation": "tanh:alpha=1"}, "activation 'tanh:alpha=1': tanh has the options none"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        mlp((4,), 2, **options)


def test_options_are_numbers_and_words():
    found = name_and_options("initializer", "f:a=1,b=0.5,c=word,d=2.0,e=1e-3")
    assert found == ("f", {"a": 1, "b": 0.5, "c": "word", "d": 2.0, "e": 0.001})
    assert type(found[1]["a"]) is int and type(found[1]["d"]) is float
