"""Runs on several replicas and on one device, compared; test_replicas.py starts them.

    python replica_runs.py <replicas> <run> <run> ...

Its last line of output is JSON: for each run its name and what it found, or its error.
"""

from __future__ import annotations

import inspect
import io
import json
import sys
import traceback

import keras
import numpy as np
import tensorflow as tf
from replica_compare import (
    REPLICAS,
    compare,
    compiled,
    distance,
    empty_states,
    run_one,
    run_replicas,
    spread,
)

import trainlib as tl
from trainlib.step.state import Part
from trainlib.training.batch_statistics import synchronize
from trainlib.training.collectives import all_reduce
from trainlib.training.functional_model import functional_from_keras
from trainlib.training.replicas import Replicas
from trainlib.training.replicated_model import replicated
from trainlib.training.strategies import mirrored, multi_worker


def net(params, model_state, x, training):
    """A small dense net."""
    hidden = tf.tanh(x @ params["a"] + params["b"])
    return tl.ModelOutput(hidden @ params["c"] + params["d"], model_state)


def problem(dtype="float64", size=22):
    """Parameters, and data whose weights are unequal and partly 0."""
    rng = np.random.default_rng(3)
    shapes = {"a": (4, 6), "b": (6,), "c": (6, 3), "d": (3,)}
    params = {k: tf.constant(rng.normal(size=s) * 0.5, dtype) for k, s in shapes.items()}
    x, y = rng.normal(size=(size, 4)), rng.normal(size=(size, 3))
    weight = rng.uniform(0.2, 2, size=size) * (rng.uniform(size=size) > 0.2)
    return params, tuple(tf.constant(a, dtype) for a in (x, y, weight))


def epochs(size, count=3):
    """Consecutive epochs, so that batches span two of them; the last batch is partial."""
    rng = np.random.default_rng(5)
    return tf.constant(np.concatenate([rng.permutation(size) for _ in range(count)]))


FEW = ("adam", "prodigy")
"""Element by element, and by sums over all parameters."""


def optimizers():
    """An optimizer of each form."""
    return wrapped(**{name: (tl.registry.OPTIMIZERS[name](), {}) for name in FEW})


def other_optimizers():
    """The other optimizers of the registry, for `make soak`."""
    others = {name: f for name, f in tl.registry.OPTIMIZERS.items() if name not in FEW}
    return wrapped(**{name: (factory(), {}) for name, factory in others.items()})


def wrapped(**cases):
    """Wrapped optimizers; of 5 examples 4 replicas get 2, 2, 1 and none."""
    params, data = problem()
    loss = tl.losses.mean_squared_error
    return {
        name: compare(net, params, (), optimizer, data, epochs(22)[:50], 5, loss, **options)
        for name, (optimizer, options) in cases.items()
    }


def other_transforms():
    """Further transforms and data, for `make soak`."""
    adam, clip, inject = tl.adam(1e-2), tl.clip_by_global_norm, tl.inject_hyperparams
    falling, rising = tl.step_decay(0.1, 3), tl.polynomial_decay(0.5, 10, 0.9)
    results = wrapped(
        clip=(tl.chain(clip(0.1), tl.sgd(0.1)), {}),
        schedules=(tl.chain(inject(clip)(falling), inject(tl.sgd)(0.1, momentum=rising)), {}),
        regularizer=(adam, {"regularizer": tl.l1_l2(1e-2, 1e-2)}),
        ema=(tl.chain(adam, tl.ema(0.9)), {}),
        compiled=(adam, {"compile_gradients": True, "compile_update": True}),
        constrain=(tl.chain(adam, tl.constrain(tl.max_norm(0.7))), {}),
    )
    order, loss = epochs(22)[:50], tl.losses.mean_squared_error
    params, data = problem()
    results["no sample weights"] = compare(net, params, (), adam, data[:2], order, 5, loss)
    of_keras = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    results["mean_with_sample_weight"] = compare(
        net, params, (), tl.sgd(0.1), data, order, 5, tl.loss_from_keras(of_keras)
    )
    results["penalty of the batch"] = compare(
        active_net, params, (), tl.sgd(0.1), data[:2], order, 5, loss
    )
    params, data = problem("float32")
    results["float32"] = compare(net, params, (), adam, data, order, 5, loss)
    return results


