"""A run that is interrupted and resumed ends in the bits of one that is not."""

from __future__ import annotations

import functools
import math
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.trainers import TrainerPool

import trainlib as tl
from trainlib.callbacks import Callback, EarlyStopping, ReduceLROnPlateau, Save, SaveBest, Stop
from trainlib.training.checkpoints import flatten_with_paths
from trainlib.training.progress import Recovery

SIZE, BATCH, EPOCHS = 103, 10, 6
STEPS = math.ceil(SIZE / BATCH)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, 6)).astype("float32")
Y = RNG.integers(0, 3, SIZE)
VALIDATION = X[:40], RNG.integers(0, 3, 40)
crossentropy = functools.partial(tl.losses.sparse_categorical_crossentropy, from_logits=True)


def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.GaussianNoise(0.1, name="noise"),
            keras.layers.Dense(8, activation="relu", use_bias=False, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.25, name="dropout"),
            keras.layers.Dense(3, use_bias=False, name="outputs"),
        ]
    )


def new_trainer(**options):
    """A trainer with all kinds of state: momentum, averages, accumulation, a rate, schedules."""
    inject = tl.inject_hyperparams
    optimizer = tl.chain(
        inject(tl.clip_by_global_norm)(tl.step_decay(1.0, 5)),
        inject(tl.sgd)(2**-5, momentum=tl.polynomial_decay(0.8, 20, 0.95)),
        tl.ema(0.9),
    )
    defaults = {"execution": "graph", "metrics": ["accuracy", "auc"], "seconds_per_call": 0.005}
    options = defaults | options
    return tl.Trainer(net(), crossentropy, tl.accumulate(optimizer, 3), **options)


POOL = TrainerPool(new_trainer)


@pytest.fixture
def make():
    """`make(execution="graph")`: a trainer in its first state, not always a new one."""
    with POOL.lending() as lend:
        yield lend


class Interrupt(Callback):
    """Interrupts the run after a number of batches, with a checkpoint."""

    def __init__(self, batches):
        self.every = self.batches = batches

    def on_train_batch_end(self, status):
        if status.global_batch >= self.batches:
            return [Save(), Stop("interrupted", resumable=True)]
        return None


def callbacks():
    return [
        ReduceLROnPlateau("val_loss", patience=1, factor=0.5),
        EarlyStopping("val_loss", patience=EPOCHS, restore_best_weights=True),
        SaveBest("val_loss"),
    ]


def fit(trainer, folder, *more, data=(X, Y), resume=True, **options):
    options = {"batch_size": BATCH, "epochs": EPOCHS, "validation_data": VALIDATION} | options
    if not isinstance(data, tuple):
        del options["batch_size"]
    checkpoints = tl.Checkpoints(folder, resume=resume)
    history = trainer.fit(data, callbacks=[*callbacks(), *more], checkpoints=checkpoints, **options)
    return [{k: x for k, x in line.items() if k != "seconds"} for line in history]


def bits(trainer):
    return [x.numpy().tobytes() for x in tf.nest.flatten(trainer.state)]


@functools.cache
def uninterrupted(**options):
    """The history and the bits of an uninterrupted run."""
    with POOL.lending() as lend, tempfile.TemporaryDirectory() as folder:
        trainer = lend(**options)
        return fit(trainer, folder, resume=False), bits(trainer)


SOAK = pytest.mark.soak
OPTIONS = [
    {},
    {"precision": "mixed_float16", "execution": "xla"},
    {"precision": "float64", "execution": "xla_update"},
    {"execution": "xla"},
    {"precision": "mixed_bfloat16"},
]
"""Those of the trainer; `make soak` alone runs all but the first."""


@pytest.mark.parametrize(
    "options",
    [pytest.param(x, marks=[SOAK] if x else [], id=str(x)) for x in OPTIONS],
)
def test_a_run_interrupted_several_times_ends_in_the_same_bits(options, tmp_path, make):
    expected_history, expected = uninterrupted(**options)
    assert len(expected_history) == EPOCHS
    two = make(**options), make(**options)
    # Within an epoch, at its last batch, after its end, twice in one epoch.
    for k, batches in enumerate((4, STEPS, STEPS + 9, 5 * STEPS + 7)):
        history = fit(two[k % 2], tmp_path / "interrupted", Interrupt(batches))
        assert len(history) <= batches // STEPS
    again = fit(two[0], tmp_path / "interrupted")
    assert repr(again) == repr(expected_history)
    assert bits(two[0]) == expected


