"""Start-up: seconds that new processes take from start to end, and processor seconds."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
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
    "import_both": ["-c", "import tensorflow, keras"],
    "train_help": ["-m", "trainlib.cli.train", "--help"],
    "verify_help": ["-m", "trainlib.cli.verify", "--help"],
    "train_first_step": [
        *("-m", "trainlib.cli.train", "--dataset=digits", "--run_dir={folder}"),
        *("--callbacks=first_step:EndAfterFirstStep", f"--code_path={HERE}"),
    ],
    "train": [
        *("-m", "trainlib.cli.train", "--epochs=1", "--execution=graph", "--report=false"),
        *("--dataset=digits", "--run_dir={folder}"),
    ],
    "first_step": ["-c", FIRST_STEP],
    "keras_first_step": ["-c", KERAS_FIRST_STEP],
}
"""Arguments of Python, by name; {folder} stands for a new folder."""


def measure_startup(runs: int) -> dict[str, dict[str, float]]:
    """Return the medians of some runs of each command, taken in turn.

    Processor seconds, unlike seconds, hardly depend on what else the machine does.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, arguments in COMMANDS.items():
            taken[name].append(_run(arguments))
    return {name: _medians(runs_of) for name, runs_of in taken.items()}


def _medians(runs: list[tuple[float, float]]) -> dict[str, float]:
    """Return the medians of the seconds and of the processor seconds."""
    seconds, processor_seconds = map(statistics.median, zip(*runs, strict=True))
    return {"seconds": seconds, "processor_seconds": processor_seconds}


def _run(arguments: list[str]) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a new process."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": "tensorflow"}
    with tempfile.TemporaryDirectory() as folder:
        given = [argument.replace("{folder}", folder) for argument in arguments]
        began, before = time.perf_counter(), _processor_seconds()
        subprocess.run([sys.executable, *given], env=environment, capture_output=True, check=True)
        return time.perf_counter() - began, _processor_seconds() - before


def _processor_seconds() -> float:
    """Return the processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
