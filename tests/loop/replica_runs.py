"""Runs on several replicas beside one device: each prints one line of JSON, for test_replicas.py.

python replica_runs.py <run> <replicas>
"""

from __future__ import annotations

import json
import sys

import keras
import numpy as np
import tensorflow as tf

import trainlib as tl
from trainlib.loop.batch_statistics import synchronize
from trainlib.loop.replicas import all_reduce, mirrored, place_state, replicated, train_loop
from trainlib.loop.stateless import from_keras
from trainlib.metrics import Mean

REPLICAS = int(sys.argv[2])


def zero_records(metrics):
    return {"loss": Mean.empty()} | {name: Mean.empty() for name in metrics}


def spread(variables):
    """The largest difference between the replicas' copies."""
    return max(
        float(np.max(np.abs(np.asarray(v.values[0], "f8") - np.asarray(copy, "f8")), initial=0))
        for v in tf.nest.flatten(variables)
        for copy in v.values[1:]
    )


def distance(a, b):
    """The largest difference, relative to the largest element of the leaf or 1."""
    worst = 0.0
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        x, y = np.asarray(x, "f8"), np.asarray(y, "f8")
        scale = max(1.0, float(np.max(np.abs(x), initial=0)))
        worst = max(worst, float(np.max(np.abs(x - y), initial=0)) / scale)
    return worst if np.isfinite(worst) else float("inf")


def compiled(loop):
    return tf.function(loop, autograph=False)


def run_replicas(apply_fn, state, data, order, batch_size, make_step, metrics, strategy=None):
    """The state, the records and the difference between replicas after all of the order."""
    strategy = strategy or mirrored(REPLICAS)
    variables = place_state(strategy, state)
    step = make_step(replicated(apply_fn), reduce=all_reduce)
    records = zero_records(metrics)
    size, at = order.shape[0], tf.constant(0, tf.int64)
    rest = size % batch_size
    for rows, stop in ((batch_size, size - rest), (rest, size)):
        if rows and stop > 0:
            loop = compiled(train_loop(strategy, step, variables, rows))
            records = loop(data, order, at, tf.constant(stop, tf.int64), records)
            at = tf.constant(stop, tf.int64)
    return tf.nest.map_structure(lambda v: v.numpy(), variables), records, spread(variables)


def run_one(apply_fn, state, data, order, batch_size, make_step, metrics):
    """The state and the records of one device."""
    step = tf.function(make_step(apply_fn), autograph=False)
    records = zero_records(metrics)
    size = order.shape[0]
    examples = tf.nest.flatten(data)[0].shape[0]
    for at in range(0, size, batch_size):
        rows = order[at : at + batch_size]
        batch = tf.nest.map_structure(lambda a: tf.gather(a, rows), data)  # noqa: B023
        state, new = step(state, batch, tf.constant(at + batch_size >= examples))
        records = tl.metrics.merge(records, new)
    return state, records


def compare(apply_fn, params, model_state, optimizer, data, order, batch_size, loss, **options):
    """How far replicas are from one device, and from each other."""
    metrics = {"mean_absolute_error": tl.losses.mean_absolute_error}
    parts = {k: options.pop(k) for k in ("compile_gradients",) if k in options}

    def make_step(function, **more):
        more |= parts if more else {}
        return tl.train_step(function, loss, optimizer, metrics=metrics, **options, **more)

    state = tl.init_state(params, model_state, optimizer)
    args = (data, order, batch_size, make_step, metrics)
    one, one_records = run_one(apply_fn, state, *args)
    many, many_records, between = run_replicas(apply_fn, state, *args)
    moved = distance(params, one.params)
    return {
        "params": distance(one.params, many.params),
        "state": distance(one, many),
        "records": distance(one_records, many_records),
        "between": between,
        "moved": moved,
    }


def net(params, model_state, x, training):
    """A small dense net."""
    hidden = tf.tanh(x @ params["a"] + params["b"])
    return tl.Forward(hidden @ params["c"] + params["d"], model_state)


def problem(dtype="float64", size=22):
    """Parameters, and data whose weights are unequal and partly 0."""
    rng = np.random.default_rng(3)
    shapes = {"a": (4, 6), "b": (6,), "c": (6, 3), "d": (3,)}
    params = {k: tf.constant(rng.normal(size=s) * 0.5, dtype) for k, s in shapes.items()}
    x, y = rng.normal(size=(size, 4)), rng.normal(size=(size, 3))
    weight = rng.uniform(0.2, 2, size=size) * (rng.uniform(size=size) > 0.2)
    return params, tuple(tf.constant(a, dtype) for a in (x, y, weight))


def epochs(size, count=3):
    """Epochs end to end, so that each has batches that straddle; the last batch is partial."""
    rng = np.random.default_rng(5)
    return tf.constant(np.concatenate([rng.permutation(size) for _ in range(count)]))


def optimizers():
    """Every optimizer of the registry; 7 does not divide evenly, the last batch has one example."""
    params, data = problem()
    order = epochs(22)[:50]
    results = {}
    for name, factory in tl.registry.OPTIMIZERS.items():
        optimizer = factory()
        results[name] = compare(
            net, params, (), optimizer, data, order, 7, tl.losses.mean_squared_error
        )
    return results


def transforms():
    """Clipping, averages, accumulation, regularizers, weights that are all 0, and float32."""
    params, data = problem()
    order = epochs(22)[:50]
    loss = tl.losses.mean_squared_error
    adam = tl.adam(1e-2)
    cases = {
        "clip": (tl.chain(tl.clip_by_global_norm(0.1), tl.sgd(0.1)), {}),
        "regularizer": (adam, {"regularizer": tl.l1_l2(1e-2, 1e-2)}),
        "ema": (tl.chain(adam, tl.ema(0.9)), {}),
        "accumulate": (
            tl.accumulate(tl.chain(tl.clip_by_global_norm(0.5), adam, tl.ema(0.9)), 3),
            {"regularizer": tl.l2(1e-2)},
        ),
        "compiled": (adam, {"compile_gradients": True, "compile_update": True}),
        "constrain": (tl.chain(adam, tl.constrain(tl.max_norm(0.7))), {}),
    }
    results = {
        name: compare(net, params, (), optimizer, data, order, 7, loss, **options)
        for name, (optimizer, options) in cases.items()
    }
    none = (*data[:2], tf.zeros_like(data[2]))
    results["no weight"] = compare(
        net, params, (), tl.sgd(0.1), none, order, 7, loss, regularizer=tl.l2(1e-1)
    )
    results["no sample weights"] = compare(net, params, (), adam, data[:2], order, 7, loss)
    params, data = problem("float32")
    results["float32"] = compare(net, params, (), adam, data, order, 7, loss)
    return results


RUNS = {f.__name__: f for f in (optimizers, transforms)}

if __name__ == "__main__":
    mirrored(REPLICAS)
    print(json.dumps(RUNS[sys.argv[1]]()))
