"""Layers that are frozen at first: beside Keras, resumed, and with the state of optimizers."""

from __future__ import annotations

import io
import shutil

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.callbacks import Callback, SaveEvery, StopAfter, Unfreeze
from trainlib.training.checkpoints import flatten_with_paths

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4)).astype("float32")
Y = X[:, :1] * X[:, 1:2] + 1
BODY = "hidden.*|norm"


def net():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, name="hidden", activation="relu"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1, name="head"),
        ]
    )
    for layer in model.layers[:2]:
        layer.trainable = False
    return model


def trainer_of(optimizer, model=None, **options):
    model = model or net()
    options = {"execution": "graph"} | options
    return tl.Trainer(model, "mean_squared_error", optimizer, **options)


def fitted(trainer, *callbacks, epochs=4, **options):
    unfreeze = Unfreeze({2: BODY}, stream=io.StringIO())
    return trainer.fit(
        (X, Y), batch_size=5, epochs=epochs, callbacks=[unfreeze, *callbacks], **options
    )


def grouped():
    """Adam, with a state of its own for what is unfrozen."""
    rules = f"({BODY})/.*:learning_rate*=0.5"
    return tl.param_rules(rules, tl.adam, learning_rate=0.01, strict=False)


def test_frozen_and_then_unfrozen_training_is_that_of_keras():
    """Keras makes a new optimizer: plain gradient descent has no state that it could lose."""
    theirs, ours = net(), net()
    epochs = {"batch_size": 5, "epochs": 2, "shuffle": False, "verbose": 0}
    expected = []
    for unfrozen in (False, True):
        for layer in theirs.layers[:2]:
            layer.trainable = unfrozen
        theirs.compile(keras.optimizers.SGD(0.05), "mean_squared_error")
        expected += theirs.fit(X, Y, **epochs).history["loss"]
    history = fitted(trainer_of(tl.sgd(0.05), ours), shuffle=False)
    np.testing.assert_allclose([x["loss"] for x in history], expected, rtol=2e-5)
    for ours_, theirs_ in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=2e-5, atol=2e-6)


class Kept(Callback):
    """Keeps the state at some batches."""

    every = 1

    def __init__(self, *batches):
        self.batches, self.found = batches, []

    def on_train_batch_end(self, status):
        if status.global_batch in self.batches:
            self.found.append(status.state())


def run(trainer, *callbacks, **options):
    """Train with the best weights restored; the layers are unfrozen at batch 8."""
    best = {"monitor": "loss", "restore_best_weights": True, "patience": 9}
    stopping = tl.callbacks.EarlyStopping(**best, stream=io.StringIO())
    return fitted(trainer, stopping, *callbacks, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without a break, its states at batches 4, 8 and 9, and its checkpoints."""
    folder, kept = tmp_path_factory.mktemp("runs") / "c", Kept(4, 8, 9)
    trainer = trainer_of(grouped(), average=tl.ema(0.9))
    run(trainer, kept, SaveEvery(epochs=1), checkpoints=tl.Checkpoints(folder, 9))
    return trainer, kept.found, folder


def test_what_is_frozen_has_no_moments_and_what_is_unfrozen_counts_from_its_first_update(whole):
    """The first step of Adam is the learning rate, whatever the gradient: not 3.2 times as much."""
    _, states, _ = whole
    seen = [dict(flatten_with_paths("", x.opt_state)) for x in states]
    moments = [{k.split("/")[-2] for k in x if k.endswith("kernel")} for x in seen]
    assert moments == [{"head"}, {"head"}, {"head", "hidden"}]
    own = [[int(x[k]) for k in sorted(x) if k.endswith("/step")] for x in seen]
    assert own == [[4, 4], [8, 8], [1, 9, 9]], "the last of each is that of the whole"
    frozen, unfrozen = states[1].model_state, states[2].params
    moved = np.abs(unfrozen["hidden/kernel"] - frozen["hidden/kernel"])
    assert moved.max() == pytest.approx(0.005, rel=1e-3)


def assert_resumed(whole, folder):
    """Continue the run from the checkpoints in a folder, and compare all bits."""
    resumed = trainer_of(grouped(), average=tl.ema(0.9))
    run(resumed, checkpoints=tl.Checkpoints(folder, resume=True))
    ends = [flatten_with_paths("state", x.state) for x in (whole, resumed)]
    assert ends[0].keys() == ends[1].keys()
    for name, x in ends[0].items():
        assert x.numpy().tobytes() == ends[1][name].numpy().tobytes(), name


def test_a_run_resumed_after_an_unfreezing_ends_in_the_same_bits(whole, tmp_path):
    trainer, _, folder = whole
    last = "epoch_0003_batch_000000"
    shutil.copytree(folder / last, tmp_path / last)
    assert_resumed(trainer, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("batches", [6, 8, 10])
def test_a_run_stopped_before_at_or_after_an_unfreezing_ends_in_the_same_bits(
    whole, tmp_path, batches
):
    stopped = trainer_of(grouped(), average=tl.ema(0.9))
    run(stopped, StopAfter(batches), checkpoints=tmp_path / "c")
    assert_resumed(whole[0], tmp_path / "c")


def test_a_pattern_without_a_layer_is_refused_before_the_first_epoch():
    trainer = trainer_of(tl.sgd(0.1))
    with pytest.raises(ValueError, match="no layer fully matches 'conv'; .* hidden, norm, head"):
        trainer.fit((X, Y), epochs=3, callbacks=[Unfreeze({2: "conv"})])
    assert int(trainer.state.step) == 0
