"""A run that was ended and goes on comes to the bits of one that was not."""

from __future__ import annotations

import functools
import math
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.callbacks import Callback, EarlyStopping, ReduceLROnPlateau, Save, SaveBest, Stop
from trainlib.training import loop as loop_module
from trainlib.training.checkpoints import named

SIZE, BATCH, EPOCHS = 103, 10, 6
STEPS = math.ceil(SIZE / BATCH)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, 6)).astype("float32")
Y = RNG.integers(0, 3, SIZE)
HELD_OUT = X[:40], RNG.integers(0, 3, 40)
crossentropy = functools.partial(tl.losses.sparse_categorical_crossentropy, from_logits=True)


def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.GaussianNoise(0.1, name="noise"),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.25, name="dropout"),
            keras.layers.Dense(3, name="outputs"),
        ]
    )


def make(**options):
    """A trainer with all that a run may keep: moments, averages, windows, a rate in the state."""
    optimizer = tl.chain(
        tl.clip_by_global_norm(1.0), tl.inject_hyperparams(tl.nadam)(2**-5), tl.ema(0.9)
    )
    options = {"execution": "graph", "metrics": ["accuracy", "auc"]} | options
    return tl.Trainer(net(), crossentropy, tl.accumulate(optimizer, 3), **options)


class Break(Callback):
    """Ends the run for now, after so many batches; with a checkpoint."""

    def __init__(self, batches):
        self.every = self.batches = batches

    def on_train_batch_end(self, status):
        if status.global_batch >= self.batches:
            return [Save(), Stop("break", resumable=True)]
        return None


def callbacks():
    return [
        ReduceLROnPlateau("val_loss", patience=1, factor=0.5),
        EarlyStopping("val_loss", patience=EPOCHS, restore_best_weights=True),
        SaveBest("val_loss"),
    ]


def fit(trainer, folder, *more, data=(X, Y), resume=True, **options):
    options = {"batch_size": BATCH, "epochs": EPOCHS, "validation_data": HELD_OUT} | options
    if not isinstance(data, tuple):
        del options["batch_size"]
    history = trainer.fit(
        data, callbacks=[*callbacks(), *more], checkpoints=folder, resume=resume, **options
    )
    return [{k: x for k, x in line.items() if k != "seconds"} for line in history]


def bits(trainer):
    return [x.numpy().tobytes() for x in tf.nest.flatten(trainer.state)]


@functools.cache
def whole(**options):
    """The history and the bits of a run without a break."""
    trainer = make(**options)
    with tempfile.TemporaryDirectory() as folder:
        return fit(trainer, folder, resume=False), bits(trainer)


@pytest.fixture(autouse=True)
def short_calls(monkeypatch):
    monkeypatch.setattr(loop_module, "SECONDS_PER_CALL", 0.005)


SOAK = pytest.mark.soak
WAYS = [
    (None, "graph"),
    pytest.param("mixed_float16", "xla", marks=SOAK),
    pytest.param("float64", "xla_update", marks=SOAK),
    pytest.param(None, "xla", marks=SOAK),
    pytest.param("mixed_bfloat16", "graph", marks=SOAK),
]


@pytest.mark.parametrize(("precision", "execution"), WAYS)
def test_a_run_broken_again_and_again_comes_to_the_same_bits(precision, execution, tmp_path):
    options = {"precision": precision, "execution": execution}
    history, expected = whole(**options)
    assert len(history) == EPOCHS
    # Within an epoch, at its last batch, after its end, twice in one epoch.
    for batches in (4, STEPS, STEPS + 9, 5 * STEPS + 7):
        broken = make(**options)
        assert len(fit(broken, tmp_path / "broken", Break(batches))) <= batches // STEPS
    resumed = make(**options)
    again = fit(resumed, tmp_path / "broken")
    assert repr(again) == repr(history)
    assert bits(resumed) == expected


@pytest.mark.soak
def test_the_test_would_notice_a_state_that_is_not_kept(tmp_path, monkeypatch):
    history, _ = whole()
    fit(make(), tmp_path / "broken", Break(4 * STEPS + 2))
    monkeypatch.setattr(loop_module.Run, "_give_states_back", lambda run: None)
    assert repr(fit(make(), tmp_path / "broken")) != repr(history)


@pytest.mark.soak
def test_saving_changes_nothing(tmp_path):
    class SaveAlways(Callback):
        every = 1

        def on_train_batch_end(self, status):
            return Save()

    trainer = make()
    history = fit(trainer, tmp_path / "c", SaveAlways(), epochs=2)
    other = make()
    assert repr(fit(other, tmp_path / "d", epochs=2)) == repr(history)
    assert bits(other) == bits(trainer)


def test_what_is_saved_stays_while_training_goes_on(tmp_path):
    """The tensors of a checkpoint are not those that the next steps write to."""
    steps = []

    class SaveAt(Callback):
        every = 3

        def on_train_batch_end(self, status):
            steps.append([x.numpy().tobytes() for x in tf.nest.flatten(status.state())])
            return Save()

    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    trainer = tl.Trainer(model, crossentropy, tl.nadam(2**-5), execution="xla")
    checkpoints = tl.Checkpoints(tmp_path, keep=99)
    trainer.fit((X, Y), batch_size=BATCH, epochs=2, callbacks=[SaveAt()], checkpoints=checkpoints)
    loaded = [checkpoints.load(place).values for place in checkpoints.places()]
    saved = [[values[name].tobytes() for name in names_of(trainer)] for values in loaded]
    assert saved == steps
    assert len(saved) >= 2 * STEPS // 3


