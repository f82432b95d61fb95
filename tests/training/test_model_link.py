"""A Keras model that is changed between the calls to its trainer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.beside_keras import FIRST, SEQUENCES, X, Y, pair, sequential

import trainlib as tl

layers = keras.layers


def made():
    return sequential(
        layers.Dense(4, name="body"), layers.Dropout(0.5), layers.Dense(1, name="head")
    )


@pytest.fixture
def fitted():
    """A model, and its trainer after an epoch."""
    model, _ = pair(made)
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.05))
    trainer.fit((X, Y))
    return model, trainer


def test_a_layer_frozen_or_unfrozen_is_refused_by_name(fitted):
    model, trainer = fitted
    model.get_layer("body").trainable = False
    before = trainer.evaluate((X, Y))
    with pytest.raises(ValueError, match="^trainable has changed .* in body: make a new Trainer"):
        trainer.fit((X, Y))
    model.get_layer("body").trainable = True
    assert trainer.evaluate((X, Y)) == before
    trainer.fit((X, Y))


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_weights_assigned_to_the_model_are_those_that_count(fitted, call):
    model, trainer = fitted
    head = model.get_layer("head")
    head.set_weights([np.zeros((4, 1)), np.full(1, 2.0)])
    if call == "fit":
        assert trainer.fit((X, Y))[0]["loss"] == pytest.approx(np.mean((Y - 2) ** 2), rel=1e-5)
    elif call == "evaluate":
        assert trainer.evaluate((X, Y))["loss"] == pytest.approx(np.mean((Y - 2) ** 2), rel=1e-5)
    else:
        np.testing.assert_array_equal(trainer.predict(X), 2)


def test_a_state_that_is_assigned_stays_although_the_model_keeps_its_values(fitted):
    model, trainer = fitted
    old = trainer.state
    trainer.fit((X, Y))
    trainer.state = old
    np.testing.assert_array_equal(trainer.state.params["head/kernel"], old.params["head/kernel"])
    before = trainer.evaluate((X, Y))
    trainer.state = old
    assert trainer.evaluate((X, Y)) == before


def test_draws_of_the_model_in_between_do_not_change_those_of_training():
    ends = []
    for drawn in (False, True):
        model, _ = pair(made)
        trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.05))
        trainer.fit((X, Y))
        if drawn:
            model(X, training=True)
        ends.append(trainer.fit((X, Y))[0]["loss"])
    assert ends[0] == ends[1]


def test_a_model_with_other_layers_is_refused():
    model, _ = pair(made)
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.05))
    model.add(layers.Dense(1, name="added"))
    with pytest.raises(ValueError, match="the model has other layers .* 'added/bias': make a"):
        trainer.predict(X)


def test_states_are_reset_between_calls_as_in_keras():
    def make():
        return sequential(layers.GRU(3, stateful=True), layers.Dense(1), shape=(5, 3), rows=4)

    model, theirs = pair(make)
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.0))
    theirs.compile(keras.optimizers.SGD(0.0), "mse")
    data = SEQUENCES[:8], FIRST[:8]
    for _ in range(2):
        expected = theirs.evaluate(*data, batch_size=4, verbose=0)
        assert trainer.evaluate(data)["loss"] == pytest.approx(expected, rel=1e-5)
    model.layers[0].reset_state()
    theirs.layers[0].reset_state()
    np.testing.assert_allclose(
        trainer.predict(data[0]), theirs.predict(data[0], batch_size=4, verbose=0), rtol=1e-5
    )


def test_examples_that_fill_no_batch_of_a_stateful_layer_are_refused():
    rnn = layers.SimpleRNN(3, stateful=True, name="rnn")
    model = sequential(rnn, layers.Dense(1), shape=(5, 3), rows=4)
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.05))
    with pytest.raises(ValueError, match="'rnn' is stateful .* of 4, but the 15 examples of data"):
        trainer.fit((SEQUENCES[:15], FIRST[:15]))
    assert int(trainer.state.step) == 0


def with_own(name):
    """A model that overrides a method of Keras."""
    kind = type("Own", (keras.Sequential,), {name: lambda self, *args, **more: 0.0})
    kind.__dict__[name].__module__ = "mine"
    return kind([keras.Input(X.shape[1:]), layers.Dense(1)], name="own")


@pytest.mark.parametrize("name", ["train_step", "test_step", "compute_loss"])
def test_a_model_with_its_own_steps_is_refused_by_a_trainer_and_predicts(name):
    model = with_own(name)
    with pytest.raises(
        ValueError, match=f"^model 'own' defines {name}, which tl.Trainer does not call"
    ):
        tl.Trainer(model, "mean_squared_error", tl.sgd(0.1))
    assert len(tl.Evaluator(model).predict(X)) == len(X)


@pytest.mark.parametrize("name", ["test_step", "compute_loss"])
def test_a_model_with_its_own_evaluation_is_refused_by_an_evaluator_with_a_loss(name):
    with pytest.raises(ValueError, match=f"defines {name}, which tl.Evaluator .* model.evaluate"):
        tl.Evaluator(with_own(name), "mean_squared_error")


def test_a_model_with_its_own_training_step_is_evaluated():
    assert "loss" in tl.Evaluator(with_own("train_step"), "mean_squared_error").evaluate((X, Y))
