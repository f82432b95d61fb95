# title: Wide and deep network as a subclass of keras.Model
# figure: test.main_loss <= 0.53 (documents: 0.5188)
# quick: epochs=1, examples=64
"""A wide and deep network of two inputs and two outputs, as a subclass of keras.Model."""

import keras

import trainlib as tl


class WideAndDeep(keras.Model):
    """Columns beside two hidden layers; the second has an auxiliary output."""

    def __init__(self, units=30, activation="relu"):
        super().__init__()
        self.hidden_1 = keras.layers.Dense(units, activation)
        self.hidden_2 = keras.layers.Dense(units, activation)
        self.main = keras.layers.Dense(1)
        self.aux = keras.layers.Dense(1)

    def call(self, inputs):
        wide, deep = inputs
        hidden = self.hidden_2(self.hidden_1(deep))
        return {
            "main": self.main(keras.ops.concatenate([wide, hidden], axis=1)),
            "aux": self.aux(hidden),
        }


def main(seed=0, epochs=10, examples=11_610):
    data = tl.data.load_dataset("california_housing")
    train = data.train.x[:examples], data.train.y[:examples]
    mean, std = train[0].mean(0), train[0].std(0)

    def arrays(x, y):
        x = ((x - mean) / std).clip(-10, 10)
        return (x[:, :5], x[:, 2:]), {"main": y, "aux": y}

    inputs, targets = arrays(*train)
    keras.utils.set_random_seed(seed)
    model = WideAndDeep()
    model([array[:1] for array in inputs])
    trainer = tl.Trainer(
        model,
        {"main": "mse", "aux": "mse"},
        tl.sgd(1e-3),
        loss_weights={"main": 0.9, "aux": 0.1},
        seed=seed,
    )
    trainer.fit((inputs, targets), batch_size=32, epochs=epochs)
    return {"test.main_loss": trainer.evaluate(arrays(*data.test))["main_loss"]}


if __name__ == "__main__":
    print(main())