def masked_net(params, model_state, x, training):
    """The net with a different mask on each part of a batch."""
    return net(params, model_state, x, training)._replace(mask=x[:, 0] > 0)


def active_net(params, model_state, x, training):
    """The net with a penalty that is a mean over the examples."""
    output = net(params, model_state, x, training)
    return output._replace(penalty=tf.reduce_mean(output.y_pred**2))


class Assigning(keras.layers.Layer):
    """Assigns a variable: a mean of the batch, or a count."""

    def __init__(self, counts):
        super().__init__()
        self.counts = counts

    def build(self, shape):
        self.kept = self.add_weight(shape=(), initializer="zeros", trainable=False, name="kept")

    def call(self, x):
        self.kept.assign(self.kept + 1 if self.counts else tf.reduce_mean(x))
        return x


def refused():
    """What a trainer on replicas says of layers and losses that look over the batch."""
    keras.config.set_dtype_policy("float32")
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("f4")
    found = {}
    for name, counts, loss in (
        ("mean", False, "mean_squared_error"),
        ("count", True, "mean_squared_error"),
        ("whole", True, "dice"),
        ("whole metric", True, "mean_squared_error"),
    ):
        last = keras.layers.Dense(1, "sigmoid")
        model = keras.Sequential([keras.Input((3,)), Assigning(counts), last])
        trainer = tl.Trainer(
            model,
            loss,
            tl.sgd(0.1),
            metrics=[tl.losses.dice] if name == "whole metric" else [],
            strategy="mirrored",
            replicas=REPLICAS,
            execution="graph",
        )
        try:
            trainer.fit((x, np.abs(x[:, :1])), batch_size=4)
            found[name] = float(model.layers[0].kept.numpy())
        except ValueError as error:
            found[name] = str(error)
    params, data = problem()
    order = tf.range(8)
    for name, rows in (("equal", data[:2]), ("weighted", data)):
        try:
            found[name] = compare(
                active_net, params, (), tl.sgd(0.1), rows, order, 4, tl.losses.mean_squared_error
            )["state"]
        except ValueError as error:
            found[name] = str(error).split("ValueError: ")[-1]
    return found


def transforms():
    """Accumulation, weights of 0, masks, means of Keras, and values that are not finite."""
    params, data = problem()
    order = epochs(22)[:50]
    loss = tl.losses.mean_squared_error
    adam = tl.adam(1e-2)
    results = wrapped(
        accumulate=(
            tl.accumulate(tl.chain(tl.clip_by_global_norm(0.5), adam, tl.ema(0.9)), 3),
            {"regularizer": tl.l2(1e-2)},
        ),
    )
    none = (*data[:2], tf.zeros_like(data[2]))
    results["no weight"] = compare(
        net, params, (), tl.sgd(0.1), none, order, 5, loss, regularizer=tl.l2(1e-1)
    )
    x, y, weight = (a.numpy() for a in data)
    x[3, 1], weight[3] = np.inf, 1
    results["not finite"] = compare(
        net, params, (), tl.apply_if_finite(adam), (x, y, weight), order, 5, loss
    )
    results["masks"] = compare(masked_net, params, (), adam, data, order, 5, loss)
    of_keras = tl.loss_from_keras(keras.losses.MeanSquaredError())
    results["sum_over_batch_size"] = compare(net, params, (), tl.sgd(0.1), data, order, 5, of_keras)
    return results


