"""The model of a configuration."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.experiments import LABELS, ROWS, experiment

from trainlib.experiment import model_building
from trainlib.experiment.custom_model import check_shapes
from trainlib.experiment.scaling import BOUND
from trainlib.experiment.task_building import build_task

L = keras.layers
IMAGES = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4)
SCALING = ["Normalization", "Rescaling", "Activation", "Rescaling"]


def test_images_are_scaled_by_their_largest_value(dataset):
    config = experiment(dataset(x=IMAGES, y=LABELS), "--hidden=4")
    built = model_building.build_models(config, build_task(config))
    scale = built.full.layers[0]
    assert (type(scale).__name__, scale.scale) == ("Rescaling", 1 / 255)


def test_columns_are_standardized_by_the_training_part(dataset):
    config = experiment(dataset(x=ROWS, y=LABELS), "--hidden=4")
    task = build_task(config)
    scaled = model_building.build_models(config, task).full.layers[0](task.train.x).numpy()
    assert scaled.mean(0) == pytest.approx([0, 0], abs=1e-5)
    assert scaled.std(0) == pytest.approx([1, 1], rel=1e-5)


def test_without_preprocessing_the_model_gets_the_raw_data(dataset):
    config = experiment(dataset(x=ROWS, y=LABELS), "--hidden=4", "--preprocess=none")
    built = model_building.build_models(config, build_task(config))
    assert type(built.full.layers[0]).__name__ == "Dense"


def test_the_loss_gets_logits_and_the_saved_model_returns_probabilities():
    config = experiment("--hidden=4")
    task = build_task(config)
    built = model_building.build_models(config, task)
    assert built.from_logits
    logits, probabilities = built.trained(task.test.x), built.full(task.test.x)
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, rtol=1e-5)


def test_the_initial_parameters_depend_on_the_seed_only():
    def kernel(*arguments):
        config = experiment("--hidden=4", *arguments)
        return model_building.build_models(config, build_task(config)).full.weights[0].numpy()

    assert (kernel("--seed=1") == kernel("--seed=1")).all()
    assert (kernel("--seed=1") != kernel("--seed=2")).all()


def dense(*first, activation="softmax"):
    return keras.Sequential([keras.Input((2,)), *first, L.Dense(3, activation=activation)])


def softmax_apart():
    return keras.Sequential([keras.Input((2,)), L.Dense(3), L.Softmax()])


@pytest.mark.parametrize(
    ("make", "layers", "from_logits"),
    [
        (dense, ["InputLayer", *SCALING, "Sequential"], False),
        (softmax_apart, ["InputLayer", *SCALING, "Sequential"], True),
        (lambda: dense(L.Rescaling(0.1)), ["Rescaling", "Dense"], False),
    ],
)
def test_a_custom_model_is_scaled_once(make, layers, from_logits, dataset, tmp_path):
    make().save(tmp_path / "own.keras")
    config = experiment(dataset(x=ROWS, y=LABELS), f"--model={tmp_path / 'own.keras'}")
    task = build_task(config)
    built = model_building.build_models(config, task)
    assert [type(layer).__name__ for layer in built.full.layers] == layers
    assert bool(built.from_logits) == from_logits
    given = built.trained(task.test.x)
    np.testing.assert_allclose(
        tf.nn.softmax(given) if from_logits else given, built.full(task.test.x), rtol=1e-5
    )


def two_inputs():
    a, b = keras.Input((2,)), keras.Input((2,))
    return keras.Model([a, b], L.Dense(3)(L.Add()([a, b])))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            two_inputs,
            r"^the model has the inputs .*, but own.npz has one of shape \(2,\): ",
        ),
        (
            lambda: keras.Sequential([L.Dense(3)]),
            "^the model must begin with keras.Input for each of its inputs$",
        ),
        (
            lambda: keras.Sequential([keras.Input((4,)), L.Dense(3)]),
            r"^the model takes examples of shape \(4,\); those of own.npz have shape \(2,\)$",
        ),
        (
            lambda: keras.Sequential([keras.Input((2, 1)), L.Flatten(), L.Dense(3)]),
            r"^the model takes examples of shape \(2, 1\)",
        ),
        (
            lambda: keras.Sequential([keras.Input((2,)), L.Dense(4)]),
            r"an example has shape \(4,\); sparse_.*entropy on own.npz needs \(3,\)$",
        ),
        (
            lambda: keras.Sequential([keras.Input((2,)), L.Dense(6), L.Reshape((2, 3))]),
            r"an example has shape \(2, 3\); .* needs \(3,\)$",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused(make, message, dataset):
    task = build_task(experiment(dataset(x=ROWS, y=LABELS)))
    with pytest.raises(ValueError, match=message):
        check_shapes(make(), task)


def test_a_model_for_images_of_any_size_is_accepted(dataset):
    task = build_task(experiment(dataset(x=IMAGES, y=LABELS)))
    pooled = [L.Reshape((-1, 1)), L.GlobalAveragePooling1D(), L.Dense(3)]
    check_shapes(keras.Sequential([keras.Input((None, None)), *pooled]), task)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model=mpl", "--hidden=3"), "^unknown model 'mpl': did you mean 'mlp'"),
        (("--model=none.keras",), "^model none.keras: there is no such file$"),
        (("--activation=rellu",), "^unknown activation 'rellu': .* did you mean 'relu'[?]$"),
        (("--initializer=he_nomal",), "^unknown initializer 'he_nomal': .*mean 'he_normal'[?]$"),
        (("--model=cnn", "--hidden=3"), "^--hidden is not for model cnn, which takes --"),
    ],
)
def test_models_that_cannot_be_built_are_refused(arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        config = experiment(*arguments)
        model_building.build_models(config, build_task(config))


def test_an_experiment_is_described_in_one_line():
    config = experiment("--hidden=4", "--optimizer=sgd")
    task = build_task(config)
    assert model_building.describe(config, task, model_building.build_models(config, task)) == (
        "digits: 1,294 training, 144 validation, 359 test examples; mlp: 310 parameters; sgd"
    )


def test_standardized_columns_are_cut_off_at_the_bound(dataset):
    x = np.c_[np.r_[np.zeros(999), 1e6], np.arange(1000.0)]
    flag = dataset(x=x, y=np.arange(1000) % 2)
    config = experiment(flag, "--validation_split=0", "--hidden=")
    task = build_task(config)
    full = model_building.build_models(config, task).full
    bounded = keras.Model(full.inputs[0], full.get_layer("in_standard_deviations").output)
    scaled = np.asarray(bounded(x))
    assert np.abs(scaled).max() == BOUND
    mean, deviation = task.train.x[:, 1].mean(), task.train.x[:, 1].std()
    np.testing.assert_allclose(scaled[:, 1], (x[:, 1] - mean) / deviation, rtol=1e-4, atol=1e-5)
