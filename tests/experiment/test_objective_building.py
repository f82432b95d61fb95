"""The penalty, the losses and the metrics of a configuration."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except
from helpers.experiments import experiment

import trainlib as tl
from trainlib.experiment import model_building, objective_building
from trainlib.experiment.functions import FUNCTIONS
from trainlib.experiment.targets import takes_logits
from trainlib.experiment.task_building import build_task
from trainlib.registry import LOSSES

SOME = ("binary_crossentropy", "sparse_categorical_crossentropy", "dice", "huber")
"""Losses on logits, on classes, on probabilities and on numbers; soak tests the others."""


@pytest.mark.parametrize("loss", soak_except(*SOME, names=FUNCTIONS["loss"]))
def test_every_loss_decreases_on_the_predictions_of_its_model(loss):
    config = experiment(f"--loss={loss}", "--hidden=16", "--train_examples=200")
    task = build_task(config)
    built = model_building.build_models(config, task)
    are_logits = task.target.activation is not None and takes_logits(loss)
    assert bool(built.from_logits) == are_logits
    function = objective_building.build_loss(config, task.loss, built.from_logits)
    trainer = tl.Trainer(built.trained, function, tl.adam(0.01), execution="graph")
    history = trainer.fit(tuple(task.train), epochs=3, validation_data=tuple(task.validation))
    losses = [epoch["loss"] for epoch in history]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert np.isfinite(history[-1]["val_loss"])


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
    penalty = objective_building.build_regularizer(experiment(*arguments))
    assert float(penalty([tf.constant([[3.0, -4.0]])])) == pytest.approx(expected)


def test_there_is_no_penalty_by_default():
    assert objective_building.build_regularizer(experiment()) is None


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
        objective_building.build_regularizer(experiment(*arguments))


def test_a_loss_has_its_hyperparameters():
    y, z = tf.constant([[0.0]]), tf.constant([[3.0]])
    huber = loss_of("--loss=huber", "--delta=2")
    assert huber(y, z).numpy() == pytest.approx([4.0])
    smoothed = loss_of("--loss=binary_crossentropy", "--label_smoothing=1", from_logits=True)
    expected = LOSSES["binary_crossentropy"](y + 0.5, z, from_logits=True)
    np.testing.assert_allclose(smoothed(y, z), expected, rtol=1e-6)


def loss_of(*flags, from_logits=False):
    config = experiment(*flags)
    return objective_building.build_loss(config, build_task(config).loss, from_logits)


def test_an_automatic_loss_refuses_hyperparameters_of_the_other_candidate(table):
    config = experiment(table("a", "price"), "--ignore_class=1")
    with pytest.raises(ValueError, match="^ignore_class is not for loss mean_squared_error, wh"):
        objective_building.build_loss(config, build_task(config).loss, False)


def values_of(metrics, *arguments):
    """Return the values of metrics on digits, of probabilities and of their logits."""
    config = experiment(f"--metrics={','.join(metrics)}", "--validation_split=0", *arguments)
    task = build_task(config)
    z = tf.constant(np.random.default_rng(0).normal(0, 2, (359, 10)), tf.float32)
    return [
        {
            name: metric.compute(metric.from_model_output(task.test.y, y_pred)).numpy()
            for name, metric in objective_building.build_metrics(config, task, from_logits).items()
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
        objective_building.build_metrics(config, build_task(config), True)