def keras_net(*middle, outputs=3, dtype="float64", input_shape=(4,)):
    """A Keras model, its weights and data for it, far from a mean of 0."""
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(dtype)
    middle = [make() for make in middle]
    layers = [keras.Input(input_shape), keras.layers.Dense(6), *middle]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(outputs)])
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(22, *input_shape)) + 30, rng.normal(size=(22, outputs))
    return model, (tf.constant(x, dtype), tf.constant(y, dtype))


normalize = keras.layers.BatchNormalization


def statistics():
    """Batch normalization on uneven and empty parts, and under masks."""
    keras.config.set_dtype_policy("float64")
    model, data = keras_net(input_shape=(5, 4))
    x, mask = model.inputs[0], keras.layers.Masking()
    hidden = normalize()(model.layers[0](mask(x)))
    out = keras.layers.Dense(3)(keras.layers.Flatten()(hidden))
    padded = data[0].numpy()
    padded[::3, 3:] = 0
    masked = keras.Model(x, out), (tf.constant(padded), data[1])
    return normalized(plain=keras_net(normalize), sequences=masked)


def other_statistics():
    """Further layers of batch normalization, for `make soak`."""
    keras.config.set_dtype_policy("float64")
    known = "renorm" in inspect.signature(normalize).parameters
    renorm = {"renorm": True} if known else {}
    return normalized(
        images=keras_net(lambda: normalize(axis=1), input_shape=(5, 3, 4)),
        twice=keras_net(lambda: normalize(**renorm), keras.layers.ReLU, normalize),
        penalty=keras_net(lambda: normalize(gamma_regularizer=keras.regularizers.L2(0.1))),
        float16=keras_net(lambda: normalize(dtype="mixed_float16"), dtype="float32"),
    )


def normalized(**cases):
    """Models with batch normalization; of 5 examples 4 replicas get 2, 2, 1 and none."""
    results, loss = {}, tl.losses.mean_squared_error
    for name, (model, data) in cases.items():
        synchronize(model)
        pure = functional_from_keras(model)
        results[name] = compare(
            *pure, tl.sgd(1e-4), data, epochs(22)[:50], 5, loss, regularizer=tl.l2(1e-2)
        )
    return results


def drawing(parts):
    """Two runs of two steps: the masks on each replica, the final seeds, their spread."""
    inputs = keras.Input((50,))
    pure = functional_from_keras(keras.Model(inputs, keras.layers.Dropout(0.5)(inputs)), seed=4)
    strategy = mirrored(REPLICAS)
    ones = tf.ones([1, 50])

    def apply_fn(params, model_state, x, training):
        forward = pure.apply_fn({}, model_state, x, training)
        return forward._replace(y_pred=forward.y_pred * params["w"])

    def run():
        state = tl.init_state({"w": tf.ones([50])}, pure.model_state, tl.sgd(0.0))
        variables = Replicas(strategy).place(state)
        shown = tl.Metric(lambda _: None, lambda y, y_pred, weight=None: y_pred[0], None)
        config = tl.StepConfig(
            replicated(apply_fn),
            tl.losses.mean_squared_error,
            tl.sgd(0.0),
            metrics={"mask": shown},
        )
        step = tl.train_step(config, all_reduce=all_reduce, **parts)

        def one():
            state = tf.nest.map_structure(lambda v: v.read_value(), variables)
            state, states = step(state, ((ones, Part(1)), ones))
            tf.nest.map_structure(lambda v, x: v.assign(x), variables, state)
            return states["mask"]

        once = compiled(lambda: strategy.experimental_local_results(strategy.run(one)))
        masks = [[mask.numpy().tolist() for mask in once()] for _ in range(2)]
        return masks, variables

    (first, _), (again, variables) = run(), run()
    draws = [first, again]
    seeds = [v.numpy().tolist() for v in variables.model_state.values()]
    return {"draws": draws, "seeds": seeds, "between": spread(variables)}


def dropout():
    """What replicas draw for equal rows."""
    return drawing({})


def compiled_dropout():
    """The same compiled, for `make soak`."""
    return drawing({"compile_gradients": True})


