"""What all models that have a name do alike."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.executions import soak_except

import trainlib as tl
from trainlib.models import MODELS
from trainlib.models.checks import INPUTS
from trainlib.registry import hyperparameters

SHAPES = dict.fromkeys(("cnn", "separable_cnn", "resnet"), (8, 8))
"""Shapes of examples that a model takes; (5,) for the others."""
SMALL = {
    "resnet": {"depth": 8, "filters": 4},
    "transformer": {"depth": 1, "width": 8, "positions": "none", "dropout": 0.0},
}
"""Hyperparameters of models that are small enough for a test."""


def make(name, *arguments, **options):
    return MODELS[name](SHAPES.get(name, (5,)), 5, *arguments, **SMALL.get(name, {}) | options)


@pytest.fixture(scope="module", params=MODELS)
def built(request):
    """A model with probabilities, and its name."""
    keras.utils.set_random_seed(0)
    return request.param, make(request.param, "softmax")


def examples(name, count):
    """Examples that a model takes."""
    shape = (count, *SHAPES.get(name, (5,)))
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_each_name_is_that_of_its_function_and_its_model(built):
    name, model = built
    assert MODELS[name].__name__ == model.name == name
    assert getattr(tl.models, name) is MODELS[name]
    assert set(INPUTS) == set(MODELS)


def test_models_predict_probabilities_or_logits_by_the_output_activation(built):
    name, model = built
    x = examples(name, 3)
    probabilities = model(x).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    assert np.any(make(name)(x).numpy() < 0)


def test_files_open_in_keras_and_predict_the_same(built, tmp_path):
    name, model = built
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert all(type(layer).__module__.startswith("keras.") for layer in loaded.layers)
    x = examples(name, 3)
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize("name", soak_except("wide_deep", names=MODELS))
def test_a_few_steps_reduce_the_loss(name):
    keras.utils.set_random_seed(0)
    model, x = make(name, "softmax"), examples(name, 32)
    y = np.arange(32) % 5
    trainer = tl.Trainer(model, "sparse_categorical_crossentropy", tl.adam(0.01), execution="graph")
    before = trainer.evaluate((x, y))["loss"]
    trainer.fit((x, y), batch_size=32, epochs=8, verbose=0)
    assert trainer.evaluate((x, y))["loss"] < before


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("hyperparameter", "value", "message"),
    [
        ("dropout", 1, "dropout must be at least 0 and below 1, got 1"),
        ("dropout", -0.5, "dropout must be at least 0 and below 1, got -0.5"),
        ("activation", "rellu", "unknown activation 'rellu': relu, leaky_relu"),
        ("activation", "elu:beta=1", "activation 'elu:beta=1': elu has the options alpha"),
        ("initializer", "he", "unknown initializer 'he': auto, he_normal"),
        ("dropout_kind", "none", "unknown dropout_kind 'none': choose from auto, dropout"),
        ("hidden", (3, 0), "hidden must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_refused(name, hyperparameter, value, message):
    if hyperparameter not in hyperparameters(MODELS[name]):
        return
    with pytest.raises(ValueError, match=f"^{message}"):
        make(name, **{hyperparameter: value})


@pytest.mark.parametrize("name", MODELS)
def test_examples_that_do_not_fit_are_refused_with_models_that_do(name):
    for axes in ({1, 2, 3} - set(INPUTS[name].axes)) or {4}:
        shape = (8,) * axes
        fitting = ", ".join(x for x in INPUTS if axes in INPUTS[x].axes)
        message = f"^model {name} needs .* have shape .*{fitting}$"
        with pytest.raises(ValueError, match=message):
            MODELS[name](shape, 5)
