"""How far replicas are from one device, for the runs of replica_runs.py."""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf

import trainlib as tl
from trainlib.metrics import Mean
from trainlib.training.collectives import all_reduce
from trainlib.training.replicas import Replicas
from trainlib.training.replicated_model import replicated
from trainlib.training.strategies import mirrored

REPLICAS = int(sys.argv[1])


def empty_states(metrics):
    return {"loss": Mean.empty()} | {name: Mean.empty() for name in metrics}


def spread(variables):
    """The largest difference between the replicas' copies in this process."""
    copies = [v.values for v in tf.nest.flatten(variables)]
    return max(distance(first, x) for first, *others in copies for x in [first, *others])


def distance(a, b):
    """The largest difference, relative to the largest element of the leaf or 1."""
    worst = 0.0
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        x, y = np.asarray(x, "f8"), np.asarray(y, "f8")
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        apart = np.abs(np.where(same, 0, x) - np.where(same, 0, y))
        scale = max(1.0, float(np.max(np.abs(x[np.isfinite(x)]), initial=0)))
        worst = max(worst, float(np.nan_to_num(np.max(apart, initial=0), nan=np.inf)) / scale)
    return worst


def in_order(data, order):
    return tf.nest.map_structure(lambda a: tf.gather(a, order), data)


def compiled(loop):
    return tf.function(loop, autograph=False)


def run_replicas(apply_fn, state, data, order, batch_size, make_step, metrics, strategy=None):
    """The state, the metric states and the spread of the replicas after all batches."""
    devices = Replicas(strategy or mirrored(REPLICAS))
    variables = devices.place(state)
    step = make_step(replicated(apply_fn), all_reduce=all_reduce)
    states = devices.expand(empty_states(metrics))
    size, at = order.shape[0], tf.constant(0, tf.int64)
    data = in_order(data, order)
    rest = size % batch_size
    for rows, stop in ((batch_size, size - rest), (rest, size)):
        if rows and stop > 0:
            loop = compiled(devices.train_loop(step, variables, rows))
            end, last = tf.constant(stop, tf.int64), tf.constant(stop == size)
            states = loop(data, at, end, last, states)
            at = tf.constant(stop, tf.int64)
    values = tf.nest.map_structure(lambda v: v.numpy(), variables)
    return values, devices.total(states), spread(variables)


def run_one(apply_fn, state, data, order, batch_size, make_step, metrics):
    """The state and the metric states of one device."""
    step = tf.function(make_step(apply_fn), autograph=False)
    states = empty_states(metrics)
    size = order.shape[0]
    for at in range(0, size, batch_size):
        batch = in_order(data, order[at : at + batch_size])
        state, new = step(state, batch, tf.constant(at + batch_size >= size))
        states = tl.metrics.merge(states, new)
    return state, states


def compare(apply_fn, params, model_state, optimizer, data, order, batch_size, loss, **options):
    """How far replicas are from one device, and from each other."""
    metrics = {"mean_absolute_error": tl.losses.mean_absolute_error}
    parts = {k: options.pop(k) for k in ("compile_gradients", "compile_update") if k in options}

    def make_step(function, **more):
        more |= parts if more else {}
        config = tl.StepConfig(function, loss, optimizer, metrics=metrics, **options)
        return tl.train_step(config, **more)

    state = tl.init_state(params, model_state, optimizer)
    args = (data, order, batch_size, make_step, metrics)
    one, one_states = run_one(apply_fn, state, *args)
    many, many_states, between = run_replicas(apply_fn, state, *args)
    moved = distance(params, one.params)
    return {
        "params": distance(one.params, many.params),
        "state": distance(one, many),
        "metric_states": distance(one_states, many_states),
        "between": between,
        "moved": moved,
    }
