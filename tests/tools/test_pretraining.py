"""`tl.pretrain`: hidden layers as encoders of autoencoders, whole, by layer, denoising, masked."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.models.encoders import encoder_of, reconstruction_model
from trainlib.tools.feature_masking import masked_error

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(120, 2)).astype("float32")
X = (CODES @ RNG.normal(size=(2, 6)) + 3).astype("float32")
"""Six columns that follow from two numbers."""
QUICK = {"batch_size": 18, "execution": "graph", "learning_rate": 0.02}


def mlp(**options):
    scale = keras.layers.Normalization(mean=X.mean(0), variance=X.var(0), name="standardize")
    keras.utils.set_random_seed(0)
    return tl.models.mlp((6,), 3, "softmax", [scale], hidden=(5, 4), **options)


def test_an_autoencoder_learns_the_structure_and_leaves_the_head_as_it_is():
    model = mlp()
    before = {w.path: w.numpy() for w in model.weights}
    (stage,) = tl.pretrain(model, X, epochs=12, **QUICK)
    losses = [x["val_loss"] for x in stage.history]
    assert stage.name == "autoencoder" and stage.examples == 120
    assert losses[-1] < 0.4 * losses[0]
    changed = [w.path for w in model.weights if not np.array_equal(w, before[w.path])]
    assert [path.split("/")[-2] for path in changed] == [*2 * ["hidden_1"], *2 * ["hidden_2"]]


def test_the_parts_of_a_chain_of_dense_layers_are_its_encoder():
    encoder = encoder_of(mlp())
    assert [part.output_shape for part in encoder.parts] == [(None, 5), (None, 4)]
    rows = encoder.scaling(X[:3])
    np.testing.assert_allclose(
        encoder.parts[1](encoder.parts[0](rows)), encoder.hidden(rows), rtol=1e-6
    )


@pytest.mark.soak
def test_layers_are_trained_one_after_another():
    stages = tl.pretrain(mlp(), X, layerwise=True, epochs=3, **QUICK)
    assert [x.name for x in stages] == ["layer 1", "layer 2"]
    for stage in stages:
        assert stage.history[-1]["loss"] < stage.history[0]["loss"]


def test_noise_disturbs_the_inputs_and_not_the_targets():
    model = reconstruction_model(encoder_of(mlp()).hidden, (), 0, 0.5, "gaussian_noise")
    x = np.zeros((200, 6), "float32")
    noisy = keras.Model(model.inputs[0], model.get_layer("disturbed_input").output)(
        x, training=True
    )
    assert float(np.std(noisy)) == pytest.approx(0.5, abs=0.03)
    np.testing.assert_array_equal(model(x), model(x, training=False))


@pytest.mark.soak
def test_masked_features_are_predicted_from_the_others():
    (stage,) = tl.pretrain(mlp(), X, method="masked", mask=0.3, epochs=20, **QUICK)
    assert stage.history[-1]["val_loss"] < 0.6 < stage.history[0]["val_loss"]


def test_groups_are_of_all_features():
    with pytest.raises(ValueError, match="groups must hold the number of a group for each of 6"):
        tl.pretrain(mlp(), X, method="masked", groups=[0, 1])


def test_the_error_of_masked_features_is_theirs_alone():
    y = tf.constant([[1.0, 2.0, 3.0, 1.0, 0.0, 1.0], [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]])
    y_pred = tf.constant([[2.0, 9.0, 5.0], [9.0, 9.0, 9.0]])
    assert masked_error(y, y_pred).numpy().tolist() == [2.5, 0.0]


@pytest.fixture
def cnn():
    scale = keras.layers.Rescaling(1 / 255)
    return tl.models.cnn((12, 12), 3, "softmax", [scale], depth=1, filters=2)


@pytest.mark.soak
def test_images_are_reconstructed_by_the_features_of_convolutions(cnn):
    images = RNG.integers(0, 256, (20, 12, 12)).astype("uint8")
    (stage,) = tl.pretrain(cnn, images, epochs=1, execution="graph")
    assert np.isfinite(stage.history[0]["loss"])


def test_convolutions_are_not_trained_layer_by_layer(cnn):
    with pytest.raises(ValueError, match="layerwise is for a chain of dense layers, which model"):
        tl.pretrain(cnn, np.zeros((20, 12, 12)), layerwise=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "siamese"}, "method"),
        ({"method": "masked", "noise": 0.1}, "noise is for the method autoencoder"),
        ({"noise": 1.0}, "noise"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tl.pretrain(mlp(), X, **options)


def test_a_model_without_hidden_layers_is_refused():
    with pytest.raises(ValueError, match="one layer with parameters only"):
        tl.pretrain(tl.models.mlp((6,), 3, hidden=()), X)
