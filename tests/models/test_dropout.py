"""Each kind of dropout disturbs what it says, and its draws follow from the seed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.models.custom_layers import DropConnect
from trainlib.models.dropout import Dropout
from trainlib.training.functional_model import functional_from_keras
from trainlib.training.replicated_model import _replica_seeds

KINDS = ("dropout", "gaussian", "gaussian_noise", "alpha")
X = np.ones((400, 50), "float32")


def disturbed(kind, rate=0.25, x=X):
    (layer,) = Dropout(rate, kind).layers("dropout", x.ndim - 1)
    return layer(x, training=True).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_disturbed_activations_stays(kind):
    x = np.random.default_rng(0).normal(size=X.shape).astype("float32")  # alpha keeps 0 and 1 only
    y = disturbed(kind, x=x)
    assert abs(y.mean()) < 0.02
    assert np.any(y != x)


def test_gaussian_factors_have_the_variance_of_dropout_and_noise_has_its_deviation():
    assert disturbed("dropout").std() == pytest.approx((0.25 / 0.75) ** 0.5, rel=0.05)
    assert disturbed("gaussian").std() == pytest.approx((0.25 / 0.75) ** 0.5, rel=0.05)
    assert disturbed("gaussian_noise").std() == pytest.approx(0.25, rel=0.05)


def test_alpha_dropout_keeps_the_variance():
    x = np.random.default_rng(0).normal(size=X.shape).astype("float32")
    assert disturbed("alpha", x=x).std() == pytest.approx(1, rel=0.05)


def test_spatial_dropout_drops_whole_features():
    (layer,) = Dropout(0.5, "spatial").spatial_layers("dropout", 2)
    y = layer(np.ones((20, 7, 5), "float32"), training=True).numpy()
    assert set(np.unique(y)) == {0.0, 2.0}
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))


def test_no_layer_without_a_rate():
    for kind in (*KINDS, "spatial", "stochastic_depth"):
        none = Dropout(0.0, kind)
        layers = none.layers("a") + none.spatial_layers("a", 2) + none.branch_layers("a", 1, 1)
        assert layers == []


FAMILY = {
    **{kind: (lambda kind=kind: disturbing(kind)) for kind in KINDS},
    "spatial": lambda: Dropout(0.5, "spatial").spatial_layers("dropout", 2),
    "stochastic_depth": lambda: Dropout(0.5, "stochastic_depth").branch_layers("dropout", 2, 1),
    "drop_connect": lambda: [DropConnect(8, 0.5, name="dropout")],
}
"""The layer of each kind, for sequences."""


def disturbing(kind):
    return Dropout(0.5, kind).layers("dropout", 2)


def drawn(pure, state):
    """What a model makes of equal rows in training, and its state afterwards."""
    x = tf.ones([40, 3, 8])
    made = pure.apply_fn(pure.params, state, x, True)
    return made.y_pred.numpy(), made.model_state


@pytest.mark.parametrize("kind", FAMILY)
def test_draws_differ_by_step_and_replica_and_follow_from_the_seed(kind):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3, 8)), *FAMILY[kind]()])
    pure = functional_from_keras(model, seed=4)
    first, state = drawn(pure, pure.model_state)
    second, _ = drawn(pure, state)
    again, _ = drawn(pure, functional_from_keras(model, seed=4).model_state)
    other_seed, _ = drawn(pure, functional_from_keras(model, seed=5).model_state)
    replicas = [drawn(pure, _replica_seeds(pure.model_state, tf.constant(k)))[0] for k in (0, 1)]
    np.testing.assert_array_equal(first, again)
    different = [first, second, other_seed, *replicas]
    assert all(np.any(a != b) for i, a in enumerate(different) for b in different[:i])


def test_a_run_that_is_stopped_within_an_epoch_resumes_to_the_same_bits(tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 3, 8)).astype("float32")

    def fit(folder, stop=(), resume=False):
        keras.utils.set_random_seed(0)
        family = [layer for make in FAMILY.values() for layer in make()]
        for i, layer in enumerate(family):
            layer.name = f"dropout_{i}"
        model = keras.Sequential([keras.Input((3, 8)), *family])
        trainer = tl.Trainer(model, "mse", tl.sgd(0.1), execution="graph", seed=3)
        checkpoints = tl.Checkpoints(folder, resume=resume)
        data = (x, x)
        trainer.fit(
            data, batch_size=8, epochs=2, callbacks=stop, checkpoints=checkpoints, verbose=0
        )
        return trainer.weights

    whole = fit(tmp_path / "whole")
    fit(tmp_path / "part", [tl.callbacks.StopAfter(6)])
    resumed = fit(tmp_path / "part", resume=True)
    for expected, found in zip(tf.nest.flatten(whole), tf.nest.flatten(resumed), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_drop_connect_drops_weights_for_the_whole_batch():
    layer = DropConnect(5, rate=0.25, kernel_initializer="ones", bias_initializer="ones")
    y = layer(np.ones((10, 400), "float32"), training=True).numpy()
    np.testing.assert_array_equal(y, y[:1].repeat(10, axis=0))
    kept = (y[0] - 1) * 0.75
    np.testing.assert_allclose(kept, kept.round(), atol=1e-3)
    assert np.all(abs(kept - 300) < 50) and len(set(kept.round())) > 1
    np.testing.assert_allclose(layer(np.ones((1, 400), "float32")), 401)


def test_drop_connect_is_saved_and_loaded(tmp_path):
    model = tl.models.mlp((4,), 2, hidden=(3,), dropout=0.5, dropout_kind="drop_connect")
    model.save(tmp_path / "model.keras")
    loaded = tl.models.load_model(str(tmp_path / "model.keras"))
    assert type(loaded.get_layer("hidden_1")) is DropConnect
    assert loaded.get_layer("hidden_1").rate == 0.5
    np.testing.assert_array_equal(loaded(np.ones((1, 4))), model(np.ones((1, 4))))