def evaluated(apply_fn, data, batches, regularizer):
    """The metric states of `eval_loop` over batches (start, stop, rows), and the config."""
    params = problem()[0]
    metrics = {"mean_absolute_error": tl.losses.mean_absolute_error}
    devices = Replicas(mirrored(REPLICAS))
    state = tl.init_state(params, (), tl.sgd())
    config = tl.StepConfig(
        apply_fn, tl.losses.mean_squared_error, metrics=metrics, regularizer=regularizer
    )
    step, variables = devices.eval_step(config), devices.place(state)
    found = devices.expand(empty_states(metrics))
    for start, stop, rows in batches:
        loop = compiled(devices.eval_loop(step, variables, rows))
        ends = (tf.constant(at, tf.int64) for at in (start, stop))
        found = loop(data, *ends, tf.constant(True), found)
    return devices.total(found), tl.eval_step(config), state


def evaluation():
    """Evaluation of 22 examples in batches of 8 and 6, against one batch on one device."""
    data = problem()[1]
    found, step, state = evaluated(net, data, ((0, 16, 8), (16, 22, 6)), tl.l2(0.1))
    return distance(step(state, data), found)


def masked_evaluation():
    """Evaluation under masks of sequences in a batch of 5 and one of 1, by hand, on each.

    The weights of a batch are those of its examples, and its loss is a mean over the steps that
    count: a batch has parts of unequal lengths, one of them of no steps.
    """
    lengths = np.array([4, 1, 2, 3, 0, 1])
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 4, 4)), rng.normal(size=(6, 4, 3))
    mask = np.arange(4) < lengths[:, None]
    x[..., 0] = np.where(mask, 1, -1)

    def apply_fn(params, model_state, x, training):
        output = net(params, model_state, x, training)
        # A penalty that is a mean over the examples, like those of activities in Keras.
        return output._replace(mask=x[..., 0] > 0, penalty=tf.reduce_mean(x[..., 1] ** 2))

    params = {name: value.numpy() for name, value in problem()[0].items()}
    hidden = np.tanh(x @ params["a"] + params["b"])
    squares = np.mean((hidden @ params["c"] + params["d"] - y) ** 2, -1)
    by_hand, weight = 0.0, np.array([1, 0.5, 2, 1, 3, 2])
    for rows in (slice(0, 5), slice(5, 6)):
        counted = mask[rows] * weight[rows, None]
        loss = np.sum(counted * squares[rows]) / np.sum(counted) + np.mean(x[rows, :, 1] ** 2)
        by_hand += loss * np.sum(weight[rows]) / np.sum(weight)
    data = tuple(map(tf.constant, (x, y, weight)))
    found, step, state = evaluated(apply_fn, data, ((0, 5, 5), (5, 6, 1)), None)
    parts = [step(state, tuple(a[at] for a in data)) for at in (slice(0, 5), slice(5, 6))]
    return {
        "by hand": [by_hand, float(found["loss"].compute())],
        "one device": distance(tl.metrics.merge(*parts), found),
    }


def placed():
    """Reading and assigning the variables of a state outside of the replicas."""
    strategy = mirrored(REPLICAS)
    variables = Replicas(strategy).place(tl.init_state({"w": tf.ones([2])}, (), tl.adam()))
    variables.params["w"].assign([3.0, 4.0])
    return {
        "read": variables.params["w"].numpy().tolist(),
        "copies": [v.numpy().tolist() for v in variables.params["w"].values],
        "one strategy": mirrored(REPLICAS) is strategy,
    }


def trainer_of(strategy, precision="float64", optimizer=None, frozen=False, **options):
    keras.utils.set_random_seed(1)
    # A bias in front of batch normalization has gradients that are all rounding.
    hidden = keras.layers.Dense(8, use_bias=False, name="hidden")
    norm = keras.layers.BatchNormalization(name="norm")
    model = keras.Sequential(
        [keras.Input((4,)), hidden, norm, keras.layers.Dense(1, name="outputs")]
    )
    hidden.trainable = norm.trainable = not frozen
    optimizer = optimizer or tl.chain(tl.clip_by_global_norm(0.1), tl.adam(1e-2))
    return tl.Trainer(
        model,
        "mean_squared_error",
        optimizer,
        precision=precision,
        strategy=strategy,
        replicas=REPLICAS if strategy == "mirrored" else None,
        execution="graph",
        **options,
    )


