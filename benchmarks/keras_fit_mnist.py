"""Accuracy of Keras's `model.fit` on the first 10,000 digits of MNIST, by seed.

    python benchmarks/keras_fit_mnist.py        # $TRAINLIB_DATA: the folder of the data sets

Prints a line for each seed, and all of them as JSON in the last line. The network and its training
are those of the last command in README.md's table of results.
"""

from __future__ import annotations

import argparse
import json

import keras

import trainlib as tl


def main() -> None:
    """Train with each seed and print the accuracies."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    found: dict[str, list[float]] = {"training": [], "test": []}
    data = tl.data.load_dataset("mnist")
    x, y = data.train.x[:10_000] / 255, data.train.y[:10_000]
    for seed in range(4):
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.Dense(690, "relu") for _ in range(3)]
        model = keras.Sequential(
            [keras.Input((28, 28)), keras.layers.Flatten(), *layers]
            + [keras.layers.Dense(10, "softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, batch_size=100, epochs=20, verbose=0)
        train = model.evaluate(x, y, verbose=0)[1]
        test = model.evaluate(data.test.x / 255, data.test.y, verbose=0)[1]
        found["training"].append(round(train, 4))
        found["test"].append(round(test, 4))
        print(f"seed {seed}: training accuracy {train:.4f}, test accuracy {test:.4f}", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
