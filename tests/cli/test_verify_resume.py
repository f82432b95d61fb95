"""`train --verify_resume`: what it compares, and what it says."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from trainlib.cli.verify_resume import Differs, compare
from trainlib.training.checkpoints import Checkpoint, TrainingPosition

PLACE = TrainingPosition(2, 5)


def checkpoint(place=PLACE, loss=1.0, seconds=0.1, **values):
    values = {"w": np.array([1.0, 2.0]), "v": np.zeros(3, np.int64)} | values
    history = [{"epoch": 1, "loss": loss, "seconds": seconds}]
    return Checkpoint(
        place, {f"state/{name}": x for name, x in values.items()}, {"history": history}
    )


def test_the_same_bits_are_the_same():
    compare(checkpoint(n=np.array(np.nan)), checkpoint(n=np.array(np.nan), seconds=9.0))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"w": np.array([1.0, 2.5])}, "state/w differs: 1 of 2 values, by 0.5 at most"),
        ({"w": np.array([1.0, 2.0]) * np.array([1, -1])}, "state/w differs: 1 of 2 values, by 4"),
        ({"v": np.array([0, 0, 7])}, "state/v differs: 1 of 3 values, by 7 at most"),
        ({"u": np.zeros(1)}, "state/u is in one of the two checkpoints alone"),
        (
            {"place": TrainingPosition(2, 6)},
            "the whole run ended at epoch_0002_batch_000005, the resumed one",
        ),
        ({"loss": 2.0}, "the history differs: "),
    ],
)
def test_the_first_difference_is_named(other, message):
    with pytest.raises(Differs, match=f"^{re.escape(message)}"):
        compare(checkpoint(), checkpoint(**other))


IMPURE = """
import keras, numpy as np, tensorflow as tf

class Impure(keras.layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))

def impure(shape, outputs):
    hidden = keras.layers.Dense(4, name="hidden")
    last = keras.layers.Dense(outputs, activation="softmax", name="outputs")
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), hidden, Impure(), last])
"""


@pytest.mark.soak
def test_a_run_is_verified_and_an_impure_one_found(quick, command, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    flags = ("--epochs=9", "--verify_resume", "--verify_steps=5")
    done = quick(*flags, "--dropout=0.5", "--optimizer=nadam")
    assert (done.status, done.err) == (0, "")
    assert "5 + 5 batches came to the same bits as 10: " in done.out
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "impure.py").write_text(IMPURE)
    plain = ("--train_examples=64", "--validation_split=0", "--epochs=9", "--execution=graph")
    done = command("train", *plain, *flags[1:], "--model=impure:impure")
    assert done.status == 1
    assert re.match(r"train: Differs: (records|state)/\S+ differs: \d+ of \d+ values", done.err)
    done = quick(*flags, "--verify_steps=50")
    assert (done.status, done.err) == (
        2,
        "train: the run has too few batches for so many --verify_steps: give fewer\n",
    )
