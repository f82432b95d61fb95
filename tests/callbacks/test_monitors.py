"""Early stopping and the plateau with a trainer: what they change, and what they print."""

from __future__ import annotations

import io
import re
import sys

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from trainlib.callbacks import (
    EarlyStopping,
    ProgressBar,
    ReduceLROnPlateau,
    SetHyperparams,
    SetWeights,
    Stop,
    TrainingStatus,
)
from trainlib.step.state import TrainState
from trainlib.transforms.inject import InjectState


class Trainer:
    """A trainer that applies requests; its weights are the number of the epoch."""

    def __init__(self, **hyperparams):
        self.hyperparams = hyperparams
        self.weights = {"w": np.zeros(2)}
        self.epoch = 0
        self.stopped = False

    def state(self):
        held = {name: tf.constant(x, tf.float64) for name, x in self.hyperparams.items()}
        opt_state = InjectState(0, held, ())
        return TrainState(0, self.weights, {}, opt_state, (), (), 0)

    def status(self, results=None, finished=False, epochs=9):
        history = [] if results is None else [results]
        return TrainingStatus(
            self.epoch, epochs, 5, 5, 5 * self.epoch, history, dict, self.state, finished=finished
        )

    def begin(self, callback):
        self.apply(callback.on_train_begin(self.status()))

    def end_epoch(self, callback, results, epochs=9):
        self.epoch += 1
        self.weights = {"w": np.full(2, float(self.epoch))}
        self.apply(callback.on_epoch_end(self.status(results, epochs=epochs)))

    def end(self, callback, finished=True):
        self.apply(callback.on_train_end(self.status(finished=finished)))

    def apply(self, request):
        if isinstance(request, SetHyperparams):
            self.hyperparams = self.hyperparams | dict(request.values)
        elif isinstance(request, SetWeights):
            self.weights = request.params
        elif isinstance(request, Stop):
            self.stopped = True
        else:
            assert request is None


def run(callback, values, trainer=None, name="val_loss"):
    """Run over some results, to the end or to the stop; return the trainer and its epochs."""
    trainer = trainer or Trainer(learning_rate=0.001)
    trainer.begin(callback)
    for value in values:
        trainer.end_epoch(callback, {"loss": 1.0, name: value}, len(values))
        if trainer.stopped:
            break
    trainer.end(callback)
    return trainer, trainer.epoch


