"""What `model.fit` reaches on the first 10,000 digits of MNIST, seed by seed.

    python benchmarks/digits_by_heart.py        # TRAINLIB_DATA: the folder of the data sets

The net and its training are those of the last command in README.md's table of results.
"""

from __future__ import annotations

import keras

import trainlib as tl


def main() -> None:
    """Prints a line a seed."""
    data = tl.data.load_dataset("mnist", None, None)
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
        print(f"seed {seed}: training accuracy {train:.4f}, test accuracy {test:.4f}", flush=True)


if __name__ == "__main__":
    main()
