"""Keras on one device. Each function returns what was got and what is right."""

from __future__ import annotations

import tempfile

import keras
import numpy as np
import tensorflow as tf


def linear(weight: float, **options) -> keras.Model:
    """Return a model of one weight, trained by gradient descent at a rate of 1/8."""
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Constant(weight)
    )
    model = keras.Sequential([keras.Input([1]), layer])
    model.compile(keras.optimizers.SGD(**{"learning_rate": 0.125} | options), "mse")
    return model


def accumulation_and_schedules():
    rates = []

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            rates.append(int(step))
            return 0.1

    optimizer = keras.optimizers.SGD(Schedule(), gradient_accumulation_steps=3)
    w = keras.Variable(1.0)
    optimizer.build([w])
    for _ in range(9):  # three updates
        rates.clear()
        optimizer.apply([tf.constant(1.0)])
    return f"the third update has the rate of step {rates[-1]}", "of step 2"


def accumulation_and_averages():
    def average(steps):
        w = keras.Variable(0.0)
        optimizer = keras.optimizers.SGD(
            1.0, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=steps
        )
        optimizer.build([w])
        for _ in range(3 * (steps or 1)):
            optimizer.apply([tf.constant(-1.0)])
        return float(optimizer._model_variables_moving_average[0].numpy())

    return f"average {average(2):.4g} after 3 updates of 2", f"{average(None):.4g}, as without it"


def accumulation_drops_the_rest():
    w = keras.Variable(0.0)
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=3)
    optimizer.build([w])
    for _ in range(4):
        optimizer.apply([tf.constant(-1.0)])
    return f"4 batches, 3 at a time: w = {w.numpy():g}", "2: the fourth batch counts"


def same_order_in_each_epoch():
    seen = []

    def loss(y_true, y_pred):
        seen.append(int(y_true[0, 0]))
        return tf.reduce_sum(y_pred)

    keras.utils.set_random_seed(0)
    model = linear(0.0)
    model.compile("sgd", loss, run_eagerly=True)
    model.fit(np.ones([8, 1]), np.arange(8.0)[:, None], batch_size=1, epochs=2, verbose=0)
    return f"orders of two epochs: {seen[:8]}, {seen[8:]}", "two orders"


def repeated_batches():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            if self.model.optimizer.iterations == 14:
                raise KeyboardInterrupt

    def fit(*callbacks):
        model = linear(0.0)
        backup = keras.callbacks.BackupAndRestore(folder, save_freq=4)
        x = np.ones([64, 1])
        model.fit(x, x, batch_size=8, epochs=3, verbose=0, callbacks=[backup, *callbacks])
        return int(model.optimizer.iterations)

    folder = tempfile.mkdtemp()
    try:
        fit(Interrupt())
    except KeyboardInterrupt:
        return f"{fit()} steps in 3 epochs of 8 batches, with a break in step 14", "24"
    return "not interrupted", "24"


def early_stopping_forgets():
    class Scripted(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["val_loss"] = 1.0

    def run(folder, epochs):
        stop = keras.callbacks.EarlyStopping(patience=4)
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        model = linear(0.0)
        model.fit(
            np.ones([8, 1]),
            np.ones([8, 1]),
            epochs=epochs,
            verbose=0,
            callbacks=[Scripted(), stop, backup],
        )
        return stop.stopped_epoch + 1

    whole = run(tempfile.mkdtemp(), 20)
    folder = tempfile.mkdtemp()
    run(folder, 3)
    return f"stopped in epoch {run(folder, 20)} after a break", f"in epoch {whole}, as without it"


def plateau_and_schedule():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    model = linear(0.0, learning_rate=schedule)
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1, min_delta=1e9)
    try:
        model.fit(np.ones([8, 1]), np.ones([8, 1]), epochs=4, verbose=0, callbacks=[callback])
    except TypeError as error:
        return f"TypeError: {str(error)[:58]}...", "the schedule, times a factor"
    return "the rate is reduced", "the schedule, times a factor"


def plateau_after_nan():
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=2)
    model = linear(0.0, learning_rate=1.0)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, loss in enumerate([np.nan, 5.0, 4.0, 3.0, 2.0, 1.0]):
        callback.on_epoch_end(epoch, {"loss": loss})
    return f"the loss falls, the rate too: {float(model.optimizer.learning_rate):g}", "1"


def plateau_in_float32():
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=2, min_delta=0)
    model = linear(0.0, learning_rate=1.0)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(5):
        callback.on_epoch_end(epoch, {"loss": 1 - epoch * 1e-9})
    return f"a loss that falls by 1e-9: rate {float(model.optimizer.learning_rate):g}", "1"


def columns_weighted():
    y, p = np.zeros([3, 3, 1]), np.arange(1.0, 10).reshape([3, 3, 1])  # three sequences of three
    loss = keras.losses.MeanAbsoluteError(dtype="float64")
    got = float(loss(y, p, sample_weight=np.array([1.0, 0.0, 0.0])))
    return f"{got:.4g}: the first step of each sequence", "0.6667: the first sequence, or a refusal"


def ignored_relative_step():
    def weight(**options):
        w = keras.Variable([1.0, 2.0])
        optimizer = keras.optimizers.Adafactor(0.5, **options)
        optimizer.build([w])
        for _ in range(20):
            optimizer.apply([tf.ones(2)])
        return w.numpy()[0]

    same = weight(relative_step=False) == weight(relative_step=True)
    return (
        f"relative_step=False gives the same weights: {same}",
        "steps of the rate 0.5, not of 1 / sqrt(t)",
    )


