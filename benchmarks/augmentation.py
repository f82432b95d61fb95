"""Measure how much longer a training step takes with augmentation.

    python benchmarks/augmentation.py [--model=cnn] [--batches=200] [--rounds=3] [--augment=STEPS]

A model is trained on images of the size of Fashion-MNIST, uint8, in batches of 32, in turns without
augmentation and with each of some chains. Examples are augmented in a thread that is ahead of the
steps and shares the cores with them. The figure is the median over the rounds of the ratio of the
processor times of an epoch, over all threads: other programs do not count.
"""

from __future__ import annotations

import argparse
import statistics
import time

import keras
import numpy as np

import trainlib as tl

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cnn", help="Name of a model.")
    parser.add_argument("--batches", type=int, default=200, help="Batches of an epoch.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds of epochs.")
    parser.add_argument("--augment", default="", help="One chain instead of all.")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    size = BATCH * options.batches
    data = rng.integers(0, 256, (size, 28, 28)).astype("uint8"), rng.integers(0, 10, size)
    chains = [options.augment] if options.augment else CHAINS
    trainers = {chain: _trainer(options.model, chain) for chain in ("", *chains)}
    seconds: dict[str, list[float]] = {chain: [] for chain in trainers}
    for trainer in trainers.values():
        trainer.fit(data, batch_size=BATCH)  # compiles
    for _ in range(options.rounds):
        for chain, trainer in trainers.items():
            began = time.process_time()
            trainer.fit(data, batch_size=BATCH)
            seconds[chain].append(time.process_time() - began)
    step = statistics.median(seconds[""]) / options.batches
    print(f"{options.model}: {1e3 * step:.2f} ms of processor time a step without augmentation")
    for chain in chains:
        pairs = zip(seconds[chain], seconds[""], strict=True)
        ratio = statistics.median(with_ / without for with_, without in pairs)
        print(f"{ratio - 1:+7.1%}  {(ratio - 1) * step / BATCH * 1e6:6.1f} us/image  {chain}")


def _trainer(model: str, chain: str) -> tl.Trainer:
    """Return a trainer of a new model, with that augmentation."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 255)]
    built = tl.models.MODELS[model]((28, 28), 10, "softmax", layers)
    augment = tl.augmentation.parse_chain(chain) if chain else None
    return tl.Trainer(
        built,
        "sparse_categorical_crossentropy",
        tl.adam(),
        execution="graph",
        augment=augment,
    )


if __name__ == "__main__":
    main()