def numbers(history):
    return [{k: x for k, x in line.items() if k != "seconds"} for line in history]


def shifted(x, y, key):
    return x + tf.cast(tl.augmentation.uniform(key, 1), x.dtype), y


def half_of_each(x, other, key):
    share = tf.cast(tl.augmentation.uniform(key, 1), x.dtype)
    return share * x + (1 - share) * other, share[:, 0]


MIXED = tl.augmentation.Augmentation(shifted, "mixed", half_of_each)


def trainers():
    """A trainer with a metric, one whose value is an array, a penalty and augmented examples."""
    of_each = tl.metrics.r2_score(class_aggregation="none")
    metrics = {"mae": tl.metrics.mean_absolute_error, "r2": of_each}
    more = {"metrics": metrics, "regularizer": tl.l2(1e-2), "augment": MIXED}
    return trained(plain=more)


def other_trainers():
    """Trainers with other optimizers, for `make soak`."""
    return trained(
        accumulated={"optimizer": tl.accumulate(tl.adam(1e-2), 3)},
        averaged={
            "optimizer": tl.chain(tl.sgd(1e-2), tl.ema(0.9)),
            "average": tl.swa(4, 3),
            "augment": MIXED,
        },
        unfrozen={"frozen": True},
    )


def trained(**cases):
    """`Trainer.fit`, `evaluate` and `predict` on 22 examples in batches of 5."""
    rng = np.random.default_rng(0)
    x, y, w = (rng.normal(size=(22, n)) for n in (4, 1, 1))
    data = x, y, np.abs(w[:, 0])
    found = {}
    for name, more in cases.items():
        pair = (trainer_of(strategy, **more) for strategy in ("one_device", "mirrored"))
        unfreeze = tl.callbacks.Unfreeze({1: "hidden|norm"}, stream=io.StringIO())
        callbacks = [unfreeze] if more.get("frozen") else []
        found[name] = trained_alike(*pair, data, callbacks)
    return found


def trained_alike(one, many, data, callbacks=()):
    """How far a trainer on replicas is from one on one device after the same calls."""
    before = one.state
    lines = [
        numbers(t.fit(data, batch_size=5, epochs=3, validation_data=data, callbacks=callbacks))
        for t in (one, many)
    ]
    return {
        "state": distance(one.state, many.state),
        "history": distance(*lines),
        "evaluation": distance(*(list(t.evaluate(data).values()) for t in (one, many))),
        "predictions": distance(*(t.predict(data[0]) for t in (one, many))),
        "between": spread(many.context.programs.variables),
        "moved": distance(before.params, {k: one.state.params[k] for k in before.params}),
    }


