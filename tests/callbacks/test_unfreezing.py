"""Layers that are frozen at first: beside Keras, resumed, and with the state of optimizers."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.callbacks import StopAfter, Unfreeze
from trainlib.training.checkpoints import flatten_with_paths

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 4)).astype("float32")
Y = X[:, :1] * X[:, 1:2] + 1
SOAK = pytest.mark.soak
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


def test_what_is_frozen_has_no_moments_and_what_is_unfrozen_counts_from_its_first_update(tmp_path):
    """The first step of Adam is the learning rate, whatever the gradient: not 3.2 times as much."""
    trainer, seen = trainer_of(grouped()), []
    hidden = trainer.model.get_layer("hidden")
    before = hidden.get_weights()[0]

    def keep(status):
        seen.append(dict(flatten_with_paths("", status.state().opt_state)))

    fitted(trainer, keep, StopAfter(11), checkpoints=tmp_path / "c")
    seen.append(dict(flatten_with_paths("", trainer.state.opt_state)))
    moments = [{k.split("/")[-2] for k in x if k.endswith("kernel")} for x in seen]
    assert moments == [{"head"}, {"head"}, {"head", "hidden"}]
    own = [[int(x[k]) for k in sorted(x) if k.endswith("/step")] for x in seen]
    assert own == [[5, 5], [10, 10], [1, 11, 11]], "the last of each is that of the whole"
    assert np.abs(hidden.get_weights()[0] - before).max() == pytest.approx(0.005, rel=1e-3)


@pytest.mark.parametrize("batches", [pytest.param(7, marks=SOAK), pytest.param(10, marks=SOAK), 13])
def test_a_run_resumed_across_an_unfreezing_ends_in_the_same_bits(tmp_path, batches):
    """Stopped before, at and after the unfreezing at batch 10."""
    options = {"average": tl.ema(0.9)}
    best = {"monitor": "loss", "restore_best_weights": True, "patience": 9}

    def run(trainer, *callbacks, **more):
        stopping = tl.callbacks.EarlyStopping(**best, stream=io.StringIO())
        return fitted(trainer, stopping, *callbacks, **more)

    whole = trainer_of(grouped(), **options)
    run(whole)
    run(trainer_of(grouped(), **options), StopAfter(batches), checkpoints=tmp_path / "c")
    resumed = trainer_of(grouped(), **options)
    run(resumed, checkpoints=tl.Checkpoints(tmp_path / "c", resume=True))
    ends = [flatten_with_paths("state", x.state) for x in (whole, resumed)]
    assert ends[0].keys() == ends[1].keys()
    for name, x in ends[0].items():
        assert x.numpy().tobytes() == ends[1][name].numpy().tobytes(), name


def test_a_pattern_without_a_layer_is_refused_before_the_first_epoch():
    trainer = trainer_of(tl.sgd(0.1))
    with pytest.raises(ValueError, match="no layer fully matches 'conv'; .* hidden, norm, head"):
        trainer.fit((X, Y), epochs=3, callbacks=[Unfreeze({2: "conv"})])
    assert int(trainer.state.step) == 0