@pytest.mark.soak
def test_without_the_callbacks_states_the_history_differs(tmp_path, monkeypatch, make):
    history, _ = uninterrupted()
    fit(make(), tmp_path / "interrupted", Interrupt(4 * STEPS + 2))
    monkeypatch.setattr(Recovery, "restore_callbacks", lambda recovery: None)
    assert repr(fit(make(), tmp_path / "interrupted")) != repr(history)


@pytest.mark.soak
def test_saving_changes_nothing(tmp_path, make):
    class SaveAlways(Callback):
        every = 1

        def on_train_batch_end(self, status):
            return Save()

    trainer = make()
    history = fit(trainer, tmp_path / "c", SaveAlways(), epochs=2)
    other = make()
    assert repr(fit(other, tmp_path / "d", epochs=2)) == repr(history)
    assert bits(other) == bits(trainer)


def test_saved_tensors_do_not_change_while_training_continues(tmp_path):
    """The next steps do not write to the tensors of a checkpoint."""
    steps = []

    class SaveAt(Callback):
        every = 3

        def on_train_batch_end(self, status):
            steps.append([x.numpy().tobytes() for x in tf.nest.flatten(status.state())])
            return Save()

    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    trainer = tl.Trainer(model, crossentropy, tl.adam(2**-5), execution="xla")
    checkpoints = tl.Checkpoints(tmp_path, keep=99)
    trainer.fit(
        (X[:99], Y[:99]), batch_size=9, epochs=2, callbacks=[SaveAt()], checkpoints=checkpoints
    )
    loaded = [checkpoints.load(position).values for position in checkpoints.positions()]
    saved = [[values[name].tobytes() for name in names_of(trainer)] for values in loaded]
    assert saved == steps
    assert len(saved) >= 2 * STEPS // 3


def names_of(trainer):
    return list(flatten_with_paths("state", trainer.state))


def batches_of(count, size=BATCH):
    for k in range(count):
        rows = slice(k * size, (k + 1) * size)
        yield X[rows], Y[rows]


@pytest.mark.parametrize("steps", [pytest.param(None, marks=SOAK), 4])
@pytest.mark.parametrize("at", [3, pytest.param(8, marks=SOAK), pytest.param(17, marks=SOAK)])
def test_a_source_of_batches_is_read_up_to_the_checkpoint(steps, at, tmp_path, make):
    def source():
        return batches_of(9)

    options = {"data": source, "steps_per_epoch": steps, "epochs": 3}
    trainer, interrupted, resumed = make(), make(), make()
    history = fit(trainer, tmp_path / "whole", resume=False, **options)
    fit(interrupted, tmp_path / "interrupted", Interrupt(at), **options)
    if at < 3 * (steps or 9):
        assert bits(interrupted) != bits(trainer)
    assert repr(fit(resumed, tmp_path / "interrupted", **options)) == repr(history)
    assert bits(resumed) == bits(trainer)


def test_without_a_checkpoint_a_run_starts_from_the_beginning(tmp_path, make):
    history, expected = uninterrupted()
    trainer = make()
    assert repr(fit(trainer, tmp_path / "none")) == repr(history)
    assert bits(trainer) == expected


def test_resuming_a_finished_run_trains_no_further(tmp_path, make):
    saving = tl.callbacks.SaveEvery(epochs=1)
    first, second = make(), make()
    history = fit(first, tmp_path, saving, epochs=3)
    assert repr(fit(second, tmp_path, saving, epochs=3)) == repr(history)
    assert bits(second) == bits(first)


@pytest.mark.soak
def test_a_run_that_was_stopped_early_stays_stopped(tmp_path, make):
    class Enough(Callback):
        def on_epoch_end(self, status):
            return [Save(), Stop("enough")] if status.epoch == 2 else None

    history = fit(make(), tmp_path / "c", Enough())
    assert len(history) == 2
    assert repr(fit(make(), tmp_path / "c", Enough())) == repr(history)


