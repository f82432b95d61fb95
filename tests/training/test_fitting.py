"""The arguments of `fit`, beside those of Keras's `model.fit`."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.regression import BATCH, DATA, POOL, X, Y, batches_of, trainer_of
from helpers.trees import assert_close, bits

import trainlib as tl
from trainlib.training import display
from trainlib.training.fitting import split_arrays

EPOCHS = {"batch_size": BATCH, "epochs": 3, "shuffle": False}


@pytest.fixture
def make():
    """Return a function that lends a trainer in its first state, not always a new one."""
    with POOL.lending() as lend:
        yield lend


@pytest.fixture(scope="module")
def both():
    """Return a function that fits a net here and in Keras, and returns both histories."""
    trainer = trainer_of(tl.sgd(0.125))
    first, weights = trainer.state, trainer.model.get_weights()
    theirs = keras.models.clone_model(trainer.model)
    theirs.compile(keras.optimizers.SGD(0.125), "mse")

    def fit(**options):
        trainer.state = first
        theirs.set_weights(weights)
        fitted = theirs.fit(X, Y, verbose=0, **options)
        history = trainer.fit((X, Y), **options)
        assert_close(trainer.model.get_weights(), theirs.get_weights(), 1e-5)
        return history, fitted

    return fit


def of(history, name):
    """Return the results of that name of the epochs that have it."""
    return [results[name] for results in history if name in results]


def test_the_last_part_is_kept_for_validation(both):
    history, fitted = both(validation_split=0.3, **EPOCHS)
    assert of(history, "loss") == pytest.approx(fitted.history["loss"], rel=1e-5)
    assert of(history, "val_loss") == pytest.approx(fitted.history["val_loss"], rel=1e-5)


def test_arrays_of_any_kind_are_split():
    structure = {"a": X, "b": tf.constant(X)}, list(map(tf.constant, (Y, Y)))
    first, last = split_arrays(structure, 0.25)
    assert {len(a) for a in tf.nest.flatten(first)} == {27}
    assert {len(a) for a in tf.nest.flatten(last)} == {10}
    np.testing.assert_array_equal(last[0]["b"], X[27:])


def test_validation_may_leave_out_epochs_and_batches(both):
    options = {"validation_data": (X, Y), "validation_steps": 2, "validation_batch_size": 8}
    for freq in (2, [1, 3]):
        history, fitted = both(validation_freq=freq, **options, **EPOCHS)
        assert of(history, "val_loss") == pytest.approx(fitted.history["val_loss"], rel=1e-5)
    assert [results["epoch"] for results in history if "val_loss" in results] == [1, 3]


def test_epochs_are_counted_from_the_initial_one(both, make):
    history, fitted = both(initial_epoch=1, validation_split=0.3, validation_freq=3, **EPOCHS)
    assert [epoch - 1 for epoch in of(history, "epoch")] == fitted.epoch == [1, 2]
    assert [results["epoch"] for results in history if "val_loss" in results] == [3]
    assert make().fit((X, Y), initial_epoch=3, epochs=3) == []


def test_a_second_fit_continues_with_the_initial_epoch(make):
    whole, parts = make(), make()
    whole.fit((X, Y), batch_size=BATCH, epochs=3)
    parts.fit((X, Y), batch_size=BATCH, epochs=1)
    history = parts.fit((X, Y), batch_size=BATCH, epochs=3, initial_epoch=1)
    assert of(history, "epoch") == [2, 3]
    assert bits(parts.state) == bits(whole.state)


@pytest.mark.parametrize("source", [False, True], ids=["arrays", "batches"])
def test_a_run_is_resumed_with_its_initial_epoch(source, tmp_path, make):
    data = {"data": (lambda: iter(batches_of())) if source else DATA}
    if not source:
        data["batch_size"] = BATCH
    options = {**data, "epochs": 5, "initial_epoch": 2}
    if source:
        options["steps_per_epoch"] = 4
    whole = make()
    expected = whole.fit(**options)
    saving = [tl.callbacks.SaveEvery(steps=1), tl.callbacks.StopAfter(6)]
    make().fit(**options, callbacks=saving, checkpoints=tmp_path)
    resumed = make()
    checkpoints = tl.Checkpoints(tmp_path, resume=True)
    history = resumed.fit(**options, checkpoints=checkpoints)
    assert of(history, "epoch") == of(expected, "epoch") == [3, 4, 5]
    assert of(history, "loss") == of(expected, "loss")
    assert bits(resumed.state) == bits(whole.state)


LABELS = (X[:, 0] > 0).astype("int64")


@pytest.mark.parametrize(
    ("source", "one_hot"),
    [
        (False, False),
        (True, True),
        pytest.param(False, True, marks=pytest.mark.soak),
        pytest.param(True, False, marks=pytest.mark.soak),
    ],
)
def test_class_weights_equal_keras_divided_by_the_sum_of_weights(source, one_hot):
    labels = np.eye(2, dtype="float32")[LABELS] if one_hot else LABELS
    kind = "CategoricalCrossentropy" if one_hot else "SparseCategoricalCrossentropy"
    weights = {0: 0.5, 1: 3.0}

    def net():
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((6,)), keras.layers.Dense(2, activation="softmax")])

    model, theirs = net(), net()
    loss = getattr(keras.losses, kind)(reduction="mean_with_sample_weight")
    theirs.compile(keras.optimizers.SGD(0.125), loss)
    right = theirs.fit(
        X, labels, batch_size=37, epochs=3, shuffle=False, class_weight=weights, verbose=0
    ).history["loss"]
    name = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    trainer = tl.Trainer(model, name, tl.sgd(0.125), execution="graph")
    data = [(X, labels)] if source else (X, labels)
    size = {} if source else {"batch_size": 37}
    history = trainer.fit(data, epochs=3, shuffle=False, class_weight=weights, **size)
    assert of(history, "loss") == pytest.approx(right, rel=1e-5)
    assert_close(model.get_weights(), theirs.get_weights(), 1e-5)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (DATA, {"class_weight": {0: 1.0}}, ValueError, "class_weight needs classes"),
        (DATA, {"class_weight": [1.0]}, TypeError, "class_weight must map classes to weights"),
        (DATA, {"validation_split": 1.0}, ValueError, "validation_split must be .* below 1"),
        (DATA, {"validation_split": 0.999}, ValueError, "validation_split=0.999 of 37 examples"),
        (
            DATA,
            {"validation_split": 0.5, "validation_data": DATA},
            ValueError,
            "pass validation_data or validation_split, not both",
        ),
        (batches_of(), {"validation_split": 0.5}, ValueError, "validation_split needs arrays"),
        (([1.0, 2.0], [1.0, 2.0]), {"validation_split": 0.5}, ValueError, "data must be arrays of"),
        (DATA, {"validation_steps": 2}, ValueError, "validation_steps needs validation data"),
        (
            DATA,
            {"validation_data": DATA, "validation_steps": 2},
            ValueError,
            "validation_steps=2 is more than the 1 batches of validation_data",
        ),
        (
            DATA,
            {"validation_data": batches_of(), "validation_batch_size": 2},
            ValueError,
            "validation_data are batches already: leave out validation_batch_size=2",
        ),
        (DATA, {"validation_freq": 0}, ValueError, "validation_freq must be at least 1"),
        (DATA, {"validation_freq": "2"}, TypeError, "validation_freq must be an integer"),
        (DATA, {"validation_freq": [0]}, ValueError, "an epoch of validation_freq must be at"),
        (DATA, {"initial_epoch": 2}, ValueError, "initial_epoch must be at least 0 and at most 1"),
        (DATA, {"verbose": 3}, ValueError, 'verbose must be "auto", 0, 1 or 2, got 3'),
        (DATA, {"epoch": 3}, TypeError, "unknown option of fit 'epoch': did you mean 'epochs'"),
        (
            (batch for batch in batches_of()),
            {"epochs": 2},
            ValueError,
            "data is a generator, which can be read once, for 2 epochs: give a function",
        ),
        (
            DATA,
            {"epochs": 2, "validation_data": (batch for batch in batches_of())},
            ValueError,
            "validation_data is a generator, which can be read once, for 2 epochs",
        ),
        (
            DATA,
            {
                "epochs": 2,
                "validation_data": (batch for batch in batches_of()),
                "validation_steps": 1,
            },
            ValueError,
            "validation_data is a generator, whose first batches can be read once, for 2 valid",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(data, options, error, message, make):
    trainer = make()
    with pytest.raises(error, match=f"^{message}"):
        trainer.fit(data, **options)
    assert int(trainer.state.step) == 0


@pytest.mark.parametrize(
    ("every", "error", "message"),
    [
        (0, ValueError, "at least 1, got 0"),
        (-1, ValueError, "at least 1, got -1"),
        (1e3, TypeError, "an integer, got 1000.0"),
    ],
)
def test_a_callback_with_an_interval_below_1_is_refused(every, error, message, make):
    callback = tl.callbacks.Callback()
    callback.every = every
    trainer = make()
    with pytest.raises(error, match=f"^every of Callback must be {message}"):
        trainer.fit(DATA, callbacks=[callback])
    assert int(trainer.state.step) == 0


def test_monitors_wait_for_the_epochs_that_are_validated(tmp_path):
    stream = io.StringIO()
    callbacks = [
        tl.callbacks.EarlyStopping(mode="max", patience=2, stream=stream),
        tl.callbacks.ReduceLROnPlateau(mode="max", patience=1, stream=stream, factor=0.5),
        tl.callbacks.SaveBest(),
    ]
    trainer = trainer_of(tl.inject_hyperparams(tl.sgd)(2**-7))
    history = trainer.fit(
        DATA, epochs=20, validation_data=DATA, validation_freq=3, callbacks=callbacks,
        checkpoints=tmp_path, initial_epoch=1,
    )  # fmt: skip
    assert [r["epoch"] for r in history if "val_loss" in r] == [3, 6, 9]
    assert of(history, "epoch")[-1] == 9
    lines = stream.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "epoch 6",
        "epoch 9",
        "stopped after epoch 9",
    ]
    assert "(epoch 3) for 2 epochs" in lines[-1]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_what_is_printed_depends_on_verbose_and_on_the_terminal(monkeypatch, capsys, make):
    def kinds(verbose, callbacks=(), chief=True):
        found = display.callbacks_for_verbose(verbose, callbacks, chief)
        return [type(callback).__name__ for callback in found]

    assert kinds("auto") == kinds(0) == []
    assert (kinds(1), kinds(2)) == (["ProgressBar"], ["LineLogger"])
    make().fit(DATA)
    assert capsys.readouterr().out == ""
    make().fit(DATA, verbose=2)
    assert capsys.readouterr().out.startswith("epoch 1/1  loss ")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert kinds("auto") == ["ProgressBar"]
    assert kinds("auto", [tl.callbacks.LineLogger()]) == kinds("auto", chief=False) == []
