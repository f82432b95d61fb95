"""`perceptron` and `mlp` have the layers, the widths and the options that were asked for."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.models import ModelHint, mlp, perceptron


def names(model):
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "hidden_1 activation_1 hidden_2 activation_2 outputs"),
        ({"hidden": ()}, "outputs"),
        ({"hidden": (7,), "dropout": 0.5}, "hidden_1 activation_1 dropout_1 outputs"),
        ({"hidden": (7,), "batch_norm": True}, "hidden_1 batch_norm_1 activation_1 outputs"),
        (
            {"hidden": (7,), "batch_norm": True, "dropout": 0.5, "output_activation": "softmax"},
            "hidden_1 batch_norm_1 activation_1 dropout_1 outputs probabilities",
        ),
        (
            {"hidden": (7,), "preprocessing": [keras.layers.Rescaling(0.5, name="scale")]},
            "scale hidden_1 activation_1 outputs",
        ),
        ({"input_shape": (4, 3), "hidden": (7,)}, "flatten hidden_1 activation_1 outputs"),
        (
            {"input_shape": (4, 3), "hidden": (7,), "fourier_features": 2},
            "flatten fourier_features hidden_1 activation_1 outputs",
        ),
    ],
)
def test_mlp_has_the_layers_that_are_asked_for(options, expected):
    model = mlp(**{"input_shape": (12,), "outputs": 5} | options)
    assert names(model) == expected.split()
    assert model.output_shape == (None, 5)
    assert model.name == "mlp"


def test_mlp_has_the_widths_and_options_that_are_asked_for():
    model = mlp((12,), 5, "sigmoid", hidden=(7, 6), activation="elu", dropout=0.25, batch_norm=True)
    assert [model.get_layer(f"hidden_{i}").units for i in (1, 2)] == [7, 6]
    assert not any(model.get_layer(f"hidden_{i}").use_bias for i in (1, 2))
    assert all(
        model.get_layer(f"activation_{i}").activation is keras.activations.elu for i in (1, 2)
    )
    assert [model.get_layer(f"dropout_{i}").rate for i in (1, 2)] == [0.25, 0.25]
    assert model.get_layer("probabilities").activation is keras.activations.sigmoid
    assert mlp((12,), 5).get_layer("hidden_1").use_bias
    assert [mlp((12,), 5).get_layer(f"hidden_{i}").units for i in (1, 2)] == [300, 100]


def test_a_perceptron_is_one_dense_layer():
    model = perceptron((3, 4), 5, "softmax", initializer="orthogonal")
    assert names(model) == ["flatten", "outputs", "probabilities"]
    assert model.count_params() == 12 * 5 + 5
    kernel = model.get_layer("outputs").kernel.numpy()
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(5), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({"depth": 3}, [100, 100, 100]),
        ({"depth": 0, "width": 7}, []),
        ({"depth": 2, "width": 7}, [7, 7]),
        ({"depth": 3, "width": 300, "last_width": 100}, [300, 200, 100]),
        ({"depth": 4, "width": 10, "last_width": 20}, [10, 13, 17, 20]),
        ({"depth": 1, "width": 9, "last_width": 3}, [9]),
    ],
)
def test_widths_follow_from_depth(options, widths):
    model = mlp((4,), 2, **options)
    hidden = [x for x in model.layers if x.name.startswith("hidden")]
    assert [layer.units for layer in hidden] == widths


def test_a_self_normalizing_network_is_selu_lecun_and_alpha_dropout():
    model = mlp((4,), 2, self_normalizing=True, hidden=(3,), dropout=0.25)
    assert names(model) == ["hidden_1", "activation_1", "dropout_1", "outputs"]
    assert model.get_layer("activation_1").activation is keras.activations.selu
    assert type(model.get_layer("hidden_1").kernel_initializer) is keras.initializers.LecunNormal
    assert type(model.get_layer("dropout_1")) is keras.layers.AlphaDropout


def test_self_normalizing_layers_keep_mean_and_variance():
    keras.utils.set_random_seed(0)
    model = mlp((100,), 1, self_normalizing=True, depth=20, width=100)
    x = np.random.default_rng(0).normal(size=(500, 100))
    last = keras.Model(model.inputs[0], model.get_layer("activation_20").output)(x).numpy()
    assert abs(last.mean()) < 0.1 and 0.8 < last.std() < 1.2


@pytest.mark.parametrize("position", ["before", "after"])
def test_batch_normalization_is_before_or_after_the_activation(position):
    model = mlp((4,), 2, hidden=(3,), batch_norm=True, batch_norm_position=position)
    order = ["batch_norm_1", "activation_1"]
    assert names(model)[1:3] == (order if position == "before" else order[::-1])
    assert model.get_layer("hidden_1").use_bias == (position == "after")


def test_residual_blocks_add_their_input():
    model = mlp((4,), 2, hidden=(3, 3, 3, 5, 5), residual=2)
    assert not isinstance(model, keras.Sequential) and model.name == "mlp"
    x = np.ones((1, 4), "float32")
    parts = ("activation_1", "activation_3", "add_1", "shortcut_2", "activation_5", "add_2")
    made = keras.Model(model.input, [model.get_layer(name).output for name in parts])(x)
    first, branch, added, shortcut, last, sums = (y.numpy() for y in made)
    np.testing.assert_allclose(added, first + branch, rtol=1e-6)
    kernel = model.get_layer("shortcut_2").kernel.numpy()
    np.testing.assert_allclose(shortcut, added @ kernel, rtol=1e-5)
    np.testing.assert_allclose(sums, shortcut + last, rtol=1e-6)


def test_maxout_is_the_largest_of_linear_functions():
    model = mlp((4,), 2, hidden=(3,), activation="maxout:pieces=5")
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    kernel, bias = model.get_layer("hidden_1").get_weights()
    expected = (x @ kernel + bias).reshape(6, 5, 3).max(axis=1)
    hidden = keras.Model(model.inputs[0], model.get_layer("activation_1").output)(x)
    np.testing.assert_allclose(hidden, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 2, "hidden": (3,)}, "hidden and depth both set the widths: give one of them"),
        ({"width": 3}, "width needs depth"),
        ({"last_width": 3}, "last_width needs depth"),
        ({"depth": -1}, "depth must be at least 0 and at most 1000, got -1"),
        ({"residual": 2}, "residual=2 needs 1 hidden layer and a multiple of 2 after it, got 2"),
        ({"self_normalizing": True, "batch_norm": True}, "self_normalizing .* leave batch_norm"),
        ({"self_normalizing": True, "activation": "relu"}, "self_normalizing .* activation relu"),
        ({"self_normalizing": True, "initializer": "he_normal"}, "self_normalizing .* he_normal"),
        (
            {"self_normalizing": True, "dropout": 0.1, "dropout_kind": "dropout"},
            "self_normalizing .* leave dropout_kind dropout out",
        ),
        ({"batch_norm_position": "after"}, "batch_norm_position has no effect without batch_norm"),
        ({"dropout": 0.1, "dropout_kind": "stochastic_depth"}, ".* it needs residual"),
        ({"fourier_columns": "0"}, "fourier_columns needs fourier_features"),
        ({"fourier_scale": 2.0}, "fourier_scale needs fourier_features"),
        ({"fourier_features": 2, "fourier_columns": "4"}, "fourier_columns must be .* 0 to 3"),
        ({"fourier_features": 2, "fourier_scale": 0}, "fourier_scale must be above 0, got 0"),
        ({"activation": "maxout:pieces=1"}, "activation 'maxout:pieces=1': .* at least 2"),
        ({"activation": "maxout:parts=3"}, "activation 'maxout:parts=3': .* option pieces"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        mlp((4,), 2, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "selu", "initializer": "he_normal"}, "activation=selu .* LeCun"),
        ({"activation": "selu", "batch_norm": True}, "activation=selu .* leave batch_norm out"),
        ({"dropout": 0.1, "dropout_kind": "alpha"}, "dropout_kind=alpha .* not of relu"),
        ({"activation": "selu", "dropout": 0.1}, "dropout_kind=dropout .* dropout_kind=alpha"),
        ({"dropout_kind": "gaussian"}, "dropout_kind=gaussian has no effect without dropout"),
    ],
)
def test_doubtful_combinations_get_a_hint(options, message):
    with pytest.warns(ModelHint, match=f"^{message}"):
        mlp((4,), 2, hidden=(3,), **options)
