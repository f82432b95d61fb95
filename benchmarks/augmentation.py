"""Measure what augmentation costs beside the training steps.

    python benchmarks/augmentation.py [--model=cnn] [--batches=128] [--rounds=3] [--augment=STEPS]

Images have the size of those of Fashion-MNIST and are uint8, in batches of 32. For each chain an
epoch of batches is augmented as training does it; the figure is the processor time that this takes,
over all threads, beside that of the steps of a model on the same batches. It is the least of the
rounds: other programs can only add to it. Training augments ahead of the steps, so that on idle
cores it takes no longer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import trainlib as tl
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.augmentation import Augmenter

BATCH = 32
CHAINS = (
    "flip=horizontal",
    "flip=horizontal,rotation=0.1,zoom=0.1,contrast=0.1",
    "crop=4,flip=horizontal,cutout=8",
    "flip=horizontal,noise=0.05,erasing=0.5",
    "randaugment=2:9",
    "flip=horizontal,mixup=0.2",
    "flip=horizontal,rotation=0.1,zoom=0.1,contrast=0.1,cutmix=1",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="cnn", help="Name of a model.")
    parser.add_argument("--batches", type=int, default=128, help="Batches of an epoch.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds of epochs.")
    parser.add_argument("--augment", default="", help="One chain instead of all.")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    size = BATCH * options.batches
    images = rng.integers(0, 256, (size, 28, 28)).astype("uint8")
    data, order = (images, rng.integers(0, 10, size)), rng.permutation(size)
    adapter, trainer = ArrayAdapter("data", data, BATCH), _trainer(options.model)

    def epoch(augmenter: Augmenter | None = None) -> None:
        chunks = adapter.training(order)
        for chunk in chunks if augmenter is None else augmenter(chunks, adapter, 0, 0):
            tf.nest.flatten(chunk.examples)[0].numpy()

    step = _seconds(lambda: trainer.fit(data, batch_size=BATCH, verbose=0), options.rounds)
    print(f"{options.model}: {1e6 * step / size:.0f} us of processor time per image for a step")
    unchanged = _seconds(epoch, options.rounds)
    for chain in [options.augment] if options.augment else CHAINS:
        augmenter = Augmenter(tl.augmentation.parse_chain(chain))
        cost = _seconds(lambda: epoch(augmenter), options.rounds) - unchanged  # noqa: B023
        print(f"{cost / step:7.1%}  {1e6 * cost / size:6.1f} us/image  {chain}", flush=True)


def _seconds(run: Callable[[], object], rounds: int) -> float:
    """Return the least processor time of some rounds, after one that compiles."""
    run()
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return min(taken)


def _trainer(model: str) -> tl.Trainer:
    """Return a trainer of a new model."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 255)]
    built = tl.models.MODELS[model]((28, 28), 10, "softmax", layers)
    return tl.Trainer(built, "sparse_categorical_crossentropy", tl.adam(), execution="graph")


if __name__ == "__main__":
    main()
