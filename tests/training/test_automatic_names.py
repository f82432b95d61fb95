"""Checkpoints of models whose layers have the names that Keras counts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.callbacks import Callback, SaveEvery
from trainlib.training.automatic_names import automatic_kinds, matching_names

KINDS = frozenset(["dense", "conv2_d"])
X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def test_automatic_names_are_those_of_the_class():
    layers = [keras.layers.Dense(2, name="head"), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((3,)), *layers])
    assert automatic_kinds(model) == {"sequential", "input_layer", "batch_normalization"}


@pytest.mark.parametrize(
    ("there", "here", "names"),
    [
        (["dense/k", "dense_1/k"], ["dense/k", "dense_1/k"], {}),
        (
            ["dense/k", "dense_1/k"],
            ["dense_1/k", "dense_2/k"],
            {"dense": "dense_1", "dense_1": "dense_2"},
        ),
        (
            ["m/dense_9/k", "m/dense_10/k"],
            ["m/dense/k", "m/dense_1/k"],
            {"dense_9": "dense", "dense_10": "dense_1"},
        ),
        (["dense_2/k"], ["dense_3/bias"], {}),
        (["dense_2/k", "dense_3/k"], ["dense/k"], {}),
        (["block_1/k"], ["block_2/k"], {}),
    ],
)
def test_names_that_differ_in_their_numbers_match_in_order(there, here, names):
    assert matching_names(there, here, KINDS) == names


def trained(folder, *units, resume=False, epochs=1, callbacks=()):
    layers = [keras.layers.Dense(n) for n in units]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.set_weights([np.full(w.shape, 0.1 * (i + 1)) for i, w in enumerate(model.get_weights())])
    trainer = tl.Trainer(model, "mse", tl.adam(0.1), execution="graph")
    checkpoints = tl.Checkpoints(folder, resume=resume)
    options = {"callbacks": [SaveEvery(epochs=1), *callbacks], "checkpoints": checkpoints}
    return trainer.fit((X, X[:, :2]), epochs=epochs, **options)


def test_a_model_of_the_same_code_resumes_the_run_of_another(tmp_path):
    trained(tmp_path / "a", 4, 2)
    with pytest.warns(UserWarning, match="has other automatic names of layers, .* as dense_"):
        resumed = trained(tmp_path / "a", 4, 2, resume=True, epochs=3)
    whole = trained(tmp_path / "b", 4, 2, epochs=3)
    assert [x["loss"] for x in resumed] == pytest.approx([x["loss"] for x in whole], rel=1e-6)


class RollBackOnce(Callback):
    """Goes back to the newest checkpoint after the second epoch's batch, once."""

    done = False

    def on_train_batch_end(self, status):
        if status.epoch == 2 and not self.done:
            self.done, self.before = True, status.state().step.numpy()
            return tl.callbacks.RollBack("no")
        return None


def test_a_resumed_run_rolls_back_to_a_checkpoint_of_the_other_model(tmp_path):
    trained(tmp_path, 4, 2)
    back = RollBackOnce()
    with pytest.warns(UserWarning, match="has other automatic names of layers"):
        resumed = trained(tmp_path, 4, 2, resume=True, epochs=3, callbacks=[back])
    assert back.before == 2
    assert [x["step"] for x in resumed] == [1, 1, 2]  # the step of epoch 2 is left out


def test_a_model_of_other_layers_does_not_resume_it(tmp_path):
    trained(tmp_path, 4, 2)
    with pytest.raises(ValueError, match="holds state/.* as float32 .*, not as"):
        trained(tmp_path, 5, 2, resume=True)
    with pytest.raises(ValueError, match="it is of another run, or of a model whose layers had"):
        trained(tmp_path, 4, 4, 2, resume=True)