def schedule_free_beta():
    def weight(beta):
        w = keras.Variable([1.0, -2.0])
        optimizer = keras.optimizers.ScheduleFreeAdamW(0.1, beta_1=beta)
        optimizer.build([w])
        for _ in range(10):
            optimizer.apply([w.value + 1.0])
        return w.numpy()

    error = np.abs(weight(0.9) - weight(0.1)).max()
    return f"beta_1 of 0.9 and of 0.1 differ by {error:.1g}", "they differ, as with the JAX backend"


def missed_restarts():
    schedule = keras.optimizers.schedules.CosineDecayRestarts(
        np.float64(1.0), 1, t_mul=np.float64(3.0)
    )
    steps = [(3**k - 1) // 2 for k in range(1, 20)]
    missed = [step for step in steps if float(schedule(step)) < 0.5]
    return (
        f"{len(missed)} of {len(steps)} restarts missed, at {missed[:2]}...",
        "none: the rate is 1 again",
    )


def integer_rate():
    schedule = keras.optimizers.schedules.ExponentialDecay(1, 10, 0.5)
    return f"ExponentialDecay(1, 10, 0.5) at step 5: {float(schedule(5)):g}", "0.7071"


def rounded_hyperparameters():
    w = keras.Variable(1.0, dtype="float64")
    rate = lambda: tf.constant(0.5, tf.float64)  # noqa: E731
    optimizer = keras.optimizers.Adam(rate, epsilon=1e-30)
    optimizer.build([w])
    optimizer.apply([tf.constant(1.0, tf.float64)])
    return f"first step of Adam in float64: {1 - w.numpy():.8f}", "0.5"


def zero_steps_in_bfloat16():
    w = keras.Variable(1.0, dtype="bfloat16")
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([w])
    for _ in range(5):
        optimizer.apply([tf.constant(1.0, tf.bfloat16)])
    return f"5 steps of 0.1 with Adam: w = {float(w.numpy()):g}", "about 0.5"


def overflowing_norm():
    optimizer = keras.optimizers.SGD(clipnorm=1.0)
    (g,) = optimizer._clip_gradients([tf.constant([1e20, 1e20])])
    return f"[1e20, 1e20] clipped to a norm of 1: {g.numpy().tolist()}", "[0.7071, 0.7071]"


def orthogonal_of_one_row():
    penalty = keras.regularizers.OrthogonalRegularizer(mode="rows")
    return (
        f"penalty of one row: {float(penalty(tf.ones([1, 3])))}",
        "0: no other row to be orthogonal to",
    )


def unbounded_loss_scale():
    w = keras.Variable(1.0)
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(), initial_scale=2.0**120, dynamic_growth_steps=1
    )
    optimizer.build([w])
    for _ in range(10):
        optimizer.apply([tf.constant(0.0)])
    return f"the loss scale becomes {float(optimizer.dynamic_scale.numpy())}", "it stays finite"


def average_ignores_constraints():
    w = keras.Variable(1.0, constraint=keras.constraints.NonNeg())
    w.constraint = keras.constraints.NonNeg()
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.0)
    optimizer.build([w])
    optimizer.apply([tf.constant(5.0)])
    average = float(optimizer._model_variables_moving_average[0].numpy())
    return f"average of weights that must not be negative: {average:g}", "0"


def silent_index():
    table = tf.constant([[10.0], [20.0], [30.0]])
    layer = keras.layers.Embedding(3, 1, weights=[table])
    layer.build([None])
    layer.embeddings.assign(table)
    found = tf.function(layer, jit_compile=True)(tf.constant([7]))
    return f"Embedding(3) of index 7 under XLA: {float(found[0, 0])}", "an error"


CASES = {
    "Gradient accumulation: a schedule counts micro-batches": accumulation_and_schedules,
    "Gradient accumulation: an average of weights counts micro-batches": accumulation_and_averages,
    "Gradient accumulation: the last batches are dropped": accumulation_drops_the_rest,
    "After a seed is set, each epoch has the same order": same_order_in_each_epoch,
    "BackupAndRestore: batches are trained twice": repeated_batches,
    "BackupAndRestore: EarlyStopping begins to count again": early_stopping_forgets,
    "ReduceLROnPlateau beside a schedule": plateau_and_schedule,
    "ReduceLROnPlateau after a first loss of NaN": plateau_after_nan,
    "ReduceLROnPlateau compares in float32": plateau_in_float32,
    "Weights of examples become weights of columns": columns_weighted,
    "Adafactor ignores relative_step": ignored_relative_step,
    "ScheduleFreeAdamW ignores beta_1": schedule_free_beta,
    "CosineDecayRestarts misses restarts": missed_restarts,
    "An integer learning rate": integer_rate,
    "Hyperparameters are rounded to float32": rounded_hyperparameters,
    "Adam stands still in bfloat16": zero_steps_in_bfloat16,
    "Clipping a norm that overflows": overflowing_norm,
    "OrthogonalRegularizer of one row": orthogonal_of_one_row,
    "The loss scale has no upper bound": unbounded_loss_scale,
    "The average of the weights ignores constraints": average_ignores_constraints,
    "An index without a row": silent_index,
}
