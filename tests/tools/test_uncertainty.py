"""MC dropout: statistics of passes with dropout, and models that have no such passes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.tools.dropout_samples import Probabilities

X = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
RATE = 0.4


def linear(activation=None, rate=RATE):
    """A model whose output is a sum of inputs, each dropped or divided by 1 - rate."""
    layers = [keras.layers.Dropout(rate), keras.layers.Dense(1, use_bias=False)]
    if activation:
        layers.append(keras.layers.Activation(activation))
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.layers[1].set_weights([np.ones([4, 1])])
    return model


@pytest.fixture(scope="module")
def net():
    """A classifier with batch normalization, whose statistics are far from those of a batch."""
    keras.utils.set_random_seed(0)
    model = tl.models.mlp((4,), 3, "softmax", hidden=(32,), dropout=0.5, batch_norm=True)
    norm = next(x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    norm.moving_mean.assign(np.full(32, 0.25))
    return model


def test_mean_and_deviation_are_those_of_the_sum_of_dropped_inputs():
    found = tl.mc_predict(linear(), X, samples=4000)
    assert found.entropy is None and found.mutual_information is None
    exact = np.sqrt(RATE / (1 - RATE) * (X.astype("float64") ** 2).sum(1))
    np.testing.assert_allclose(found.mean[:, 0], X.sum(1), atol=5 * exact.max() / 4000**0.5)
    np.testing.assert_allclose(found.std[:, 0], exact, rtol=0.06)


def test_entropy_and_mutual_information_follow_from_the_samples_of_one_mask_bit():
    # One input of 100 under a sigmoid: p is 1/2 where it is dropped, 1 where it is kept.
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dropout(0.5), keras.layers.Activation("sigmoid")]
    )
    found = tl.mc_predict(model, np.full([3, 1], 100.0, "float32"), samples=60)
    dropped = 2 * (1 - found.mean)
    p = found.mean
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-9)
    np.testing.assert_allclose(
        found.mutual_information, entropy - dropped * np.log(2), rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(found.std, 0.5 * np.sqrt(dropped * (1 - dropped)), rtol=1e-6)


def test_probabilities_of_a_softmax_have_one_entropy_an_example(net):
    found = tl.mc_predict(net, X, samples=30)
    assert found.mean.shape == found.std.shape == (10, 3)
    np.testing.assert_allclose(found.mean.sum(1), 1, rtol=1e-6)
    expected = -(found.mean * np.log(found.mean)).sum(1)
    np.testing.assert_allclose(found.entropy, expected, rtol=1e-9)
    assert (found.mutual_information > 0).all()
    assert (found.mutual_information < found.entropy).all()


def test_batch_normalization_stays_in_inference_and_the_model_as_it_was(net):
    before = [np.array(v.value) for v in net.variables]
    tiny = keras.models.clone_model(net)
    tiny.set_weights(net.get_weights())
    found = tl.mc_predict(net, X, samples=600)
    plain = net.predict(X, verbose=0)
    assert np.abs(found.mean - plain).max() < 0.12
    in_parts = tl.mc_predict(net, X, samples=600, batch_size=1)
    np.testing.assert_allclose(in_parts.mean, found.mean, atol=0.08)  # no statistics of a batch
    for variable, value in zip(net.variables, before, strict=True):
        np.testing.assert_array_equal(variable.value, value)
    assert not any("call" in vars(layer) for layer in net.layers)


def test_the_seed_decides_the_masks(net):
    first, again, other = (tl.mc_predict(net, X, samples=5, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.mean != other.mean).any()


def test_fixed_masks_are_the_same_for_all_examples_and_batch_sizes():
    same = np.repeat(X[:1], 6, axis=0)
    fixed = tl.mc_predict(linear(), same, samples=3, masks="fixed")
    assert np.ptp(fixed.mean) == 0 and fixed.std[0, 0] > 0
    in_parts = tl.mc_predict(linear(), same, samples=3, masks="fixed", batch_size=4)
    np.testing.assert_array_equal(in_parts.mean, fixed.mean)
    fresh = tl.mc_predict(linear(), same, samples=3)
    assert np.ptp(fresh.mean) > 0


def test_each_batch_has_its_own_fresh_masks():
    same = np.repeat(X[:1], 6, axis=0)
    found = tl.mc_predict(linear(), same, samples=3, batch_size=3)
    assert (found.mean[:3] != found.mean[3:]).any()


class Nested(keras.Model):
    """A subclassed model with dropout in an inner model, and normalization in a wrapper."""

    def __init__(self):
        super().__init__()
        self.inner = keras.Sequential([keras.layers.Dense(8), keras.layers.Dropout(0.5)])
        self.norm = keras.layers.BatchNormalization()
        self.last = keras.layers.Dense(3)

    def call(self, x, training=False):
        return self.last(self.norm(self.inner(x, training=training), training=training))


def test_subclassed_and_nested_models_are_sampled_and_their_logits_named():
    model = Nested()
    model(X)
    assert (tl.mc_predict(model, X, samples=4).std > 0).all()
    found = tl.mc_predict(model, X, samples=4, activation="softmax", from_logits=True)
    np.testing.assert_allclose(found.mean.sum(1), 1, rtol=1e-6)
    with pytest.raises(ValueError, match=r"give activation='softmax' with from_logits=True or"):
        tl.mc_predict(model, X, samples=4, activation="softmax")


def test_logits_become_probabilities_sample_by_sample():
    logits = linear()
    found = tl.mc_predict(logits, X, samples=7, activation="sigmoid")
    probabilities = tl.mc_predict(linear("sigmoid"), X, samples=7)
    for a, b in zip(found, probabilities, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_the_values_of_a_trainer_are_those_of_its_state():
    model = linear()
    trainer = tl.Trainer(model, "mse", tl.sgd(0.0), execution="graph", precision="float64")
    params, state = trainer.weights
    trainer.weights = tf.nest.map_structure(lambda w: 2 * w, params), state
    found = tl.mc_predict(trainer, X, samples=5)
    np.testing.assert_allclose(found.mean, 2 * tl.mc_predict(model, X, samples=5).mean, rtol=1e-6)


def test_recurrent_and_attention_dropout_are_switched_on():
    x = keras.Input((5, 3))
    y = keras.layers.LSTM(4, dropout=0.5, return_sequences=True)(x)
    y = keras.layers.MultiHeadAttention(1, 2, dropout=0.5)(y, y)
    model = keras.Model(x, keras.layers.Flatten()(y))
    data = np.random.default_rng(1).normal(size=(3, 5, 3)).astype("float32")
    assert (tl.mc_predict(model, data, samples=3).std > 0).all()


class Wild(keras.layers.Layer):
    """Dropout of TensorFlow's own generator."""

    def call(self, x, training=False):
        return tf.nn.dropout(x, 0.5) if training else x


