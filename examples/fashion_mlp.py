# title: MLP on Fashion-MNIST: the first 5,000 images for validation, 30 epochs
# figure: validation.accuracy >= 0.885 (documents: 0.8920)
# figure: test.accuracy >= 0.88 (documents: 0.8837)
# quick: epochs=1, examples=64
"""The first network of most courses, on Fashion-MNIST, with the first 5,000 images held out."""

import keras

import trainlib as tl


def main(seed=0, epochs=30, examples=55_000):
    data = tl.data.load_dataset("fashion_mnist")
    x, y = data.train
    validation = x[:5000], y[:5000]
    train = x[5000:][:examples], y[5000:][:examples]
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(300, "relu"),
            keras.layers.Dense(100, "relu"),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    loss = "sparse_categorical_crossentropy"
    trainer = tl.Trainer(model, loss, tl.sgd(0.01), metrics=["accuracy"], seed=seed)
    history = trainer.fit(train, batch_size=32, epochs=epochs, validation_data=validation)
    return {
        "validation.accuracy": history[-1]["val_accuracy"],
        "test.accuracy": trainer.evaluate(data.test)["accuracy"],
    }


if __name__ == "__main__":
    print(main())