def outputs_trainer(strategy, execution, masked, optimizer):
    """A trainer of a model with an output for each step, under a mask or not, and one for all."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 3))
    hidden = keras.layers.Masking()(inputs) if masked else inputs
    steps = keras.layers.Dense(1, name="steps")(hidden)
    whole = keras.layers.Dense(1, name="whole")(keras.layers.Flatten()(inputs))
    return tl.Trainer(
        keras.Model(inputs, [steps, whole]),
        ["mean_squared_error", "mean_absolute_error"],
        optimizer,
        loss_weights={"steps": 0.9, "whole": 0.2},
        metrics=[["mean_absolute_error"], {"r2": "r2_score"}],
        regularizer=tl.l2(1e-2),
        precision="float64",
        strategy=strategy,
        replicas=REPLICAS if strategy == "mirrored" else None,
        execution=execution,
    )


def several_outputs():
    """Weights and masks by output."""
    return outputs_alike(("masks and weights", "graph", True, True, tl.adam(1e-2)))


def other_outputs():
    """Further losses by output, for `make soak`."""
    return outputs_alike(
        ("weights by output", "graph", False, True, tl.adam(1e-2)),
        ("masks", "graph", True, None, tl.adam(1e-2)),
        ("compiled", "xla", True, True, tl.adam(1e-2)),
        ("accumulated", "graph", False, False, tl.accumulate(tl.adam(1e-2), 2)),
    )


def outputs_alike(*cases):
    """Models of two outputs, on 22 examples in batches of 5."""
    rng = np.random.default_rng(0)
    x, y, y_2, w, w_2 = (rng.normal(size=(22, *n)) for n in ((4, 3), (4, 1), (1,), (), (4,)))
    x[::2, 2:] = 0
    by_output = {"whole": np.abs(w), "steps": np.abs(w_2)}
    weights = {None: (), True: (by_output,), False: (np.abs(w),)}
    found = {}
    for name, execution, masked, is_by_output, optimizer in cases:
        pair = (
            outputs_trainer(strategy, execution, masked, optimizer)
            for strategy in ("one_device", "mirrored")
        )
        found[name] = trained_alike(*pair, (x, [y, y_2], *weights[is_by_output]))
    return found


def overflow():
    """Gradients that overflow float16 on the last replica only, at the second of five steps."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)).astype("f4"), rng.normal(size=(40, 1)).astype("f4")
    y[15] = 3e4
    ends = {}
    for strategy in ("one_device", "mirrored"):
        trainer = trainer_of(strategy, "mixed_float16", tl.sgd(1e-3))
        results = trainer.fit((x, y), batch_size=8, shuffle=False)[0]
        ends[strategy] = trainer.state, results
    one, many = (ends[strategy][1] for strategy in ("one_device", "mirrored"))
    return {
        "skipped": [one["skipped_steps"], many["skipped_steps"]],
        "overflowed": [one["overflowed"], many["overflowed"]],
        "steps": [one["step"], many["step"]],
        "scales": [one["loss_scale"], many["loss_scale"]],
        "finite": all(np.isfinite(w).all() for w in ends["mirrored"][0].params.values()),
        "params": distance(ends["one_device"][0].params, ends["mirrored"][0].params),
        "between": spread(trainer.context.programs.variables),
    }


