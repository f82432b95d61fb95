"""A run with all kinds of state that a checkpoint keeps, for test_killed.py to kill and resume.

    python killed_run.py FOLDER PRECISION

It prints a line when training begins, and at its end a line of JSON with a hash of its results.
"""

from __future__ import annotations

import hashlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf

import trainlib as tl
from trainlib.callbacks import Callback, EarlyStopping, JSONLLogger, ReduceLROnPlateau

RNG = np.random.default_rng(0)
X = RNG.integers(0, 255, (500, 12, 12, 1)).astype("uint8")
Y = RNG.integers(0, 5, 500)
VALIDATION = X[:100], RNG.integers(0, 5, 100)


def net(compiled):
    """A net with augmentation, dropout and batch statistics; XLA supports no translations."""
    keras.utils.set_random_seed(0)
    moved = [] if compiled else [keras.layers.RandomTranslation(0.1, 0.1)]
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomFlip("horizontal"),
            *moved,
            keras.layers.GaussianNoise(0.1),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.25),
            keras.layers.Dense(5, activation="softmax"),
        ]
    )


def optimizer():
    """A learning rate in the state, moments, averaged parameters, accumulation."""
    rate = tl.inject_hyperparams(tl.nadam)(2**-7)
    return tl.accumulate(tl.chain(tl.clip_by_global_norm(1.0), rate, tl.ema(0.99)), 3)


class Begun(Callback):
    """Prints a line when training begins."""

    def on_train_begin(self, status):
        print("begun", flush=True)


def main(folder, precision):
    compiled = precision == "mixed_float16"
    trainer = tl.Trainer(
        net(compiled),
        "sparse_categorical_crossentropy",
        optimizer(),
        metrics=["accuracy", "auc"],
        precision=precision,
        execution="xla" if compiled else "graph",
        seconds_per_call=0.01,
    )
    history = trainer.fit(
        (X, Y),
        batch_size=7,
        epochs=8,
        validation_data=VALIDATION,
        callbacks=[
            Begun(),
            ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=1.0),
            EarlyStopping("loss", patience=7, min_delta=1.0, restore_best_weights=True),
            tl.callbacks.SaveBest("val_loss"),
            tl.callbacks.SaveEvery(steps=20, epochs=1),
            JSONLLogger(folder / "metrics.jsonl"),
        ],
        checkpoints=tl.Checkpoints(folder / "checkpoints", resume=True),
    )
    state = hashlib.sha256()
    for x in tf.nest.flatten(trainer.state):
        state.update(x.numpy().tobytes())
    lines = [{k: x for k, x in line.items() if k != "seconds"} for line in history]
    written = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == history
    print(json.dumps({"state": state.hexdigest(), "history": lines}))


if __name__ == "__main__":
    from pathlib import Path

    main(Path(sys.argv[1]), sys.argv[2])
