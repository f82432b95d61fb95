# title: Transfer: 8 classes, then sandals against shirts from 200 images
# seeds: 0 1 2
# figure: reused.accuracy >= 0.985 (documents: 0.9940)
# figure: from_nothing.accuracy >= 0.97 (documents: 0.9705)
# figure: gain >= 0.0
# quick: epochs=1, examples=64
"""A net learns eight classes of Fashion-MNIST; its layers are frozen, then trained, for the others.

gain: accuracy with the reused layers minus that of a net trained from nothing.
"""

import keras
import numpy as np

import trainlib as tl

HIDDEN = (300, 100, 50, 50, 50)


def only(examples, classes):
    """Return the images of some classes, which are numbered again."""
    kept = np.isin(examples.y, classes)
    return examples.x[kept], np.searchsorted(classes, examples.y[kept])


def fit(model, train, seed, **options):
    loss = "sparse_categorical_crossentropy"
    rate = tl.param_rules("hidden.*:learning_rate*=1", tl.sgd, learning_rate=1e-3, strict=False)
    trainer = tl.Trainer(model, loss, rate, metrics=["accuracy"], seed=seed)
    trainer.fit(train, batch_size=32, **options)
    return trainer


def main(seed=0, epochs=20, examples=44_000):
    data = tl.data.load_dataset("fashion_mnist")
    x, y = only(data.train, [0, 1, 2, 3, 4, 7, 8, 9])
    few, test = [part[:200] for part in only(data.train, [5, 6])], only(data.test, [5, 6])
    keras.utils.set_random_seed(seed)
    eight = tl.models.mlp(
        (28, 28), 8, "softmax", [keras.layers.Rescaling(1 / 255)], hidden=HIDDEN, activation="selu"
    )
    fit(eight, (x[:examples], y[:examples]), seed, epochs=epochs)
    fresh = tl.models.mlp(
        (28, 28), 2, "softmax", [keras.layers.Rescaling(1 / 255)], hidden=HIDDEN, activation="selu"
    )
    reused = tl.transfer(eight, 2, "softmax", freeze="hidden.*", seed=seed)
    unfreeze = tl.callbacks.Unfreeze({4: "hidden.*"})
    nothing = fit(fresh, tuple(few), seed, epochs=epochs).evaluate(test)["accuracy"]
    found = fit(reused, tuple(few), seed, epochs=max(epochs, 5), callbacks=[unfreeze])
    accuracy = found.evaluate(test)["accuracy"]
    return {
        "reused.accuracy": accuracy,
        "from_nothing.accuracy": nothing,
        "gain": accuracy - nothing,
    }


if __name__ == "__main__":
    print(main())