def keras_beside():
    """How far `fit` under the same strategy is from `fit` on one device: 19 examples, batch 16."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(19, 4)).astype("f4"), rng.normal(size=(19, 1)).astype("f4")

    def fitted():
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        before = model.get_weights()
        model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
        return before, model.get_weights()

    before, one = fitted()
    with mirrored(REPLICAS).scope():
        many = fitted()[1]
    return {"keras": distance(one, many), "moved": distance(before, one)}


def keras_applied(optimizer, gradients):
    """A weight after one `apply` of Keras with a different gradient on each replica."""
    strategy = mirrored(REPLICAS)
    with strategy.scope():
        weight = keras.Variable(tf.zeros([2]))
        optimizer.build([weight])

    @tf.function
    def step():
        def one():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            optimizer.apply([tf.gather(tf.constant(gradients), replica)], [weight])

        strategy.run(one)

    step()
    return weight.numpy().tolist()


def ours_applied(optimizer, gradients, loss_scale=None):
    """The same of `train_step`, on a loss whose gradient is the example."""

    def model(params, model_state, x, training):
        return tl.ModelOutput(tf.reduce_sum(params["w"] * x, -1), model_state)

    config = tl.StepConfig(replicated(model), lambda _, y: y, optimizer, loss_scale=loss_scale)
    step = tl.train_step(config, all_reduce=all_reduce)
    state = tl.init_state({"w": tf.zeros([2])}, (), optimizer, loss_scale=loss_scale)
    devices = Replicas(mirrored(REPLICAS))
    variables = devices.place(state)
    loop = compiled(devices.train_loop(step, variables, REPLICAS))
    data = tf.constant(gradients), tf.zeros(REPLICAS)
    zero, stop = tf.constant(0, tf.int64), tf.constant(REPLICAS, tf.int64)
    none = devices.expand(empty_states({}))
    loop(data, zero, stop, tf.constant(True), none)
    return variables.params["w"].numpy().tolist()


def overflow_beside():
    """Gradients that are infinite on the second replica only."""
    gradients = [[8.0, 8.0], [np.inf, 8.0]]
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=8.0)
    return {
        "keras": keras_applied(scaled, gradients),
        "ours": ours_applied(tl.sgd(0.5), gradients, tl.dynamic_loss_scale(8.0)),
    }


def clipping_beside():
    """Gradients (100, 0) and (0, 3), clipped to a norm of 1: their mean is (50, 1.5)."""
    gradients = [[100.0, 0.0], [0.0, 3.0]]
    return {
        "keras": keras_applied(keras.optimizers.SGD(1.0, global_clipnorm=1.0), gradients),
        "ours": ours_applied(tl.chain(tl.clip_by_global_norm(1.0), tl.sgd(1.0)), gradients),
    }


def uneven_first_batch():
    """The loss of a first batch of 3 on the replicas, which stops Keras."""
    trainer = trainer_of("mirrored")
    return trainer.fit((np.ones([3, 4]), np.ones([3, 1])), batch_size=16)[0]["loss"]


def calls():
    """The results of a run in calls of one step, and of as many as possible, for `make soak`."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(24, 4)), rng.normal(size=(24, 1))
    results = []
    for seconds in (0.0, 1e9):
        history = trainer_of("mirrored", seconds_per_call=seconds).fit(data, batch_size=2, epochs=3)
        results.append([repr(line["loss"]) for line in history])
    return results


def small():
    """Runs that take little time."""
    runs = evaluation, masked_evaluation, placed, uneven_first_batch
    return {f.__name__: f() for f in runs}


def beside_keras():
    """What Keras does on two replicas, for `make soak`."""
    return {f.__name__: f() for f in (keras_beside, overflow_beside, clipping_beside)}


def worker():
    """A multi-worker run in which this process is one of the workers."""
    strategy = multi_worker()
    params, data = problem()
    optimizer = tl.chain(tl.clip_by_global_norm(0.1), tl.adam(1e-2))

    def make_step(function, **more):
        config = tl.StepConfig(
            function, tl.losses.mean_squared_error, optimizer, regularizer=tl.l2(1e-2)
        )
        return tl.train_step(config, **more)

    state = tl.init_state(params, (), optimizer)
    args = (data, epochs(22)[:50], 7, make_step, ())
    many, states, _ = run_replicas(net, state, *args, strategy=strategy)
    one, one_states = run_one(net, state, *args)
    refused = ""
    try:
        trainer_of("multi_worker").fit([(np.ones([2, 4]), np.ones([2, 1]))])
    except ValueError as error:
        refused = str(error)
    return {
        "refused": refused,
        "replicas": strategy.num_replicas_in_sync,
        "state": distance(one, many),
        "metric_states": distance(one_states, states),
        "moved": distance(params, one.params),
    }


RUNS = {
    f.__name__: f
    for f in (
        optimizers,
        other_optimizers,
        transforms,
        other_transforms,
        statistics,
        other_statistics,
        dropout,
        compiled_dropout,
        small,
        beside_keras,
        calls,
        trainers,
        several_outputs,
        other_outputs,
        other_trainers,
        overflow,
        refused,
        worker,
    )
}


def outcome(name):
    """What a run found, or its error, in Keras's default precision."""
    keras.config.set_dtype_policy("float32")
    try:
        return {"found": RUNS[name]()}
    except Exception:
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    if sys.argv[2:] != ["worker"]:
        mirrored(REPLICAS)
    print(json.dumps({name: outcome(name) for name in sys.argv[2:]}))
