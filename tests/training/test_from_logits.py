"""Logits or probabilities: what a loss is given, beside `model.fit` and `model.evaluate`."""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training.model_ending import final_activation

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype("float32")
LABELS = RNG.integers(0, 3, 12)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
TARGETS = {
    "sparse_categorical_crossentropy": LABELS,
    "categorical_crossentropy": ONE_HOT,
    "binary_crossentropy": ONE_HOT,
    "binary_focal_crossentropy": ONE_HOT,
    "categorical_focal_crossentropy": ONE_HOT,
}


class Ending(keras.Model):
    """A model with its own `call`, which ends in a function."""

    def __init__(self, function=lambda z: z):
        super().__init__()
        self.dense, self.function = L.Dense(3), function

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.function(self.dense(x))


def sequential(*last):
    return lambda: keras.Sequential([keras.Input((4,)), *(layer() for layer in last)])


def subclassed(function):
    def make():
        model = Ending(function)
        model.build((None, 4))
        return model

    return make


def nested(*last):
    def make():
        x = keras.Input((4,))
        return keras.Model(x, sequential(*last)()(L.Rescaling(1.0)(x)))

    return make


def dense(activation=None):
    return lambda: L.Dense(3, activation=activation)


ENDINGS = {
    "dense softmax": (sequential(dense("softmax")), False),
    "dense sigmoid": (sequential(dense("sigmoid")), False),
    "softmax layer": (sequential(dense(), L.Softmax), False),
    "activation": (sequential(dense(), lambda: L.Activation("sigmoid")), False),
    "lambda": (sequential(dense(), lambda: L.Lambda(tf.nn.softmax)), False),
    "nested": (nested(dense("softmax")), False),
    "subclass": (subclassed(keras.ops.softmax), False),
    "linear": (sequential(dense()), True),
    "linear, nested": (nested(dense()), True),
    "reshaped": (sequential(dense(), lambda: L.Reshape((3,))), True),
    "dropout": (sequential(dense(), lambda: L.Dropout(0.0)), True),
}


def saturated(make):
    """A model whose probabilities are 0 and 1 in float32."""
    keras.utils.set_random_seed(1)
    model = make()
    for weight in model.weights:
        weight.assign(weight * 60)
    return model


def of_keras(loss, from_logits):
    """Keras's loss of that name: `BinaryCrossentropy` for "binary_crossentropy"."""
    return getattr(keras.losses, loss.title().replace("_", ""))(from_logits=from_logits)


def options(model, loss, **more):
    return tl.Trainer(model, loss, tl.sgd(0.1), execution="graph", **more)


SPARSE, CATEGORICAL, BINARY = list(TARGETS)[:3]
FEW = [
    ("dense softmax", SPARSE),
    ("dense sigmoid", BINARY),
    ("lambda", CATEGORICAL),
    ("nested", BINARY),
    ("subclass", SPARSE),
    ("linear", CATEGORICAL),
]
"""Each loss, and endings that a layer, a function and a `call` show; soak tests all the others."""


@pytest.mark.parametrize(
    ("ending", "loss"),
    [
        pytest.param(*case, marks=() if case in FEW else pytest.mark.soak)
        for case in itertools.product(ENDINGS, (SPARSE, CATEGORICAL, BINARY))
    ],
)
def test_a_loss_of_saturated_outputs_is_that_of_keras(ending, loss):
    make, is_logits = ENDINGS[ending]
    y = TARGETS[loss]
    model, peer = saturated(make), saturated(make)
    peer.compile(keras.optimizers.SGD(0.1), of_keras(loss, is_logits))
    trainer = options(model, loss)
    right = peer.evaluate(X, y, verbose=0)
    assert right > 1  # probabilities that are clipped give another loss
    np.testing.assert_allclose(trainer.evaluate((X, y))["loss"], right, rtol=1e-5)
    trainer.fit((X, y), batch_size=12)
    peer.fit(X, y, batch_size=12, verbose=0)
    for ours, theirs in zip(model.get_weights(), peer.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ending", ["dense softmax", "linear"])
def test_losses_with_options_and_functions_are_given_what_the_model_ends_in(ending):
    make, is_logits = ENDINGS[ending]
    model = saturated(make)
    z = saturated(ENDINGS["linear"][0])(X)
    right = tl.losses.categorical_crossentropy(ONE_HOT, z, from_logits=True, label_smoothing=0.1)
    loss = functools.partial(tl.losses.categorical_crossentropy, label_smoothing=0.1)
    trainer = options(model, loss)
    np.testing.assert_allclose(trainer.evaluate((X, ONE_HOT))["loss"], np.mean(right), rtol=1e-5)
    evaluator = tl.Evaluator(model, tl.losses.categorical_crossentropy)
    right = tl.losses.categorical_crossentropy(ONE_HOT, z, from_logits=True)
    np.testing.assert_allclose(evaluator.evaluate((X, ONE_HOT))["loss"], np.mean(right), rtol=1e-5)


UNKNOWN = {
    "relu": sequential(dense("relu")),
    "own": sequential(dense(lambda z: 2 * z)),
    "lambda": sequential(dense(), lambda: L.Lambda(lambda z: z / 2)),
    "sum": sequential(dense("softmax"), L.BatchNormalization),
    "subclass": subclassed(lambda z: z),
}


@pytest.mark.parametrize("ending", UNKNOWN)
def test_a_model_that_does_not_show_its_ending_is_asked_for_it(ending):
    model = UNKNOWN[ending]()
    with pytest.raises(ValueError, match="does not show .* give from_logits=True or from_logits=F"):
        options(model, "categorical_crossentropy").fit((X, ONE_HOT))
    z = model(X)
    for given in (True, False):
        got = options(model, "categorical_crossentropy", from_logits=given).evaluate((X, ONE_HOT))
        right = tl.losses.categorical_crossentropy(ONE_HOT, z, from_logits=given)
        np.testing.assert_allclose(got["loss"], np.mean(right), rtol=1e-5)


def test_a_function_with_parameters_is_asked_too():
    def line(params, model_state, x, training):
        return tl.ModelOutput(x @ params["w"], model_state)

    model = tl.FunctionalModel(line, {"w": tf.ones([4, 3])})
    with pytest.raises(ValueError, match="^loss binary_crossentropy takes logits or probab"):
        options(model, "binary_crossentropy").fit((X, ONE_HOT))
    right = tl.losses.binary_crossentropy(ONE_HOT, X @ np.ones((4, 3)), from_logits=True)
    got = options(model, "binary_crossentropy", from_logits=True).evaluate((X, ONE_HOT))
    np.testing.assert_allclose(got["loss"], np.mean(right), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "loss", "given", "error", "message"),
    [
        (
            dense("softmax"),
            "categorical_crossentropy",
            True,
            ValueError,
            "ends in a softmax: leave",
        ),
        (dense(), "mean_squared_error", True, ValueError, "mean_squared_error has no form for log"),
        (dense(), "categorical_crossentropy", "auto", TypeError, "True, False or None, got 'auto'"),
        (
            dense(),
            "kl_divergence",
            None,
            ValueError,
            "takes probabilities, but the model ends in l",
        ),
        (dense("softmax"), "dice", True, ValueError, "takes probabilities"),
    ],
)
def test_what_contradicts_the_model_or_the_loss_is_refused(make, loss, given, error, message):
    with pytest.raises(error, match=message):
        options(sequential(make)(), loss, from_logits=given)


