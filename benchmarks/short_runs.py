"""Time short runs of many kinds of models, compiling included: `model.fit`, and trainlib.

    python benchmarks/short_runs.py --output=short_runs.json
    python benchmarks/short_runs.py --models=gru,embedding --steps=40,400 --rounds=3

A run begins with a built model, trains it with Adam on batches of 32 and ends with its last step;
it traces and compiles as a first run does. Every run has a process of its own, with an empty cache
of choices; the contenders take turns. Ratios are medians over the rounds of Keras's seconds divided
by ours.

keras: `model.fit` as it comes.
auto: `Trainer.fit`, which chooses the execution.
graph, xla, xla_update: the same with this execution. The best of them is what "auto" could choose
at most.
lazy: "auto" with `tl.lazy`, for the model with a large embedding: another algorithm.

Each process makes two runs of one model: one of all the steps, and then one of as many on the same
trainer, without compiling. Their difference is the time to trace and compile; the second gives the
time of a step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

BATCH = 32
CONTENDERS = ("keras", "auto", "graph", "xla", "xla_update", "lazy")
VOCABULARY = {"gru": 5000, "lstm": 5000, "transformer": 5000, "embedding": 200_000}
"""Number of different integers of the inputs; other models take numbers."""
MODELS = (
    *("mlp", "cnn", "separable", "resnet", "wide_deep"),
    *("gru", "lstm", "transformer", "embedding"),
)
MAX_EXAMPLES = 3200
"""Longer runs repeat the examples epoch by epoch."""


class Run(NamedTuple):
    """What a process measured.

    Attributes:
        seconds: of the first run.
        again: seconds of the second run, which compiles nothing.
        execution: the execution of trainlib's; "" for Keras.
    """

    seconds: float
    again: float
    execution: str


def make_model(name: str) -> Any:
    """Return a model of that name with logits of ten classes."""
    import keras

    import trainlib as tl

    if name == "embedding":
        return keras.Sequential(
            [
                keras.Input((20,), dtype="int32"),
                keras.layers.Embedding(VOCABULARY[name], 64),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(10),
            ]
        )
    makers: dict[str, Any] = {
        "mlp": lambda: tl.models.mlp((784,), 10, hidden=(300, 100)),
        "cnn": lambda: tl.models.cnn((28, 28, 1), 10),
        "separable": lambda: tl.models.separable_cnn((28, 28, 1), 10),
        "resnet": lambda: tl.models.resnet((32, 32, 3), 10, depth=8),
        "wide_deep": lambda: tl.models.wide_deep((8,), 10),
        "gru": lambda: _recurrent("gru"),
        "lstm": lambda: _recurrent("lstm"),
        "transformer": lambda: tl.models.transformer(
            (64,), 10, vocabulary=VOCABULARY[name], depth=2, width=64, heads=4
        ),
    }
    return makers[name]()


def _recurrent(cell: str) -> Any:
    """Return a recurrent network over 80 words."""
    import trainlib as tl

    return tl.models.rnn((80,), 10, cell=cell, vocabulary=VOCABULARY[cell], embedding=64)


def run(name: str, contender: str, steps: int) -> Run:
    """Train a model twice in this process and return the seconds."""
    import keras
    import numpy as np

    import trainlib as tl

    keras.utils.set_random_seed(0)
    model = make_model(name)
    examples = min(steps * BATCH, MAX_EXAMPLES)
    epochs = steps * BATCH // examples
    rng = np.random.default_rng(0)
    shape = (examples, *model.input_shape[1:])
    words = VOCABULARY.get(name)
    x = rng.integers(1, words, shape).astype("int32") if words else rng.random(shape, np.float32)
    y = rng.integers(0, 10, examples).astype("int32")
    options = {"batch_size": BATCH, "epochs": epochs}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    began = time.perf_counter()
    if contender == "keras":
        model.compile("adam", loss)

        def fit() -> None:
            model.fit(x, y, verbose=0, **options)
    else:
        lazy = contender == "lazy"
        optimizer = tl.lazy(tl.adam()) if lazy else tl.adam()
        trainer = tl.Trainer(model, loss, optimizer, execution="auto" if lazy else contender)

        def fit() -> None:
            trainer.fit((x, y), **options)

    fit()
    first = time.perf_counter() - began
    began = time.perf_counter()
    fit()
    again = time.perf_counter() - began
    return Run(first, again, "" if contender == "keras" else str(trainer.execution))


def measure(name: str, contender: str, steps: int) -> Run | str:
    """Return what a new process measures; its last line if it failed."""
    with tempfile.TemporaryDirectory() as cache:
        process = subprocess.run(
            [sys.executable, __file__, "--run", name, contender, str(steps)],
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "TRAINLIB_CACHE": cache},
            capture_output=True,
            text=True,
            check=False,
        )
    if process.returncode:
        return (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
    return Run(*json.loads(process.stdout.splitlines()[-1]))


def rows(name: str, steps: int, rounds: list[dict[str, Run]]) -> list[str]:
    """Return the rows of the table for one model and number of steps."""
    found = []
    for contender in CONTENDERS:
        runs = [r[contender] for r in rounds if contender in r]
        if not runs:
            continue
        seconds = statistics.median(r.seconds for r in runs)
        compiling = statistics.median(r.seconds - r.again for r in runs)
        step = 1000 * statistics.median(r.again for r in runs) / steps
        pairs = [r["keras"].seconds / r[contender].seconds for r in rounds if "keras" in r]
        ratio = f"{statistics.median(pairs):.2f}" if pairs else ""
        chosen = contender in ("auto", "lazy")
        shown = f"{contender}: {runs[0].execution}" if chosen else contender
        found.append(
            f"| {name} | {steps:,} | {shown} | {seconds:.2f} | {compiling:.2f} | {step:.2f} "
            f"| {ratio} |"
        )
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS), help="Names, comma-separated.")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="Likewise.")
    parser.add_argument("--steps", default="40,400", help="Lengths of runs in steps.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds of interleaved runs.")
    parser.add_argument("--output", type=Path, help="Write all figures to this file.")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run(*options.run[:2], int(options.run[2]))))
        return
    print("| model | steps | contender | seconds | of them compiling | ms a step | times Keras |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    figures: dict[str, Any] = {}
    for name in options.models.split(","):
        for steps in map(int, options.steps.split(",")):
            rounds: list[dict[str, Run]] = [{} for _ in range(options.rounds)]
            for found in rounds:
                for contender in options.contenders.split(","):
                    if contender == "lazy" and name != "embedding":
                        continue
                    measured = measure(name, contender, steps)
                    if isinstance(measured, Run):
                        found[contender] = measured
                    else:
                        print(f"{name}, {contender}: {measured}", file=sys.stderr)
            print("\n".join(rows(name, steps, rounds)), flush=True)
            figures[f"{name}, {steps} steps"] = rounds
            if options.output:
                options.output.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