def test_the_plateau_reduces_the_rate_and_prints_it():
    stream = io.StringIO()
    callback = ReduceLROnPlateau(patience=2, stream=stream)
    trainer, _ = run(callback, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
    once = np.float32(float(np.float32(0.001)) * 0.1)
    assert trainer.hyperparams == {"learning_rate": float(np.float32(float(once) * 0.1))}
    assert stream.getvalue() == (
        "epoch 3: learning rate 0.001 -> 0.0001\nepoch 6: learning rate 0.0001 -> 1e-05\n"
    )
    assert (callback.state.epoch, callback.state.best, callback.state.wait) == (6, 0.5, 0)


def test_the_rate_may_be_held_in_float64(capsys):
    trainer, _ = run(ReduceLROnPlateau(patience=1, rate_dtype="float64"), [1.0, 1.0])
    assert trainer.hyperparams == {"learning_rate": 0.001 * 0.1}


def test_nothing_is_printed_while_nothing_changes(capsys):
    trainer, _ = run(ReduceLROnPlateau(patience=1), [3.0, 2.0, 1.0])
    assert trainer.hyperparams == {"learning_rate": 0.001}
    run(ReduceLROnPlateau(patience=1, min_lr=0.001), [3.0, 3.0, 3.0])
    run(EarlyStopping(patience=2), [3.0, 3.0])
    run(EarlyStopping(patience=2, restore_best_weights=True), [3.0, 2.0])
    assert capsys.readouterr() == ("", "")


def test_another_hyperparameter_can_be_reduced(capsys):
    callback = ReduceLROnPlateau("loss", hyperparam="weight_decay", patience=1, factor=0.5)
    trainer, _ = run(callback, [1, 1], Trainer(learning_rate=0.1, weight_decay=0.25), "loss")
    assert trainer.hyperparams == {"learning_rate": 0.1, "weight_decay": 0.125}
    assert capsys.readouterr().out == "epoch 2: weight decay 0.25 -> 0.125\n"


def test_each_run_starts_with_a_new_state(capsys):
    plateau, stop = ReduceLROnPlateau(patience=2), EarlyStopping(patience=2)
    for _ in range(2):
        trainer, _ = run(plateau, [1.0, 1.0])
        assert trainer.hyperparams == {"learning_rate": 0.001}
        assert run(stop, [1.0, 1.0, 1.0, 1.0])[1] == 3
    assert capsys.readouterr().out.count("stopped after epoch 3") == 2


def test_an_assigned_state_is_continued():
    whole, first, second = (EarlyStopping(patience=4, restore_best_weights=True) for _ in range(3))
    history = [3.0, 2.0, 2.5, 2.5, 2.5, 2.5]
    ends = []
    for parts in ([(whole, history)], [(first, history[:3]), (second, history[3:])]):
        trainer, state = Trainer(), None
        for callback, values in parts:
            trainer.begin(callback)
            callback.state = state or callback.state
            for value in values:
                trainer.end_epoch(callback, {"val_loss": value})
            state = callback.state
        trainer.end(callback)
        ends.append((trainer.stopped, list(np.array(trainer.weights["w"])), int(state.epoch)))
    assert ends == [(True, [2.0, 2.0], 6)] * 2


STOPS = [
    ({"patience": 3}, "val_loss has not improved on 0.3012 (epoch 2) for 3 epochs"),
    ({}, "val_loss has not improved on 0.3012 (epoch 2) for 1 epoch"),
    (
        {"patience": 3, "restore_best_weights": True},
        "val_loss has not improved on 0.3012 (epoch 2) for 3 epochs; "
        "parameters of epoch 2 restored",
    ),
    (
        {"patience": 4, "baseline": 0.25},
        "val_loss has not improved on 0.3012 (epoch 2) and the baseline 0.25 for 4 epochs",
    ),
]


@pytest.mark.parametrize(("options", "line"), STOPS)
def test_the_stop_and_its_reason_are_printed_on_one_line(options, line, capsys):
    trainer, epoch = run(EarlyStopping(**options), [0.5, 0.30117] + [0.4] * 9)
    waited = int(re.search(r"for (\d)", line)[1])
    assert epoch == (4 if "baseline" in options else 2 + waited)
    assert trainer.stopped
    assert capsys.readouterr().out == f"stopped after epoch {epoch}: {line}\n"
    restored = 2.0 if "restore_best_weights" in options else float(epoch)
    np.testing.assert_array_equal(trainer.weights["w"], [restored] * 2)


def test_the_best_parameters_are_restored_after_the_last_epoch_too(capsys):
    callback = EarlyStopping("val_accuracy", patience=9, restore_best_weights=True)
    trainer, epoch = run(callback, [0.5, 0.75, 0.25], name="val_accuracy")
    np.testing.assert_array_equal(trainer.weights["w"], [2.0, 2.0])
    assert (trainer.stopped, epoch) == (False, 3)
    assert capsys.readouterr().out == "parameters of epoch 2 restored\n"


def test_an_interrupted_run_keeps_its_parameters(capsys):
    callback, trainer = EarlyStopping(restore_best_weights=True, patience=5), Trainer()
    trainer.begin(callback)
    for value in (1.0, 2.0):
        trainer.end_epoch(callback, {"val_loss": value})
    trainer.end(callback, finished=False)
    np.testing.assert_array_equal(trainer.weights["w"], [2.0, 2.0])
    assert capsys.readouterr().out == ""


def test_ignored_epochs_are_not_restored():
    callback = EarlyStopping(restore_best_weights=True, start_from_epoch=5)
    assert run(callback, [1.0, 2.0, 3.0])[0].weights["w"][0] == 3.0


def test_an_optimizer_without_its_rate_in_the_state_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^ReduceLROnPlateau needs one learning_rate in the optimizer's state, as in "
        r"tl.inject_hyperparams\(tl.adam\)\(learning_rate=0.001\): unknown hyperparameter",
    ):
        Trainer(momentum=0.5).begin(ReduceLROnPlateau())


def test_a_rate_changed_by_something_else_is_refused():
    callback, trainer = ReduceLROnPlateau(patience=1), Trainer(learning_rate=0.001)
    trainer.begin(callback)
    trainer.hyperparams = {"learning_rate": 0.002}
    with pytest.raises(
        ValueError, match=r"learning_rate is 0.002, not 0.001: a schedule or another callback"
    ):
        trainer.end_epoch(callback, {"val_loss": 1.0})


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
def test_a_missing_result_is_refused(kind):
    def after_an_epoch(monitor, results):
        callback = kind(monitor, mode="min")
        trainer = Trainer(learning_rate=0.1)
        trainer.begin(callback)
        trainer.end_epoch(callback, results)

    results = {"epoch": 1, "step": 5, "loss": 1.0, "accuracy": 0.5, "seconds": 0.1}
    there = f"^{kind.__name__} monitors 'LOSS', but the results are loss, accuracy"
    with pytest.raises(
        ValueError, match=f"{there.replace('LOSS', 'losss')}: did you mean 'loss'[?]$"
    ):
        after_an_epoch("losss", results)
    with pytest.raises(
        ValueError, match=f"{there.replace('LOSS', 'val_loss')}; it needs validation_data$"
    ):
        after_an_epoch("val_loss", results)
    with pytest.raises(ValueError, match="monitors 'matrix', which is not a single number$"):
        after_an_epoch("matrix", results | {"matrix": [[1.0]]})


def test_wrong_options_are_refused_by_the_constructor():
    with pytest.raises(ValueError, match="^factor must be above 0 and below 1, got 2"):
        ReduceLROnPlateau(factor=2)
    with pytest.raises(ValueError, match="^cannot tell from the name 'val_score'"):
        EarlyStopping("val_score")


def test_lines_are_printed_above_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    stream = io.StringIO()
    bar = ProgressBar(Console(file=stream, force_terminal=True, width=120))
    bar.bar.live.auto_refresh = False
    status = Trainer().status()
    bar.on_train_batch_end(status)
    callback = EarlyStopping(patience=1)
    run(callback, [1.0, 1.0])
    bar.bar.refresh()
    bar.on_train_end(status)
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()))
    expected = "stopped after epoch 2: val_loss has not improved on 1 (epoch 1) for 1 epoch"
    assert expected in [line.strip() for line in lines]