def test_an_interruption_within_the_validation_repeats_it(tmp_path, make):
    class InValidation(Callback):
        def on_test_batch_end(self, status):
            if status.epoch == 2:
                return [Save(), Stop("interrupted", resumable=True)]
            return None

    history, expected = uninterrupted()
    assert len(fit(make(), tmp_path / "interrupted", InValidation())) == 1
    assert tl.Checkpoints(tmp_path / "interrupted").newest().position == (2, STEPS)
    trainer = make()
    assert repr(fit(trainer, tmp_path / "interrupted")) == repr(history)
    assert bits(trainer) == expected


OTHERS = {
    "data": ({}, {"data": (X + 1, Y)}, r"was made with data 103 examples, crc32 \w+, not 103 ex"),
    "batch_size": ({}, {"batch_size": 20}, "was made with batch_size 10, not 20"),
    "shuffle": ({}, {"shuffle": False}, "was made with shuffle True, not False"),
    "execution": ({"execution": "xla"}, {}, "was made with execution graph, not xla"),
    "seed": ({"seed": 1}, {}, "was made with seed 0, not 1"),
    "precision": ({"precision": "float64"}, {}, "as float32 .*, not as float64"),
    "scaling": ({"loss_scale": tl.static_loss_scale(2.0)}, {}, "lacks state/finite_guard"),
    "metrics": ({"metrics": ["accuracy"]}, {}, "holds metric_states/auc"),
}


FEW = ("data", "seed", "metrics")


@pytest.mark.parametrize("name", [x if x in FEW else pytest.param(x, marks=SOAK) for x in OTHERS])
def test_changed_conditions_are_refused_by_name(name, tmp_path, make):
    of_trainer, of_fit, message = OTHERS[name]
    fit(make(), tmp_path, Interrupt(4))
    with pytest.raises(ValueError, match=f"^checkpoint epoch_0001_batch_000004 .*{message}"):
        fit(make(**of_trainer), tmp_path, **of_fit)


def test_callbacks_without_their_state_are_refused(tmp_path, make):
    fit(make(), tmp_path, Interrupt(4))
    with pytest.raises(ValueError, match="lacks callbacks/EarlyStopping-2/best"):
        fit(make(), tmp_path, EarlyStopping("val_loss"))


def test_a_new_run_refuses_the_folder_of_another(tmp_path, make):
    fit(make(), tmp_path, Interrupt(4))
    with pytest.raises(ValueError, match="^checkpoints: .* holds those of another run: choose"):
        fit(make(), tmp_path, resume=False)


def test_saving_needs_a_folder(make):
    with pytest.raises(ValueError, match="^a callback requests a checkpoint: pass fit"):
        make().fit((X, Y), callbacks=[tl.callbacks.SaveEvery(steps=1)])


class Measured(keras.layers.Layer):
    """A layer that keeps the mean of its inputs as a metric."""

    def __init__(self):
        super().__init__(name="measured")
        self.mean = keras.metrics.Mean(name="mean")

    def call(self, x):
        self.mean.update_state(x)
        return x


class InterruptValidation(Callback):
    """Interrupts the run in the validation of the first epoch, with a checkpoint."""

    def on_test_batch_end(self, status):
        return [Save(), Stop("interrupted", resumable=True)]


def test_metrics_of_layers_are_those_of_the_training_after_an_interrupted_validation(tmp_path):
    def run(**options):
        keras.utils.set_random_seed(0)
        layers = [Measured(), keras.layers.Dense(3, "softmax", name="outputs")]
        model = keras.Sequential([keras.Input((6,)), *layers])
        trainer = tl.Trainer(model, "sparse_categorical_crossentropy", tl.sgd(0.01))
        validation = VALIDATION[0] + 100, VALIDATION[1]
        history = trainer.fit((X, Y), epochs=2, validation_data=validation, **options)
        return [{k: x for k, x in line.items() if k != "seconds"} for line in history]

    run(checkpoints=tmp_path, callbacks=[InterruptValidation()])
    assert run(checkpoints=tl.Checkpoints(tmp_path, resume=True)) == run()
