"""Keras models of many kinds train, evaluate, predict, are saved and resumed as in Keras."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except
from helpers.keras_models import MODELS
from helpers.keras_models.table import Case

import trainlib as tl
from trainlib.callbacks import Callback, Save, Stop

EPOCHS = 3
QUICK = (
    "stateful_lstm",
    "residual_blocks_with_batch_statistics",
    "a_subclassed_model_within_another",
)


class Trained(NamedTuple):
    """A model after `Trainer.fit`, and one of the same first weights after Keras's `fit`."""

    case: Case
    trainer: tl.Trainer
    history: list[Any]
    model: keras.Model
    losses: list[float]


def trainer_of(case):
    optimizer = tl.sgd(0.05, momentum=0.5)
    return tl.Trainer(case.build(), case.ours or case.loss, optimizer, execution="graph")


def fit(trainer, case, **options):
    data = case.x, case.y
    return trainer.fit(data, batch_size=case.batch_size, epochs=EPOCHS, shuffle=False, **options)


@pytest.fixture(scope="module", params=soak_except(*QUICK, names=MODELS))
def trained(request):
    """A model of the table, trained here and in Keras."""
    case = MODELS[request.param]
    model = case.build()
    model.compile(keras.optimizers.SGD(0.05, momentum=0.5), case.loss)
    options = {"batch_size": case.batch_size, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    losses = model.fit(case.x, case.y, **options).history["loss"]
    trainer = trainer_of(case)
    return Trained(case, trainer, fit(trainer, case), model, losses)


def reset_states(model):
    """Let stateful layers start from zeros."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            layer.reset_state()


def assert_close(actual, expected, tolerance):
    tf.nest.assert_same_structure(actual, expected)
    for a, b in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        scale = max(1.0, float(np.max(np.abs(b))))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


def test_losses_of_training_are_those_of_keras(trained):
    losses = [results["loss"] for results in trained.history]
    np.testing.assert_allclose(losses, trained.losses, rtol=trained.case.tolerance)
    assert abs(losses[-1] - losses[0]) > 1e-3 * losses[0]


def test_evaluation_is_that_of_keras(trained):
    case, size = trained.case, trained.case.batch_size
    reset_states(trained.model)
    reset_states(trained.trainer.model)
    expected = trained.model.evaluate(case.x, case.y, size, verbose=0, return_dict=True)["loss"]
    found = trained.trainer.evaluate((case.x, case.y), size)["loss"]
    np.testing.assert_allclose(found, expected, rtol=case.tolerance)


def test_predictions_are_those_of_keras(trained):
    case, size = trained.case, trained.case.batch_size
    reset_states(trained.model)
    reset_states(trained.trainer.model)
    expected = trained.model.predict(case.x, size, verbose=0)
    assert_close(trained.trainer.predict(case.x, size), expected, case.tolerance)


def test_the_saved_model_is_loaded_with_the_trained_values(trained, tmp_path):
    case, loaded = trained.case, []
    for k, model in enumerate((trained.trainer.model, trained.model)):
        model.save(tmp_path / f"{k}.keras")
        options = {"compile": False, "safe_mode": False}  # Keras cannot load its scaled optimizer
        loaded.append(keras.saving.load_model(tmp_path / f"{k}.keras", **options))
    ours, theirs = (model.predict(case.x, case.batch_size, verbose=0) for model in loaded)
    assert_close(ours, theirs, case.tolerance)


class Interrupt(Callback):
    """Ends a run within its second epoch, with a checkpoint."""

    every = 1

    def on_train_batch_end(self, status):
        if status.epoch == 2 and status.batch >= 2:
            return [Save(), Stop("interrupted", resumable=True)]
        return None


def test_a_resumed_run_ends_in_the_losses_of_one_without_a_break(trained, tmp_path):
    trainer = trainer_of(trained.case)
    first, checkpoints = trainer.state, tl.Checkpoints(tmp_path)
    assert len(fit(trainer, trained.case, callbacks=[Interrupt()], checkpoints=checkpoints)) == 1
    trainer.state = first
    history = fit(trainer, trained.case, checkpoints=tl.Checkpoints(tmp_path, resume=True))
    assert [x["loss"] for x in history] == [x["loss"] for x in trained.history]
    assert_close(trainer.state.params, trained.trainer.state.params, 0.0)
