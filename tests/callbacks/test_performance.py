"""Early stopping and the plateau beside a trainer: what they do to it, and what they say."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console

from trainlib.callbacks import Bar, EarlyStopping, Progress, ReduceLROnPlateau


class Trainer:
    """The part of a trainer that callbacks touch; its weights are the number of the epoch."""

    def __init__(self, **hyperparams):
        self.hyperparams = hyperparams
        self.weights = {"w": np.zeros(2)}
        self.stopped = False

    def hyperparam(self, name):
        if name not in self.hyperparams:
            raise ValueError(f"there is no {name}")
        return self.hyperparams[name]

    def set_hyperparams(self, **hyperparams):
        self.hyperparams |= hyperparams

    def stop(self):
        self.stopped = True


def run(callback, values, trainer=None, name="val_loss"):
    """A run over these results, to its end or to the stop: the trainer, and the epochs made."""
    trainer = trainer or Trainer(learning_rate=0.001)
    callback.on_start(trainer)
    for epoch, value in enumerate(values, start=1):
        trainer.weights = {"w": np.full(2, float(epoch))}
        callback.on_epoch(Progress(epoch, len(values), 5, 5, dict), {"loss": 1.0, name: value})
        if trainer.stopped:
            break
    callback.on_finish()
    callback.on_end()
    return trainer, epoch


def test_the_plateau_sets_the_rate_and_says_so():
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


def test_nothing_is_said_while_the_rate_stays(capsys):
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


def test_each_run_begins_with_a_new_state(capsys):
    plateau, stop = ReduceLROnPlateau(patience=2), EarlyStopping(patience=2)
    for _ in range(2):
        trainer, _ = run(plateau, [1.0, 1.0])
        assert trainer.hyperparams == {"learning_rate": 0.001}
        assert run(stop, [1.0, 1.0, 1.0, 1.0])[1] == 3
    assert capsys.readouterr().out.count("stopped after epoch 3") == 2


def test_a_state_that_is_assigned_goes_on():
    whole, first, second = (EarlyStopping(patience=4, restore_best_weights=True) for _ in range(3))
    history = [3.0, 2.0, 2.5, 2.5, 2.5, 2.5]
    ends = []
    for parts in ([(whole, history)], [(first, history[:3]), (second, history[3:])]):
        trainer, state, done = Trainer(), None, 0
        for callback, values in parts:
            callback.on_start(trainer)
            callback.state = state or callback.state
            for epoch, value in enumerate(values, done + 1):
                trainer.weights = {"w": np.full(2, float(epoch))}
                callback.on_epoch(Progress(epoch, 9, 5, 5, dict), {"val_loss": value})
            state, done = callback.state, len(values)
        callback.on_finish()
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


@pytest.mark.parametrize(("options", "said"), STOPS)
def test_the_stop_and_its_reason_are_said_on_one_line(options, said, capsys):
    trainer, epoch = run(EarlyStopping(**options), [0.5, 0.30117] + [0.4] * 9)
    waited = int(re.search(r"for (\d)", said)[1])
    assert epoch == (4 if "baseline" in options else 2 + waited)
    assert trainer.stopped
    assert capsys.readouterr().out == f"stopped after epoch {epoch}: {said}\n"
    restored = 2.0 if "restore_best_weights" in options else float(epoch)
    np.testing.assert_array_equal(trainer.weights["w"], [restored] * 2)


def test_the_best_parameters_are_restored_after_the_last_epoch_too(capsys):
    callback = EarlyStopping("val_accuracy", patience=9, restore_best_weights=True)
    trainer, epoch = run(callback, [0.5, 0.75, 0.25], name="val_accuracy")
    np.testing.assert_array_equal(trainer.weights["w"], [2.0, 2.0])
    assert (trainer.stopped, epoch) == (False, 3)
    assert capsys.readouterr().out == "parameters of epoch 2 restored\n"


def test_a_run_that_is_broken_off_keeps_its_parameters(capsys):
    callback, trainer = EarlyStopping(restore_best_weights=True, patience=5), Trainer()
    callback.on_start(trainer)
    for epoch in (1, 2):
        trainer.weights = {"w": np.full(2, float(epoch))}
        callback.on_epoch(Progress(epoch, 9, 5, 5, dict), {"val_loss": float(epoch)})
    callback.on_end()
    np.testing.assert_array_equal(trainer.weights["w"], [2.0, 2.0])
    assert capsys.readouterr().out == ""


def test_epochs_that_were_not_looked_at_are_not_restored():
    callback = EarlyStopping(restore_best_weights=True, start_from_epoch=5)
    assert run(callback, [1.0, 2.0, 3.0])[0].weights["w"][0] == 3.0


def test_an_optimizer_without_its_rate_in_the_state_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^ReduceLROnPlateau needs one learning_rate in the optimizer's state, as in "
        r"tl.inject_hyperparams\(tl.adam\)\(learning_rate=0.001\): there is no learning_rate$",
    ):
        ReduceLROnPlateau().on_start(Trainer())


def test_a_rate_that_something_else_changes_is_refused():
    callback, trainer = ReduceLROnPlateau(patience=1), Trainer(learning_rate=0.001)
    callback.on_start(trainer)
    trainer.set_hyperparams(learning_rate=0.002)
    with pytest.raises(
        ValueError, match=r"learning_rate is 0.002, not 0.001: a schedule or another callback"
    ):
        callback.on_epoch(Progress(1, 2, 5, 5, dict), {"val_loss": 1.0})


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
def test_a_result_that_is_not_there_is_refused(kind):
    def after_an_epoch(monitor, results):
        callback = kind(monitor, mode="min")
        callback.on_start(Trainer(learning_rate=0.1))
        callback.on_epoch(Progress(1, 2, 5, 5, dict), results)

    results = {"epoch": 1, "step": 5, "loss": 1.0, "accuracy": 0.5, "seconds": 0.1}
    there = f"^{kind.__name__} monitors 'LOSS', but the results are loss, accuracy"
    with pytest.raises(ValueError, match=f"{there.replace('LOSS', 'losss')}$"):
        after_an_epoch("losss", results)
    with pytest.raises(
        ValueError, match=f"{there.replace('LOSS', 'val_loss')}; it needs validation_data$"
    ):
        after_an_epoch("val_loss", results)
    with pytest.raises(ValueError, match="monitors 'matrix', which is not one number$"):
        after_an_epoch("matrix", results | {"matrix": [[1.0]]})


def test_wrong_options_are_refused_when_it_is_made():
    with pytest.raises(ValueError, match="^factor must be above 0 and below 1, got 2"):
        ReduceLROnPlateau(factor=2)
    with pytest.raises(ValueError, match="^cannot tell from the name 'val_score'"):
        EarlyStopping("val_score")


def test_lines_stand_above_a_bar_on_a_terminal(monkeypatch):
    stream = io.StringIO()
    bar = Bar(Console(file=stream, force_terminal=True, width=120))
    bar.bar.live.auto_refresh = False
    progress = Progress(1, 2, 5, 5, lambda: {"loss": 1.0})
    bar.on_step(progress)
    callback = EarlyStopping(patience=1)
    run(callback, [1.0, 1.0])
    bar.bar.refresh()
    bar.on_end()
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()))
    said = "stopped after epoch 2: val_loss has not improved on 1 (epoch 1) for 1 epoch"
    assert said in [line.strip() for line in lines]
