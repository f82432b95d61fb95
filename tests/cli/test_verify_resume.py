"""`train --verify_resume`: a run is stopped, resumed and compared."""

from __future__ import annotations

import re
import sys

import pytest

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
    assert (done.status, done.errors) == (0, "")
    assert "5 + 5 batches gave the same bits as 10: " in done.out
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "impure.py").write_text(IMPURE)
    plain = ("--train_examples=64", "--validation_split=0", "--epochs=9", "--execution=graph")
    done = command("train", *plain, *flags[1:], "--model=impure:impure")
    assert done.status == 1
    assert re.match(r"train: (metric_states|state)/\S+ differs: \d+ of \d+ values", done.errors)
    done = quick(*flags, "--verify_steps=50")
    assert (done.status, done.errors) == (
        2,
        "train: the run has too few batches for so many --verify_steps: give fewer\n",
    )
