"""When checkpoints are requested."""

from __future__ import annotations

import math

import pytest

from trainlib.callbacks import Save, SaveBest, SaveEvery, Stop, StopAfter, TrainingStatus
from trainlib.callbacks import saving as module


def status(epoch=1, batch=5, global_batch=5, **results):
    return TrainingStatus(epoch, 9, batch, 10, global_batch, [results], dict, state=None)


def test_steps_are_counted_over_the_whole_training():
    callback = SaveEvery(steps=4)
    assert callback.every == 4
    callback.on_train_begin(status())
    requested = [
        k for k in range(1, 13) if callback.on_train_batch_end(status(global_batch=k)) == Save()
    ]
    assert requested == [4, 8, 12]
    assert callback.on_epoch_end(status(global_batch=13)) is None


def test_epochs_are_counted():
    callback = SaveEvery(epochs=2)
    assert callback.every is None
    callback.on_train_begin(status())
    assert [callback.on_epoch_end(status(epoch=k)) for k in (1, 2, 3, 4)] == [None, Save()] * 2
    assert callback.on_train_batch_end(status()) is None


def test_seconds_are_counted_since_the_last_checkpoint(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    callback = SaveEvery(seconds=10, epochs=5)
    callback.on_train_begin(status())
    requested = []
    for second in range(1, 31):
        now[0] = 100.0 + second
        request = (
            callback.on_epoch_end(status(epoch=5))
            if second == 15
            else callback.on_train_batch_end(status())
        )
        requested += [second] if request else []
    assert requested == [10, 15, 25]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs steps, seconds or epochs"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"epochs": -1}, "epochs must be at least 1"),
    ],
)
def test_arguments_that_never_save_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SaveEvery(**options)


@pytest.mark.parametrize(
    ("monitor", "values", "best"),
    [
        ("val_loss", [3.0, 2.0, 2.0, 2.5, 1.0], [1, 2, 5]),
        ("val_accuracy", [0.5, 0.75, 0.7, 0.8, 0.8], [1, 2, 4]),
        ("val_loss", [math.nan, 2.0, math.nan, 1.0], [2, 4]),
    ],
)
def test_the_best_epoch_requests_a_checkpoint(monitor, values, best):
    callback = SaveBest(monitor)
    callback.on_train_begin(status())
    requested = []
    for epoch, value in enumerate(values, start=1):
        request = callback.on_epoch_end(status(epoch=epoch, **{monitor: value}))
        assert request in (None, Save(best=True))
        requested += [epoch] if request else []
    assert requested == best


def test_a_result_of_several_values_has_no_best():
    callback = SaveBest("f1", mode="max")
    callback.on_train_begin(status())
    with pytest.raises(ValueError, match="^SaveBest monitors 'f1', which is not a single number$"):
        callback.on_epoch_end(status(f1=[0.5, 0.25]))


def test_a_restored_state_is_continued():
    first, second = SaveBest("loss"), SaveBest("loss")
    first.on_train_begin(status())
    first.on_epoch_end(status(loss=1.0))
    second.on_train_begin(status())
    second.state = first.state
    assert second.on_epoch_end(status(loss=2.0)) is None
    assert second.on_epoch_end(status(loss=0.5)) == Save(best=True)


def test_training_stops_after_a_number_of_batches_with_a_checkpoint():
    callback = StopAfter(16, "--stop_after=16")
    assert callback.every == 16
    assert callback.on_epoch_end(status(global_batch=15)) is None
    stop = Stop("--stop_after=16", resumable=True)
    assert callback.on_epoch_end(status(global_batch=16)) == [Save(), stop]


@pytest.mark.parametrize("batches", [0, -3])
def test_a_stop_before_the_first_batch_is_refused(batches):
    with pytest.raises(ValueError, match=f"^batches must be at least 1, got {batches}$"):
        StopAfter(batches)
