# title: Perceptron on two kinds of flowers, like iris
# seeds: 0 1 2
# figure: test.accuracy >= 0.99
# quick: epochs=2
"""A perceptron learns to tell two kinds of flowers by the length and the width of their petals."""

import numpy as np

import trainlib as tl


def flowers(rng, size, petal):
    """Return petals [size, 2] of a kind: lengths and widths in cm."""
    return rng.normal(petal, [0.4, 0.15], (size, 2)).astype("float32")


def main(seed=0, epochs=50):
    rng = np.random.default_rng(seed)
    x = np.concatenate([flowers(rng, 150, [1.5, 0.3]), flowers(rng, 150, [4.3, 1.3])])
    y = np.repeat([0.0, 1.0], 150).astype("float32")[:, None]
    order = rng.permutation(300)
    x, y = x[order], y[order]
    model = tl.models.perceptron((2,), 1)
    trainer = tl.Trainer(model, "hinge", tl.sgd(0.1), seed=seed)
    trainer.fit((x[:200], y[:200]), epochs=epochs)
    predicted = trainer.predict(x[200:]) > 0
    return {"test.accuracy": float((predicted == (y[200:] > 0)).mean())}


if __name__ == "__main__":
    print(main())
