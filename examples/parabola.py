# title: Dynamic learning rate on a parabola: w -= rate * gradient, rate -= rate / 100
# figure: distance <= 1e-6
# quick: steps=20
"""Gradient descent on (w - 3)^2 with a learning rate that loses a hundredth at each step."""

import tensorflow as tf

import trainlib as tl


def main(seed=0, steps=500):
    rate = tl.exponential_decay(0.1, decay_steps=1, decay_rate=0.99)
    tx = tl.sgd(rate)
    w = tf.constant(10.0, tf.float64)
    state = tx.init(w)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(w)
            loss = tf.square(w - 3.0)
        updates, state = tx.update(tape.gradient(loss, w), state, w)
        w = tl.apply_updates(w, updates)
    return {"distance": abs(float(w) - 3.0)}


if __name__ == "__main__":
    print(main())