class Counting(keras.layers.Layer):
    """Layer that keeps a mean of its batches."""

    def build(self, shape):
        self.mean = self.add_weight(shape=shape[1:], trainable=False, name="mean")

    def call(self, x, training=False):
        if training:
            self.mean.assign(tf.reduce_mean(x, axis=0))
        return x - self.mean


def with_layers(*layers):
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])


def augmented():
    layers = keras.layers.Reshape((2, 2, 1)), keras.layers.RandomContrast(0.5)
    return with_layers(*layers, keras.layers.Flatten())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: linear(rate=0.0), "has no dropout, so that all samples would be equal"),
        (lambda: with_layers(keras.layers.Dropout(0.5), Wild()), "do not follow from a seed"),
        (
            lambda: with_layers(keras.layers.Dropout(0.5), Counting()),
            "changes the variable '.*mean'",
        ),
        (augmented, "has no dropout"),
    ],
)
def test_models_without_samples_of_their_own_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        tl.mc_predict(model(), X, samples=2)


def test_several_outputs_and_functions_are_refused():
    x = keras.Input((4,))
    two = keras.Model(x, [keras.layers.Dropout(0.5)(x), x])
    with pytest.raises(ValueError, match="a model of one output"):
        tl.mc_predict(two, X)
    with pytest.raises(TypeError, match="takes a Keras model"):
        tl.mc_predict(tl.FunctionalModel(lambda *a: None, {}), X)
    with pytest.raises(ValueError, match="ends in sigmoid"):
        tl.mc_predict(linear("sigmoid"), X, activation="softmax")
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        tl.mc_predict(linear(), X, 1)


def test_a_certain_class_has_no_entropy():
    reads = Probabilities("softmax", False)
    assert reads.entropy(tf.constant([[1.0, 0.0]], tf.float64)).numpy().tolist() == [0.0]
