"""Start-up: seconds that new processes take from start to end."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

FIRST_STEP = """
import keras, numpy as np, trainlib as tl
layers = [keras.Input((8,)), keras.layers.Dense(30, "relu"), keras.layers.Dense(1)]
trainer = tl.Trainer(keras.Sequential(layers), "mean_squared_error", tl.sgd())
trainer.fit((np.zeros((32, 8), "float32"), np.zeros((32, 1), "float32")))
"""
KERAS_FIRST_STEP = """
import keras, numpy as np
layers = [keras.Input((8,)), keras.layers.Dense(30, "relu"), keras.layers.Dense(1)]
model = keras.Sequential(layers)
model.compile("sgd", "mse")
model.fit(np.zeros((32, 8), "float32"), np.zeros((32, 1), "float32"), verbose=0)
"""
COMMANDS = {
    "python": ["-c", "pass"],
    "import_trainlib": ["-c", "import trainlib"],
    "import_optimizer": ["-c", "import trainlib as tl; tl.adam"],
    "import_tensorflow": ["-c", "import tensorflow"],
    "import_keras": ["-c", "import keras"],
    "train_help": ["-m", "trainlib.cli.train", "--help"],
    "verify_help": ["-m", "trainlib.cli.verify", "--help"],
    "train": [
        *("-m", "trainlib.cli.train", "--epochs=1", "--execution=graph", "--report=false"),
        *("--dataset=digits", "--run_dir={folder}"),
    ],
    "first_step": ["-c", FIRST_STEP],
    "keras_first_step": ["-c", KERAS_FIRST_STEP],
}
"""Arguments of Python, by name; {folder} stands for a new folder."""


def measure_startup(runs: int) -> dict[str, float]:
    """Return the medians of some runs of each command, taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": "tensorflow"}
    for _ in range(runs):
        for name, arguments in COMMANDS.items():
            with tempfile.TemporaryDirectory() as folder:
                given = [argument.replace("{folder}", folder) for argument in arguments]
                began = time.perf_counter()
                subprocess.run(
                    [sys.executable, *given], env=environment, capture_output=True, check=True
                )
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}
