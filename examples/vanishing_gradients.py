# title: Vanishing gradients: 20 layers, sigmoid against He and ReLU, ELU, SELU
# figure: sigmoid.gradients <= 1e-6
# figure: relu.gradients >= 0.1
# figure: elu.gradients >= 0.1
# figure: selu.gradients >= 0.1
# figure: selu.spread >= 0.7
# quick: examples=32
"""In 20 layers of sigmoids the gradients vanish; with He and ReLU, ELU or SELU they do not.

gradients: norm of the gradient of the first hidden layer's kernel, divided by that of the last.
spread: standard deviation of the activations of the last hidden layer, divided by the first's.
"""

import keras
import tensorflow as tf

import trainlib as tl


def main(seed=0, examples=1000):
    x, y = tl.data.load_dataset("fashion_mnist").train
    x, y = x[:examples].astype("float32"), y[:examples]
    scale = keras.layers.Normalization(axis=None, mean=x.mean(), variance=x.var())
    figures = {}
    for activation in ("sigmoid", "relu", "elu", "selu"):
        keras.utils.set_random_seed(seed)
        model = tl.models.mlp((28, 28), 10, None, [scale], depth=20, activation=activation)
        with tf.GradientTape() as tape:
            loss = tl.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
            loss = tf.reduce_mean(loss)
        kernels = [model.get_layer(f"hidden_{k}").kernel.value for k in (1, 20)]
        first, last = (tf.norm(gradient) for gradient in tape.gradient(loss, kernels))
        found = tl.callbacks.layer_statistics(model, x)
        spread = found["activation_20"].std / found["activation_1"].std
        figures |= {f"{activation}.gradients": float(first / last)}
        figures |= {f"{activation}.spread": float(spread)}
    return figures


if __name__ == "__main__":
    print(main())
