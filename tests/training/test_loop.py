"""The training loop: calls to the device, callbacks and the history."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.classification import (
    BATCH,
    NOISE,
    SIZE,
    X,
    Y,
    log_softmax,
    net,
    trainer_of,
)
from helpers.trainers import TrainerPool
from helpers.trees import arrays, assert_close, bits

import trainlib as tl
from trainlib.callbacks import Callback, EarlyStopping, ReduceLROnPlateau
from trainlib.training.results import ResultsReader

SOAK = pytest.mark.soak
POOL = TrainerPool(trainer_of)


@pytest.fixture
def make():
    """`make(seconds_per_call=...)`: a trainer in its first state, not always a new one."""
    with POOL.lending() as lend:
        yield lend


def test_how_many_steps_a_call_makes_does_not_change_the_bits():
    ends, calls = [], []
    for seconds in (0.0, 1e9):
        recorder = Recorder()
        trainer = trainer_of(net(dropout=0.25), seconds_per_call=seconds)
        trainer.fit((X[:19], Y[:19]), batch_size=2, epochs=2, callbacks=[recorder])
        ends.append(bits(trainer.state))
        calls.append([event[2] for event in recorder.events if event[0] == "step"])
    assert calls == [[*range(1, 11)] * 2, [1, 9, 10, 9, 10]]
    assert ends[0] == ends[1]


class Recorder(Callback):
    """Records its calls; raises `error` at the event `when`."""

    def __init__(self, when=None, error=None):
        self.events, self.when, self.error = [], when, error

    def record(self, *event):
        self.events.append(event)
        if event == self.when:
            raise self.error

    def on_train_batch_end(self, status):
        assert status.metrics().keys() == {"loss", "accuracy"}
        self.record("step", status.epoch, status.batch)

    def on_epoch_end(self, status):
        assert (status.epochs, status.batch) == (2, status.steps_per_epoch)
        self.record("epoch", status.epoch, status.results)

    def on_train_end(self, status):
        self.record("end", status.finished)


def test_callbacks_are_called_after_steps_then_the_epoch_then_the_end(make):
    recorders = [Recorder(), Recorder()]
    trainer = make(seconds_per_call=0.0)
    history = trainer.fit((X[:18], Y[:18]), batch_size=6, epochs=2, callbacks=recorders)
    steps = [[("step", epoch, position) for position in (1, 2, 3)] for epoch in (1, 2)]
    expected = [
        *steps[0],
        ("epoch", 1, history[0]),
        *steps[1],
        ("epoch", 2, history[1]),
        ("end", True),
    ]
    assert [recorder.events for recorder in recorders] == [expected, expected]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no")], ids=repr)
def test_callbacks_are_called_at_the_end_of_a_run_that_fails(error, make):
    recorders = [Recorder(), Recorder(("step", 2, 2), error)]
    trainer = make(seconds_per_call=0.0)
    with pytest.raises(type(error)):
        trainer.fit((X[:18], Y[:18]), batch_size=6, epochs=2, callbacks=recorders)
    kinds = ["step"] * 3 + ["epoch"] + ["step"] * 2 + ["end"]
    assert [[event[0] for event in r.events] for r in recorders] == [kinds, kinds]
    assert trainer.state.step.numpy() == 5


def test_a_callback_does_nothing_by_itself(make):
    assert make().fit((X, Y), callbacks=[Callback()])[0]["step"] == 1


def test_callbacks_are_called_at_the_start_and_the_finish_of_a_run(make):
    class Ends(Recorder):
        def on_train_begin(self, status):
            self.record("start", status.state().step.numpy())

    whole, broken = Ends(), Ends(("step", 1, 1), RuntimeError("no"))
    trainer = make()
    trainer.fit((X, Y), batch_size=SIZE, epochs=2, callbacks=[whole])
    kinds = ["start", "step", "epoch", "step", "epoch", "end"]
    assert [event[0] for event in whole.events] == kinds
    with pytest.raises(RuntimeError):
        trainer.fit((X, Y), batch_size=SIZE, epochs=2, callbacks=[broken])
    assert broken.events == [("start", 2), ("step", 1, 1), ("end", False)]


def test_a_callback_may_stop_a_run_within_an_epoch(make):
    class AtSeven(Callback):
        every = 7

        def on_train_batch_end(self, status):
            return tl.callbacks.Stop("enough") if status.global_batch == 7 else None

    trainer = make()
    history = trainer.fit((X, Y), batch_size=BATCH, epochs=9, callbacks=[AtSeven()])
    assert [results["epoch"] for results in history] == [1]
    assert trainer.state.step.numpy() == 7


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["first", "last"])
def test_a_stop_that_is_not_resumable_takes_effect(order, make):
    enough, pause = tl.callbacks.Stop("enough"), tl.callbacks.Stop("pause", resumable=True)
    ends = []

    class End(Callback):
        def on_train_end(self, status):
            ends.append((status.stop, status.finished))

    functions = [lambda status: enough, lambda status: pause][order]
    history = make().fit((X, Y), epochs=9, callbacks=[*functions, End()])
    assert len(history) == 1
    assert ends == [(enough, True)]


class SaveAtEnd(Callback):
    """Saves when the run ends; raises `error` in a method."""

    def __init__(self, method, error):
        setattr(self, method, self.fail)
        self.error = error

    def fail(self, status):
        if status.epoch == 2:
            raise self.error

    def on_train_end(self, status):
        return tl.callbacks.Save()


@pytest.mark.parametrize(
    ("method", "saved"), [("on_train_batch_end", [(2, 1)]), ("on_epoch_end", [])]
)
def test_a_run_that_fails_saves_only_where_it_can_be_resumed(method, saved, make, tmp_path):
    callbacks = [SaveAtEnd(method, RuntimeError("no"))]
    with pytest.raises(RuntimeError):
        make(seconds_per_call=0.0).fit(
            (X[:15], Y[:15]),
            batch_size=5,
            epochs=3,
            callbacks=callbacks,
            checkpoints=tmp_path,
        )
    positions = tl.Checkpoints(tmp_path).positions()
    assert [tuple(x) for x in positions] == saved


def test_an_interruption_between_a_call_and_its_position_saves_nothing(make, tmp_path, monkeypatch):
    seen, calls = ResultsReader.batches_seen, []

    def interrupted(self):
        calls.append(seen(self))
        if calls[-1] == 4:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(ResultsReader, "batches_seen", interrupted)
    trainer = make(seconds_per_call=0.0, nonfinite="stop")
    callbacks = [SaveAtEnd("on_test_batch_end", None)]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, Y), batch_size=5, epochs=3, callbacks=callbacks, checkpoints=tmp_path)
    assert trainer.state.step.numpy() == 4
    assert tl.Checkpoints(tmp_path).positions() == []


def test_the_history_holds_the_results_the_rate_and_the_seconds():
    rate = tl.exponential_decay(0.5, 5, 0.5)
    trainer = trainer_of(optimizer=tl.sgd(rate), report={"learning_rate": rate})
    history = trainer.fit((X, Y), batch_size=BATCH, epochs=2, validation_data=(X, Y))
    names = "epoch step loss accuracy val_loss val_accuracy learning_rate seconds"
    assert [list(results) for results in history] == [names.split()] * 2
    assert all(type(x) in (int, float) for results in history for x in results.values())
    # The rate of the last update of each epoch, as float32 prints it.
    assert [results["learning_rate"] for results in history] == [
        float(str(np.float32(0.5 * 0.5 ** (k / 5)))) for k in (3, 7)
    ]


class Weights(Callback):
    """Records the weights of the trainer after each epoch."""

    def on_train_begin(self, status):
        self.seen = []

    def on_epoch_end(self, status):
        state = status.state()
        self.seen.append(arrays((state.params, state.model_state)))


@pytest.mark.parametrize("execution", ["graph", pytest.param("xla", marks=SOAK)])
def test_the_plateau_reduces_the_rate_without_a_new_trace(execution, capsys):
    optimizer = tl.inject_hyperparams(tl.sgd)(2**-3)
    trainer = trainer_of(optimizer=optimizer, execution=execution)
    plateau = ReduceLROnPlateau("loss", mode="max", patience=2, factor=0.25, min_lr=2**-7)
    history = trainer.fit((X, Y), batch_size=BATCH, epochs=9, callbacks=[plateau])
    # The loss falls, so that its largest value is that of the first epoch.
    rates = [2**-3] * 3 + [2**-5] * 2 + [2**-7] * 4
    assert [results["learning_rate"] for results in history] == rates
    assert trainer.traces == 1
    assert capsys.readouterr().out.splitlines() == [
        "epoch 3: learning rate 0.125 -> 0.03125",
        "epoch 5: learning rate 0.03125 -> 0.007812",
    ]
    # The rates are those with which the model was trained.
    plain = trainer_of(optimizer=tl.sgd(lambda k: tf.gather(rates, k // 4)), execution=execution)
    plain.fit((X, Y), batch_size=BATCH, epochs=9)
    assert_close(trainer.weights, plain.weights, 1e-7)


def test_a_schedule_is_reduced_by_a_factor_on_its_updates():
    optimizer = tl.chain(
        tl.sgd(tl.exponential_decay(0.5, 5, 0.5)), tl.inject_hyperparams(tl.scale)(factor=1.0)
    )
    trainer = trainer_of(optimizer=optimizer)
    plateau = ReduceLROnPlateau("loss", hyperparam="factor", mode="max", patience=1, factor=0.5)
    trainer.fit((X, Y), batch_size=BATCH, epochs=3, callbacks=[plateau])
    assert trainer.hyperparam("factor") == 0.25


@pytest.mark.parametrize("restore", [False, True])
def test_early_stopping_ends_the_run_and_restores_the_best_epoch(restore, capsys):
    model = net(dropout=0.25)
    trainer, weights = trainer_of(model, tl.sgd(2**-2, momentum=0.75)), Weights()
    stop = EarlyStopping(patience=3, restore_best_weights=restore)
    history = trainer.fit(
        (X, Y),
        batch_size=BATCH,
        epochs=50,
        validation_data=(X, NOISE),
        callbacks=[stop, weights],
    )
    best = int(np.argmin([results["val_loss"] for results in history]))
    assert len(history) == best + 4 < 50
    expected = weights.seen[best if restore else -1]
    for a, b in zip(arrays(trainer.weights), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(weights.seen[best], weights.seen[-1], strict=True):
        assert np.any(a != b)
    logits = model.predict(X, verbose=0)
    losses = -log_softmax(logits)[np.arange(SIZE), NOISE]
    assert np.mean(losses) == pytest.approx(history[best if restore else -1]["val_loss"], rel=1e-6)
    end = f"; parameters of epoch {best + 1} restored" if restore else ""
    assert capsys.readouterr().out == (
        f"stopped after epoch {best + 4}: val_loss has not improved on "
        f"{history[best]['val_loss']:.4g} (epoch {best + 1}) for 3 epochs{end}\n"
    )


@pytest.mark.parametrize("optimizer", [tl.sgd(), tl.inject_hyperparams(tl.scale)(factor=1.0)])
def test_a_plateau_without_a_rate_in_the_state_is_refused_before_the_first_step(optimizer):
    trainer, recorder = trainer_of(optimizer=optimizer), Recorder()
    with pytest.raises(
        ValueError, match=r"needs one learning_rate .* tl.inject_hyperparams\(tl.ad"
    ):
        trainer.fit((X, Y), callbacks=[ReduceLROnPlateau("loss"), recorder])
    assert trainer.state.step.numpy() == 0
    assert recorder.events == [("end", False)]


def test_a_plateau_on_a_schedule_is_refused_after_the_first_epoch():
    optimizer = tl.inject_hyperparams(tl.sgd)(tl.exponential_decay(0.5, 5, 0.5))
    with pytest.raises(ValueError, match="a schedule or another callback changes it too"):
        trainer_of(optimizer=optimizer).fit(
            (X, Y), batch_size=BATCH, epochs=2, callbacks=[ReduceLROnPlateau("loss")]
        )


def test_an_unknown_monitor_is_refused_before_the_first_epoch(make):
    trainer = make()
    with pytest.raises(ValueError, match="results are loss, accuracy; it needs validation_data$"):
        trainer.fit((X, Y), batch_size=BATCH, epochs=3, callbacks=[EarlyStopping()])
    assert trainer.state.step.numpy() == 0
