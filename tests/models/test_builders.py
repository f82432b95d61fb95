"""The models that have a name get the layers and the options that were asked for."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.models import MODELS, cnn, mlp


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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "conv_1 pool_1 flatten hidden_1 dropout_1 outputs"),
        ({"dropout": 0.0}, "conv_1 pool_1 flatten hidden_1 outputs"),
        ({"input_shape": (8, 6)}, "channels conv_1 pool_1 flatten hidden_1 dropout_1 outputs"),
        (
            {"output_activation": "softmax", "dropout": 0},
            "conv_1 pool_1 flatten hidden_1 outputs probabilities",
        ),
        (
            {"preprocessing": [keras.layers.Rescaling(0.5, name="scale")], "dropout": 0},
            "scale conv_1 pool_1 flatten hidden_1 outputs",
        ),
    ],
)
def test_cnn_has_the_layers_that_are_asked_for(options, expected):
    model = cnn(**{"input_shape": (8, 6, 2), "outputs": 5, "filters": 3, "units": 4} | options)
    assert names(model) == expected.split()
    assert model.get_layer("conv_1").output.shape == (None, 6, 4, 3)
    assert model.get_layer("pool_1").output.shape == (None, 3, 2, 3)
    assert model.get_layer("hidden_1").output.shape == (None, 4)
    assert model.output_shape == (None, 5)
    assert model.name == "cnn"


def test_cnn_has_the_options_that_are_asked_for():
    model = cnn((8, 6, 1), 5, activation="tanh", dropout=0.125)
    for name in ("conv_1", "hidden_1"):
        assert model.get_layer(name).activation is keras.activations.tanh
    assert model.get_layer("dropout_1").rate == 0.125
    assert model.get_layer("outputs").activation is keras.activations.linear


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("initializer", ["zeros", "orthogonal", "lecun_uniform"])
def test_hidden_kernels_start_from_the_initializer(model, initializer):
    made = model((8, 6), 5, initializer=initializer)
    hidden = [layer for layer in made.layers if layer.name.startswith(("hidden", "conv"))]
    expected = type(keras.initializers.get(initializer))
    assert len(hidden) == 2
    assert all(type(layer.kernel_initializer) is expected for layer in hidden)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_models_predict_probabilities_or_logits_by_the_output_activation(model):
    images = np.random.default_rng(0).normal(size=(3, 8, 6)).astype("float32")
    probabilities = model((8, 6), 5, "softmax")(images).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-6)
    assert np.any(model((8, 6), 5)(images).numpy() < 0)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1}, "dropout must be at least 0 and below 1, got 1"),
        ({"dropout": -0.5}, "dropout must be at least 0 and below 1, got -0.5"),
        ({"activation": "rellu"}, "unknown activation 'rellu': relu, leaky_relu"),
        ({"initializer": "he"}, "unknown initializer 'he': auto, he_normal"),
    ],
)
def test_wrong_options_are_refused(model, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        model((8, 6), 5, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp((4,), 2, hidden=(3, 0)), "hidden must be at least 1, got 0"),
        (lambda: cnn((4, 4), 2, filters=0), "filters must be at least 1, got 0"),
        (lambda: cnn((4, 4), 2, units=-1), "units must be at least 1, got -1"),
        (lambda: cnn((4,), 2), r"model cnn needs images, of 2 or 3 axes; .* shape \(4,\)"),
        (
            lambda: cnn((2, 4, 4, 1), 2),
            r"model cnn needs images, of 2 or 3 axes; .* \(2, 4, 4, 1\)",
        ),
        (lambda: cnn((3, 9, 1), 2), r"model cnn needs images of at least 4x4; .* \(3, 9, 1\)"),
    ],
)
def test_wrong_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_cnn_takes_images_of_4x4():
    assert cnn((4, 4), 2).output_shape == (None, 2)


def test_auto_gives_the_kernel_of_the_initializer_it_chooses():
    kernels = []
    for name in ("auto", "he_normal"):
        keras.utils.set_random_seed(0)
        kernels.append(mlp((4,), 2, hidden=(3,), initializer=name).get_weights()[0])
    np.testing.assert_array_equal(*kernels)