def names_of(trainer):
    return list(named("state", trainer.state))


def batches_of(count, size=BATCH):
    for k in range(count):
        rows = slice(k * size, (k + 1) * size)
        yield X[rows], Y[rows]


@pytest.mark.parametrize("steps", [pytest.param(None, marks=SOAK), 4])
@pytest.mark.parametrize("at", [3, pytest.param(8, marks=SOAK), pytest.param(17, marks=SOAK)])
def test_a_source_of_batches_is_read_up_to_where_the_run_was(steps, at, tmp_path):
    def source():
        return batches_of(9)

    options = {"data": source, "steps_per_epoch": steps, "epochs": 3}
    trainer, broken, resumed = make(), make(), make()
    history = fit(trainer, tmp_path / "whole", resume=False, **options)
    fit(broken, tmp_path / "broken", Break(at), **options)
    if at < 3 * (steps or 9):
        assert bits(broken) != bits(trainer)
    assert repr(fit(resumed, tmp_path / "broken", **options)) == repr(history)
    assert bits(resumed) == bits(trainer)


def test_without_a_checkpoint_it_begins_at_the_beginning(tmp_path):
    history, expected = whole()
    trainer = make()
    assert repr(fit(trainer, tmp_path / "none")) == repr(history)
    assert bits(trainer) == expected


def test_a_finished_run_is_not_trained_on_but_ends_as_it_did(tmp_path):
    saving = tl.callbacks.SaveEvery(epochs=1)
    first, second = make(), make()
    history = fit(first, tmp_path, saving, epochs=3)
    assert repr(fit(second, tmp_path, saving, epochs=3)) == repr(history)
    assert bits(second) == bits(first)


@pytest.mark.soak
def test_a_run_that_was_stopped_early_stays_stopped(tmp_path):
    class Enough(Callback):
        def on_epoch_end(self, status):
            return [Save(), Stop("enough")] if status.epoch == 2 else None

    history = fit(make(), tmp_path / "c", Enough())
    assert len(history) == 2
    assert repr(fit(make(), tmp_path / "c", Enough())) == repr(history)


def test_a_break_within_the_validation_repeats_it(tmp_path):
    class InValidation(Callback):
        def on_test_batch_end(self, status):
            if status.epoch == 2:
                return [Save(), Stop("break", resumable=True)]
            return None

    history, expected = whole()
    assert len(fit(make(), tmp_path / "broken", InValidation())) == 1
    assert tl.Checkpoints(tmp_path / "broken").newest().place == (2, STEPS)
    trainer = make()
    assert repr(fit(trainer, tmp_path / "broken")) == repr(history)
    assert bits(trainer) == expected


OTHERS = {
    "data": ({}, {"data": (X + 1, Y)}, r"was made with data 103 examples, crc32 \w+, not 103 ex"),
    "batch_size": ({}, {"batch_size": 20}, "was made with batch_size 10, not 20"),
    "shuffle": ({}, {"shuffle": False}, "was made with shuffle True, not False"),
    "execution": ({"execution": "xla"}, {}, "was made with execution graph, not xla"),
    "seed": ({"seed": 1}, {}, "was made with seed 0, not 1"),
    "precision": ({"precision": "float64"}, {}, "as float32 .*, not as float64"),
    "scaling": ({"loss_scale": tl.static_loss_scale(2.0)}, {}, "lacks state/loss_scale"),
    "metrics": ({"metrics": ["accuracy"]}, {}, "holds records/auc"),
}


FEW = ("data", "seed", "metrics")


@pytest.mark.parametrize("name", [x if x in FEW else pytest.param(x, marks=SOAK) for x in OTHERS])
def test_other_conditions_are_refused_by_name(name, tmp_path):
    of_trainer, of_fit, message = OTHERS[name]
    fit(make(), tmp_path, Break(4))
    with pytest.raises(ValueError, match=f"^checkpoint epoch_0001_batch_000004 .*{message}"):
        fit(make(**of_trainer), tmp_path, **of_fit)


def test_callbacks_without_their_state_are_refused(tmp_path):
    fit(make(), tmp_path, Break(4))
    with pytest.raises(ValueError, match="lacks callbacks/EarlyStopping-2/best"):
        fit(make(), tmp_path, EarlyStopping("val_loss"))


def test_a_new_run_takes_no_folder_of_another(tmp_path):
    fit(make(), tmp_path, Break(4))
    with pytest.raises(ValueError, match="^checkpoints: .* holds those of another run: take ano"):
        fit(make(), tmp_path, resume=False)


def test_resume_needs_a_folder_and_saving_too():
    with pytest.raises(ValueError, match="^resume needs checkpoints"):
        make().fit((X, Y), resume=True)
    with pytest.raises(ValueError, match="asks for a checkpoint: fit"):
        make().fit((X, Y), callbacks=[tl.callbacks.SaveEvery(steps=1)])
