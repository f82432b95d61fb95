"""Measure how much slower training is while checkpoints are written.

    python benchmarks/saving.py [--seconds=2] [--rounds=5] [--units=300,100] [--epochs=3]

A 784-300-100-10 network with Adam, batch 32, is trained in turns with a checkpoint every few
seconds and without any. The ratio is the median over the rounds of the steps per second without and
with checkpoints. The time includes writing the last checkpoint to its end.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import trainlib as tl

EXAMPLES, BATCH = 60_000, 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="Seconds between two checkpoints."
    )
    parser.add_argument("--rounds", type=int, default=5, help="Rounds of two runs each.")
    parser.add_argument("--units", default="300,100", help="Widths of the hidden layers.")
    parser.add_argument("--epochs", type=int, default=3, help="Epochs of a run.")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (EXAMPLES, 784)).astype("uint8"), rng.integers(0, 10, EXAMPLES)
    layers = [keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Dense(units, "relu") for units in map(int, options.units.split(","))]
    model = keras.Sequential([keras.Input((784,)), *layers, keras.layers.Dense(10, "softmax")])
    trainer = tl.Trainer(model, "sparse_categorical_crossentropy", tl.adam(), execution="xla")
    trainer.fit(data, batch_size=BATCH)  # compiles
    ratios = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            saving = {
                "callbacks": [tl.callbacks.SaveEvery(seconds=options.seconds)],
                "checkpoints": tl.Checkpoints(folder),
            }
            without = rate(trainer, data, options.epochs)
            with_ = rate(trainer, data, options.epochs, **saving)
            newest = Path(folder, str(tl.Checkpoints(folder).positions()[-1]))
            size = sum(file.stat().st_size for file in newest.iterdir())
        ratios.append(without / with_)
        print(f"{without:,.5g} steps/s without, {with_:,.5g} with checkpoints", flush=True)
    print(
        f"a checkpoint of {size / 2**20:.1f} MiB every {options.seconds:g} s: "
        f"{statistics.median(ratios):.3f} times as long"
    )


def rate(
    trainer: tl.Trainer, data: tuple[np.ndarray, np.ndarray], epochs: int, **options: object
) -> float:
    """Return the steps per second of some epochs, until the last checkpoint is written."""
    began = time.perf_counter()
    trainer.fit(data, batch_size=BATCH, epochs=epochs, **options)
    return epochs * (EXAMPLES // BATCH) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
