# title: MC dropout: 100 predictions with dropout against one without
# figure: plain.accuracy >= 0.85 (documents: 0.8639)
# figure: mc.accuracy >= 0.85 (documents: 0.8661)
# figure: nll_gain >= 0.0
# quick: epochs=1, examples=64, samples=2
"""A self-normalizing net with alpha dropout, by one prediction without and many with dropout.

nll_gain: by how much the many predictions lower the negative log-likelihood of the test data.
"""

import keras
import numpy as np

import trainlib as tl


def main(seed=0, epochs=20, examples=55_000, samples=100):
    data = tl.data.load_dataset("fashion_mnist")
    x, y = data.train.x[5000:][:examples], data.train.y[5000:][:examples]
    x_test, y_test = data.test
    keras.utils.set_random_seed(seed)
    scale = keras.layers.Normalization(axis=None, mean=x.mean(), variance=x.var())
    model = tl.models.mlp(
        (28, 28), 10, "softmax", [scale], hidden=(300, 100), self_normalizing=True, dropout=0.2
    )
    trainer = tl.Trainer(model, "sparse_categorical_crossentropy", tl.sgd(0.01, 0.9), seed=seed)
    trainer.fit((x, y), epochs=epochs)
    plain, mc = trainer.predict(x_test), tl.mc_predict(trainer, x_test, samples=samples).mean
    rows = np.arange(len(y_test))
    nll = [-float(np.log(p[rows, y_test]).mean()) for p in (plain, mc)]
    return {
        "plain.accuracy": float((plain.argmax(1) == y_test).mean()),
        "mc.accuracy": float((mc.argmax(1) == y_test).mean()),
        "nll_gain": nll[0] - nll[1],
    }


if __name__ == "__main__":
    print(main())