def test_a_loss_object_of_keras_for_probabilities_is_given_no_logits():
    model = saturated(ENDINGS["linear"][0])
    with pytest.raises(ValueError, match=r"^CategoricalCrossentropy has from_logits=False, but"):
        options(model, keras.losses.CategoricalCrossentropy())
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    right = loss(ONE_HOT, model(X))
    got = options(model, loss).evaluate((X, ONE_HOT))["loss"]
    np.testing.assert_allclose(got, right, rtol=1e-5)
    probabilities = saturated(ENDINGS["dense softmax"][0])
    got = options(probabilities, keras.losses.CategoricalCrossentropy()).evaluate((X, ONE_HOT))
    np.testing.assert_allclose(got["loss"], right, rtol=1e-5)


def test_a_loss_function_of_keras_for_probabilities_is_given_no_logits():
    model = saturated(ENDINGS["linear"][0])
    with pytest.raises(ValueError, match=r"^keras\.losses\.categorical_crossentropy has from_log"):
        options(model, keras.losses.categorical_crossentropy)
    options(model, keras.losses.mean_squared_error)


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.Dice(),
        keras.losses.KLDivergence(),
        keras.losses.Tversky(),
        keras.losses.kl_divergence,
        keras.losses.tversky,
    ],
    ids=lambda loss: getattr(loss, "name", None) or loss.__name__,
)
def test_a_loss_of_keras_that_takes_probabilities_only_is_given_no_logits(loss):
    model, probabilities = sequential(dense())(), sequential(dense("softmax"))()
    with pytest.raises(ValueError, match=r"^loss \w+ takes probabilities, but the model ends in l"):
        tl.Evaluator(model, loss)
    with pytest.raises(ValueError, match=r"takes probabilities, but the model ends in logits"):
        tl.Evaluator(subclassed(keras.ops.softmax)(), loss, from_logits=True)
    tl.Evaluator(probabilities, loss)
    tl.Evaluator(model, loss, from_logits=False)


@pytest.mark.parametrize("metric", [tl.losses.categorical_crossentropy, "categorical_crossentropy"])
def test_a_crossentropy_among_the_metrics_follows_what_the_model_ends_in(metric):
    logits = saturated(ENDINGS["linear"][0])
    right = keras.losses.CategoricalCrossentropy(from_logits=True)(ONE_HOT, logits(X))
    makers = (
        lambda m: options(logits, "categorical_crossentropy", metrics=m),
        lambda m: options(logits, "mean_squared_error", metrics=m),
        lambda m: tl.Evaluator(logits, "categorical_crossentropy", metrics=m),
    )
    for make in makers:
        got = make([metric]).evaluate((X, ONE_HOT))["categorical_crossentropy"]
        np.testing.assert_allclose(got, right, rtol=1e-5)
    stated = functools.partial(tl.losses.categorical_crossentropy, from_logits=False)
    results = options(logits, "mean_squared_error", metrics={"m": stated}).evaluate((X, ONE_HOT))
    clipped = tl.losses.categorical_crossentropy(ONE_HOT, logits(X))
    np.testing.assert_allclose(results["m"], np.mean(clipped), rtol=1e-5)


def test_from_logits_of_the_loss_and_of_the_trainer_must_agree():
    loss = functools.partial(tl.losses.categorical_crossentropy, from_logits=True)
    with pytest.raises(ValueError, match="^from_logits is False, but the loss has True"):
        options(sequential(dense())(), loss, from_logits=False)


def test_probabilities_that_no_graph_shows_are_taken_as_such():
    model = sequential(dense("softmax"), lambda: L.Reshape((3,)))()
    assert final_activation(model) == "softmax"
    got = options(model, "categorical_crossentropy").evaluate((X, ONE_HOT))["loss"]
    right = tl.losses.categorical_crossentropy(ONE_HOT, model(X))
    np.testing.assert_allclose(got, np.mean(right), rtol=1e-5)
