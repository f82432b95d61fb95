"""The model, the loss, the metrics and the penalty of a configuration."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except
from helpers.experiments import LABELS, ROWS, experiment

import trainlib as tl
from trainlib.experiment import building
from trainlib.experiment.custom_model import check_shapes
from trainlib.experiment.functions import FUNCTIONS
from trainlib.experiment.scaling import BOUND
from trainlib.experiment.targets import takes_logits
from trainlib.experiment.task_building import build_task
from trainlib.registry import LOSSES

L = keras.layers
IMAGES = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4)
SCALING = ["Normalization", "Rescaling", "Activation", "Rescaling"]


SOME = ("binary_crossentropy", "sparse_categorical_crossentropy", "dice", "huber")
"""Losses on logits, on classes, on probabilities and on numbers; soak tests the others."""


@pytest.mark.parametrize("loss", soak_except(*SOME, names=FUNCTIONS["loss"]))
def test_every_loss_decreases_on_the_predictions_of_its_model(loss):
    config = experiment(f"--loss={loss}", "--hidden=16", "--train_examples=200")
    task = build_task(config)
    built = building.build_models(config, task)
    are_logits = task.target.activation is not None and takes_logits(loss)
    assert bool(built.from_logits) == are_logits
    function = building.build_loss(config, task.loss, built.from_logits)
    trainer = tl.Trainer(built.trained, function, tl.adam(0.01), execution="graph")
    history = trainer.fit(tuple(task.train), epochs=3, validation_data=tuple(task.validation))
    losses = [epoch["loss"] for epoch in history]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert np.isfinite(history[-1]["val_loss"])


def test_images_are_scaled_by_their_largest_value(dataset):
    config = experiment(dataset(x=IMAGES, y=LABELS), "--hidden=4")
    built = building.build_models(config, build_task(config))
    scale = built.full.layers[0]
    assert (type(scale).__name__, scale.scale) == ("Rescaling", 1 / 255)


def test_columns_are_standardized_by_the_training_part(dataset):
    config = experiment(dataset(x=ROWS, y=LABELS), "--hidden=4")
    task = build_task(config)
    scaled = building.build_models(config, task).full.layers[0](task.train.x).numpy()
    assert scaled.mean(0) == pytest.approx([0, 0], abs=1e-5)
    assert scaled.std(0) == pytest.approx([1, 1], rel=1e-5)


def test_without_preprocessing_the_model_gets_the_raw_data(dataset):
    config = experiment(dataset(x=ROWS, y=LABELS), "--hidden=4", "--preprocess=none")
    built = building.build_models(config, build_task(config))
    assert type(built.full.layers[0]).__name__ == "Dense"


def test_the_loss_gets_logits_and_the_saved_model_returns_probabilities():
    config = experiment("--hidden=4")
    task = build_task(config)
    built = building.build_models(config, task)
    assert built.from_logits
    logits, probabilities = built.trained(task.test.x), built.full(task.test.x)
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, rtol=1e-5)


def test_the_initial_parameters_depend_on_the_seed_only():
    def kernel(*arguments):
        config = experiment("--hidden=4", *arguments)
        return building.build_models(config, build_task(config)).full.weights[0].numpy()

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
        (softmax_apart, ["InputLayer", *SCALING, "Sequential"], False),
        (lambda: dense(L.Rescaling(0.1)), ["Rescaling", "Dense"], False),
    ],
)
def test_a_custom_model_is_scaled_once(make, layers, from_logits, dataset, tmp_path):
    make().save(tmp_path / "own.keras")
    config = experiment(dataset(x=ROWS, y=LABELS), f"--model={tmp_path / 'own.keras'}")
    task = build_task(config)
    built = building.build_models(config, task)
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
        building.build_models(config, build_task(config))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--regularizer=l1", "--l1=0.5"), 3.5),
        (("--regularizer=l2", "--l2=0.5"), 12.5),
        (("--regularizer=l1_l2", "--l1=0.5", "--l2=0.1"), 6.0),
        (("--regularizer=l2",), 0.25),
    ],
)
def test_a_penalty_has_its_hyperparameters(arguments, expected):
    penalty = building.build_regularizer(experiment(*arguments))
    assert float(penalty([tf.constant([[3.0, -4.0]])])) == pytest.approx(expected)


def test_there_is_no_penalty_by_default():
    assert building.build_regularizer(experiment()) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--regularizer=l3", "--l1=1"), "^unknown regularizer 'l3': .*choose from l1, l2, l1_l2,"),
        (("--regularized_params=.*",), "^regularized_params needs a regularizer$"),
        (("--l2=0.1",), "^--l2 needs --regularizer=l2 or l1_l2$"),
        (("--regularizer=l1", "--l2=0.1"), "^--l2 is not for regularizer l1, which takes --l1; "),
        (("--regularizer=l1", "--l1=-1"), "^l1 must be at least 0, got -1.0$"),
    ],
)
def test_penalties_that_cannot_be_built_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        building.build_regularizer(experiment(*arguments))


def test_a_loss_has_its_hyperparameters():
    y, z = tf.constant([[0.0]]), tf.constant([[3.0]])
    huber = loss_of("--loss=huber", "--delta=2")
    assert huber(y, z).numpy() == pytest.approx([4.0])
    smoothed = loss_of("--loss=binary_crossentropy", "--label_smoothing=1", from_logits=True)
    expected = LOSSES["binary_crossentropy"](y + 0.5, z, from_logits=True)
    np.testing.assert_allclose(smoothed(y, z), expected, rtol=1e-6)


def loss_of(*flags, from_logits=False):
    config = experiment(*flags)
    return building.build_loss(config, build_task(config).loss, from_logits)


def test_an_automatic_loss_refuses_hyperparameters_of_the_other_candidate(table):
    config = experiment(table("a", "price"), "--ignore_class=1")
    with pytest.raises(ValueError, match="^ignore_class is not for loss mean_squared_error, wh"):
        building.build_loss(config, build_task(config).loss, False)


def test_an_experiment_is_described_in_one_line():
    config = experiment("--hidden=4", "--optimizer=sgd")
    task = build_task(config)
    assert building.describe(config, task, building.build_models(config, task)) == (
        "digits: 1,294 training, 144 validation, 359 test examples; mlp: 310 parameters; sgd"
    )


def test_standardized_columns_are_cut_off_at_the_bound(dataset):
    x = np.c_[np.r_[np.zeros(999), 1e6], np.arange(1000.0)]
    flag = dataset(x=x, y=np.arange(1000) % 2)
    config = experiment(flag, "--validation_split=0", "--hidden=")
    task = build_task(config)
    full = building.build_models(config, task).full
    bounded = keras.Model(full.inputs[0], full.get_layer("in_standard_deviations").output)
    scaled = np.asarray(bounded(x))
    assert np.abs(scaled).max() == BOUND
    mean, deviation = task.train.x[:, 1].mean(), task.train.x[:, 1].std()
    np.testing.assert_allclose(scaled[:, 1], (x[:, 1] - mean) / deviation, rtol=1e-4, atol=1e-5)


def values_of(metrics, *arguments):
    """Return the values of metrics on digits, of probabilities and of their logits."""
    config = experiment(f"--metrics={','.join(metrics)}", "--validation_split=0", *arguments)
    task = build_task(config)
    z = tf.constant(np.random.default_rng(0).normal(0, 2, (359, 10)), tf.float32)
    return [
        {
            name: metric.compute(metric.from_model_output(task.test.y, y_pred)).numpy()
            for name, metric in building.build_metrics(config, task, from_logits).items()
        }
        for y_pred, from_logits in ((tf.nn.softmax(z), False), (z, True))
    ]


def test_metrics_of_logits_equal_those_of_their_probabilities():
    names = ["accuracy", "precision", "recall", "auc", "f1_score", "confusion_matrix"]
    names.append("sparse_top_k_categorical_accuracy")
    of_probabilities, of_logits = values_of(names)
    assert list(of_logits) == names
    for name in names:
        np.testing.assert_allclose(of_logits[name], of_probabilities[name], rtol=1e-6)
    assert 0.3 < of_logits["auc"] < 0.7 and 0 < of_logits["precision"] < 0.3


def test_metrics_have_their_hyperparameters():
    ((all_ten, _), (first, _)) = (
        values_of(["sparse_top_k_categorical_accuracy"], f"--k={k}") for k in (10, 1)
    )
    assert all_ten["sparse_top_k_categorical_accuracy"] == 1
    assert first["sparse_top_k_categorical_accuracy"] < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metrics=acuracy",), "^unknown metric 'acuracy': did you mean 'accuracy'"),
        (("--metrics=accuracy", "--k=3"), "^--k is not for metrics accuracy, which takes none; it"),
    ],
)
def test_metrics_that_cannot_be_built_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        config = experiment(*arguments)
        building.build_metrics(config, build_task(config), True)
