"""`tl.transfer`: copies of trained models, cut, with new heads and frozen layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.training.trainable import parts_of

layers = keras.layers
X = np.random.default_rng(0).normal(size=(5, 12, 12)).astype("float32")


@pytest.fixture(scope="module")
def base():
    return tl.models.cnn((12, 12), 8, "softmax", depth=1, filters=4, batch_norm=True)


def names(model):
    return [layer.name for layer in parts_of(model)]


def test_a_copy_computes_the_same_and_the_original_keeps_its_values(base):
    before = [w.copy() for w in base.get_weights()]
    copy = tl.transfer(base, freeze="conv.*")
    np.testing.assert_array_equal(copy(X), base(X))
    copy.set_weights([w + 1 for w in copy.get_weights()])
    for old, new in zip(before, base.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(layer.trainable for layer in base.layers)


def test_a_new_head_replaces_the_last_layer_and_its_activation(base):
    model = tl.transfer(base, 2, "softmax", freeze=".*", seed=0)
    assert model.output_shape == (None, 2) and names(model) == names(base)
    assert [w.path for w in model.trainable_weights] == ["outputs/kernel", "outputs/bias"]
    np.testing.assert_allclose(np.sum(model(X), -1), 1, rtol=1e-6)
    kernels = [tl.transfer(base, 2, seed=s).weights[-2].numpy() for s in (0, 0, 1)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_a_model_is_cut_after_a_layer_whose_positions_are_averaged(base):
    model = tl.transfer(base, 3, cut_at="activation_1")
    assert names(model) == [*names(base)[:2], "outputs"]
    inner = keras.Model(base.inputs[0], base.get_layer("activation_1").output)(X)
    expected = np.mean(inner, (1, 2)) @ model.weights[-2].numpy()
    np.testing.assert_allclose(model(X), expected, rtol=1e-5, atol=1e-6)


def test_the_head_of_a_nested_model_is_replaced():
    inner = tl.models.mlp((4,), 3, "softmax", hidden=(5, 6))
    x = keras.Input((4,))
    outer = keras.Model(x, layers.Rescaling(2.0)(inner(layers.Rescaling(0.5)(x))))
    model = tl.transfer(outer, 2)
    rows = X[0, :, :4]
    hidden = keras.Model(inner.inputs[0], inner.layers[-3].output)(rows * 0.5)
    np.testing.assert_allclose(model(rows), hidden @ model.weights[-2].numpy(), rtol=1e-5)


def test_files_and_folders_of_runs_are_sources(base, tmp_path):
    base.save(tmp_path / "model.keras")
    for source in (tmp_path, tmp_path / "model.keras"):
        np.testing.assert_array_equal(tl.transfer(source)(X), base(X))
    with pytest.raises(ValueError, match="empty: the folder has no model.keras: give that of a"):
        (tmp_path / "empty").mkdir()
        tl.transfer(tmp_path / "empty")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "softmax"}, "activation is for a new head: give outputs"),
        ({"outputs": 2, "cut_at": "conv_9"}, "conv_9"),
        ({"outputs": 2, "freeze": "outputs"}, "no layer fully matches 'outputs'"),
        ({"outputs": 0}, "outputs must be"),
    ],
)
def test_what_makes_no_sense_is_refused(base, options, message):
    with pytest.raises(ValueError, match=message):
        tl.transfer(base, **options)


def test_a_model_of_one_layer_has_nothing_to_reuse():
    with pytest.raises(ValueError, match="has one layer with parameters only, outputs: nothing"):
        tl.transfer(tl.models.mlp((4,), 3, hidden=()), 2)
