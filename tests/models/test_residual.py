"""`resnet` is the network of He et al. for small images."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.models import resnet


def trained_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_it_has_the_parameters_of_the_paper(depth, millions):
    blocks = (depth - 2) // 6
    widths = [16, 32, 64]
    convolutions = 27 * 16 + sum((2 * blocks - 1) * 9 * f * f for f in widths)
    convolutions += 9 * (16 * 16 + 16 * 32 + 32 * 64)
    norms = 2 * 16 + sum(2 * 2 * blocks * f for f in widths)
    expected = convolutions + norms + 64 * 10 + 10
    assert round(expected / 1e6, 2) == millions
    if depth == 20:  # larger ones take seconds to build
        assert trained_parameters(resnet((32, 32, 3), 10, depth=depth)) == expected


def test_stages_halve_the_image_and_double_the_filters():
    model = resnet((28, 28), 10, "softmax", depth=8)
    shapes = [model.get_layer(f"block_{k}_add").output.shape[1:] for k in (1, 2, 3)]
    assert shapes == [(28, 28, 16), (14, 14, 32), (7, 7, 64)]
    weighted = [x for x in model.layers if isinstance(x, (keras.layers.Conv2D, keras.layers.Dense))]
    assert len(weighted) == 8


def test_identity_shortcuts_take_every_second_pixel_and_add_zeros():
    model = resnet((5, 6), 2, depth=8, filters=2)
    names = ("activation_1", "block_1_activation_2", "block_2_conv_2_norm", "block_2_add")
    x = np.random.default_rng(0).normal(size=(3, 5, 6)).astype("float32")
    made = keras.Model(model.input, [model.get_layer(name).output for name in names])(x)
    _, before, branch, added = (y.numpy() for y in made)
    expected = np.pad(before[:, ::2, ::2], [(0, 0)] * 3 + [(1, 1)])
    np.testing.assert_allclose(added - branch, expected, atol=1e-5)


def test_projections_are_normalized_convolutions():
    model = resnet((8, 8), 2, depth=8, filters=2, shortcut="projection")
    layer = model.get_layer("block_2_shortcut")
    assert (layer.kernel.shape, layer.strides, layer.use_bias) == ((1, 1, 2, 4), (2, 2), False)
    assert trained_parameters(model) - trained_parameters(
        resnet((8, 8), 2, depth=8, filters=2)
    ) == (2 * 4 + 2 * 4 + 4 * 8 + 2 * 8)


def test_symmetric_padding_adds_a_pixel_on_each_side_where_a_stage_begins():
    model = resnet((6, 8), 2, depth=8, filters=2, padding="symmetric")
    convolution = model.get_layer("block_2_conv_1")
    x = np.random.default_rng(0).normal(size=(3, 6, 8, 2)).astype("float32")
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    kernel = convolution.kernel.numpy()
    corner = np.einsum("nhwc,hwcf->nf", padded[:, :3, :3], kernel)
    pad = model.get_layer("block_2_conv_1_pad")
    np.testing.assert_allclose(convolution(pad(x))[:, 0, 0], corner, atol=1e-5)
    plain = resnet((6, 8), 2, depth=8, filters=2)
    assert model.output_shape == plain.output_shape
    assert [w.shape for w in model.weights] == [w.shape for w in plain.weights]


def test_stochastic_depth_drops_blocks_at_rates_that_grow_linearly():
    model = resnet((8, 8), 2, depth=14, filters=2, dropout=0.6, dropout_kind="stochastic_depth")
    dropped = [model.get_layer(f"block_{k}_dropout") for k in range(1, 7)]
    np.testing.assert_allclose([layer.rate for layer in dropped], 0.1 * np.arange(1, 7))
    assert {layer.noise_shape for layer in dropped} == {(None, 1, 1, 1)}
    branch = np.ones((200, 2, 2, 3), "float32")
    kept = dropped[-1](branch, training=True).numpy()
    np.testing.assert_allclose(kept, kept[:, :1, :1, :1] * branch)
    assert set(np.unique(kept.round(4))) == {0.0, 2.5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 21}, r"depth of resnet must be 6n \+ 2, such as 20 or 26"),
        ({"depth": 2}, "depth must be at least 8 and at most 1202, got 2"),
        ({"shortcut": "none"}, "unknown shortcut 'none'"),
        ({"activation": "maxout"}, "activation maxout is for dense hidden layers"),
        ({"input_shape": (8,)}, "model resnet needs images, .*; models that do: perceptron, mlp"),
    ],
)
def test_what_it_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        resnet(**{"input_shape": (8, 8), "outputs": 2} | options)
