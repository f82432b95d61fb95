"""`cnn` and `separable_cnn` have the layers and the options that were asked for."""

from __future__ import annotations

import keras
import pytest

from trainlib.models import cnn, separable_cnn


def names(model):
    return [layer.name for layer in model.layers]


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


def test_blocks_double_their_filters():
    model = cnn((28, 28), 5, depth=3, convolutions=2, filters=4, padding="same", kernel_size=5)
    convolutions = [x for x in model.layers if x.name.startswith("conv")]
    assert [x.filters for x in convolutions] == [4, 4, 8, 8, 16, 16]
    assert all(x.kernel_size == (5, 5) for x in convolutions)
    assert [model.get_layer(f"pool_{i}").output.shape[1] for i in (1, 2, 3)] == [14, 7, 3]


def test_convolutions_are_normalized_before_their_activation():
    model = cnn((8, 8), 5, batch_norm=True, dropout=0)
    assert names(model)[1:5] == ["conv_1", "batch_norm_1", "activation_1", "pool_1"]
    assert not model.get_layer("conv_1").use_bias


def test_spatial_dropout_drops_whole_maps_after_each_pooling():
    model = cnn((12, 12), 5, depth=2, dropout=0.25, dropout_kind="spatial")
    dropped = [x for x in model.layers if x.name.startswith("dropout")]
    assert [type(x) for x in dropped] == [keras.layers.SpatialDropout2D] * 2
    assert names(model).index("dropout_1") == names(model).index("pool_1") + 1


def test_prelu_has_a_slope_for_each_map():
    model = cnn((8, 8), 5, filters=4, units=6, activation="prelu")
    assert model.get_layer("activation_1").alpha.shape == (1, 1, 4)
    assert model.get_layer("hidden_activation_1").alpha.shape == (6,)


def test_separable_cnn_is_the_stack_of_the_documents():
    model = separable_cnn((28, 28), 10, "softmax")
    convolutions = [x for x in model.layers if x.name.startswith("conv")]
    assert all(type(x) is keras.layers.SeparableConv2D for x in convolutions)
    assert [x.filters for x in convolutions] == [32, 64, 64, 128, 64, 128]
    ends = "pool_2 conv_5 conv_6 mean hidden_1 outputs probabilities"
    assert names(model)[-7:] == ends.split()
    assert model.get_layer("mean").output.shape == (None, 128)
    assert model.get_layer("hidden_1").units == 32


def test_separable_cnn_has_the_parameters_of_a_hand_count():
    sizes = [(1, 32), (32, 64), (64, 64), (64, 128), (128, 64), (64, 128)]
    convolutions = sum(9 * c + c * f + f for c, f in sizes)
    assert separable_cnn((28, 28), 10).count_params() == convolutions + 129 * 32 + 33 * 10


def test_separable_cnn_has_under_60_percent_of_the_parameters_of_the_usual_cnn():
    layers = [(1, 64, 7), (64, 128, 3), (128, 128, 3), (128, 256, 3), (256, 256, 3)]
    usual = sum(k * k * c * f + f for c, f, k in layers)
    usual += 3 * 3 * 256 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    assert separable_cnn((28, 28), 10).count_params() < 0.6 * usual


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cnn((4, 4), 2, filters=0), "filters must be at least 1, got 0"),
        (lambda: cnn((4, 4), 2, units=-1), "units must be at least 1, got -1"),
        (lambda: cnn((4,), 2), r"model cnn needs images, of 2 or 3 axes; .* shape \(4,\); models"),
        (
            lambda: cnn((2, 4, 4, 1), 2),
            r"model cnn needs images, of 2 or 3 axes; .* \(2, 4, 4, 1\)$",
        ),
        (lambda: cnn((3, 9, 1), 2), r"model cnn needs images of at least 4x4; .* \(3, 9, 1\)"),
        (lambda: cnn((9, 9), 2, depth=2), "model cnn needs images of at least 10x10"),
        (lambda: cnn((9, 9), 2, activation="maxout"), "activation maxout is for dense hidden"),
        (lambda: separable_cnn((3, 3), 2), "model separable_cnn needs images of at least 4x4"),
    ],
)
def test_wrong_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_cnn_takes_images_of_4x4():
    assert cnn((4, 4), 2).output_shape == (None, 2)


def test_blocks_take_the_smallest_images_they_say():
    assert cnn((10, 10), 2, depth=2).output_shape == (None, 2)
