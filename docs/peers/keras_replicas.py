"""Keras on two replicas of the CPU. Each function returns what was got and what is right.

Run each in a process of its own: see `failure_of_two_models`.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def two_replicas() -> tf.distribute.Strategy:
    """Split the CPU into two devices, before TensorFlow has used it."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def clipped_before_the_sum():
    strategy = two_replicas()
    with strategy.scope():
        w = keras.Variable([0.0, 0.0])
        optimizer = keras.optimizers.SGD(1.0, global_clipnorm=1.0)
        optimizer.build([w])

    def step():
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        optimizer.apply([tf.where(first, [100.0, 0.0], [0.0, 3.0])], [w])

    strategy.run(tf.function(step))
    update = -w.numpy()
    return f"update {update.tolist()}, norm {np.linalg.norm(update):.4g}", "(0.9996, 0.03), norm 1"


def dense(units=1, *, batch_norm=False, **options):
    """Return a small compiled model with fixed weights."""
    ones = keras.initializers.Constant(0.5)
    layers = [keras.layers.BatchNormalization()] if batch_norm else []
    layers.append(keras.layers.Dense(units, kernel_initializer=ones))
    model = keras.Sequential([keras.Input([2]), *layers])
    model.compile(keras.optimizers.SGD(0.1, **options), "mse")
    return model


def uneven_last_batch():
    random = np.random.default_rng(0)
    x, y = random.normal(size=[19, 2]), random.normal(size=[19, 1])
    strategy = two_replicas()
    with strategy.scope():
        two = dense()
    one = dense()
    for model in (one, two):  # batches of 16 and 3: the replicas get 8 and 8, then 2 and 1
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    kernels = [model.layers[-1].kernel.numpy() for model in (one, two)]
    error, way = np.abs(kernels[0] - kernels[1]).max(), np.abs(kernels[0] - 0.5).max()
    return f"weights differ by {error:.2g} after a way of {way:.2g}", "0, as on one device"


def empty_replica():
    random = np.random.default_rng(0)
    with two_replicas().scope():
        model = dense(batch_norm=True)
    x, y = random.normal(size=[33, 2]), random.normal(size=[33, 1])
    model.fit(x, y, batch_size=16, verbose=0)
    return f"gamma {model.layers[0].gamma.numpy().tolist()}", "finite numbers"


def uneven_first_batch():
    with two_replicas().scope():
        model = dense()
    try:
        model.fit(np.ones([3, 2]), np.ones([3, 1]), verbose=0)
    except Exception as error:
        return f"{type(error).__name__}", "one step on 3 examples"
    return "one step on 3 examples", "one step on 3 examples"


def accumulation():
    with two_replicas().scope():
        model = dense(gradient_accumulation_steps=2)
    try:
        model.fit(np.ones([8, 2]), np.ones([8, 1]), batch_size=4, verbose=0)
    except Exception as error:
        return f"{type(error).__name__}", "one update"
    return "one update", "one update"


def same_masks():
    strategy = two_replicas()
    with strategy.scope():
        layer = keras.layers.Dropout(0.5, seed=0)
    masks = strategy.run(tf.function(lambda: layer(tf.ones([8]), training=True)))
    first, second = (x.numpy() for x in strategy.experimental_local_results(masks))
    return f"the masks of both replicas are equal: {bool(np.all(first == second))}", "False"


def overflow_on_one_replica():
    strategy = two_replicas()
    with strategy.scope():
        w = keras.Variable(1.0)
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0))
        optimizer.build([w])

    def step():
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        optimizer.apply([tf.where(first, 0.0, np.inf)], [w])

    strategy.run(tf.function(step))
    return f"w = {float(w.numpy())}", "1: a step with an infinite gradient is skipped"


def two_models():
    x, y = np.ones([8, 2]), np.ones([8, 1])
    strategy = two_replicas()
    for units in (1, 3):
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            model = dense(units)
        try:
            model.fit(x, np.repeat(y, units, 1), verbose=0)
        except Exception as error:
            return f"{type(error).__name__}", "both are trained"
    del strategy
    return "both are trained", "both are trained"


def compiled():
    with two_replicas().scope():
        model = dense()
    model.compile("sgd", "mse", jit_compile=True)
    try:
        model.fit(np.ones([8, 2]), np.ones([8, 1]), verbose=0)
    except Exception as error:
        return f"{type(error).__name__}", "one step"
    return "one step", "one step"


CASES = {
    "Gradients are clipped before they are summed": clipped_before_the_sum,
    "A last batch that does not divide": uneven_last_batch,
    "A replica without examples": empty_replica,
    "A first batch that does not divide": uneven_first_batch,
    "Gradient accumulation on replicas": accumulation,
    "Replicas drop the same units": same_masks,
    "A gradient that overflows on the second replica": overflow_on_one_replica,
    "Two models of different size in one process": two_models,
    "XLA on replicas": compiled,
}
