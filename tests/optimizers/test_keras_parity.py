"""Each optimizer follows its Keras equivalent over 120 steps, whatever runs it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

STEPS = 120
SHAPES = {"a": (4, 3), "b": (3,), "c": (2, 5), "d": ()}
ADAM = {"beta_1": 0.875, "beta_2": 1 - 2**-10}
CASES = [
    ("sgd", "SGD", {}, {}),
    ("sgd", "SGD", {"momentum": 0.875}, {}),
    ("sgd", "SGD", {"momentum": 0.875, "nesterov": True}, {}),
    ("adagrad", "Adagrad", {}, {"initial_accumulator_value": 0.125}),
    ("rmsprop", "RMSprop", {}, {"rho": 0.875}),
    ("adam", "Adam", {}, ADAM),
    ("adam", "Adam", {"amsgrad": True}, ADAM),
    ("adamw", "AdamW", {"weight_decay": 0.0625}, ADAM),
    ("adamax", "Adamax", {}, ADAM),
    ("nadam", "Nadam", {}, ADAM),
]
RUNS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f),
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def problem(dtype, scale):
    """Starting points, and noise for each step; the gradient is scale (w / 2 + noise)."""
    rng = np.random.default_rng(0)
    params = {k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()}
    noise = [{k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()} for _ in range(STEPS)]
    return params, noise


def keras_run(name, options, dtype, scale):
    params, noise = problem(dtype, scale)
    variables = {k: keras.Variable(w, dtype=dtype) for k, w in params.items()}
    kind = np.float64 if dtype == "float64" else float
    number = {
        k: x if isinstance(x, bool) or k == "momentum" and dtype == "float32" else kind(x)
        for k, x in options.items()
    }
    rate = keras.optimizers.schedules.ExponentialDecay(kind(2**-6), 50, kind(0.5))
    optimizer = getattr(keras.optimizers, name)(learning_rate=rate, **number)
    path = []
    for row in noise:
        grads = [scale * (variables[k].value / 2 + row[k]) for k in params]
        optimizer.apply(grads, list(variables.values()))
        path.append({k: v.numpy() for k, v in variables.items()})
    return path


def our_run(name, options, dtype, scale, run):
    params, noise = problem(dtype, scale)
    rate = tl.exponential_decay(2**-6, 50, 0.5, dtype=dtype)
    tx = getattr(tl, name)(learning_rate=rate, **options)

    def step(params, state, row):
        grads = {k: scale * (params[k] / 2 + row[k]) for k in params}
        updates, state = tx.update(grads, state, params)
        return tl.apply_updates(params, updates), state

    step = RUNS[run](step)
    params = {k: tf.constant(w) for k, w in params.items()}
    state, path = tx.init(params), []
    for row in noise:
        params, state = step(params, state, {k: tf.constant(x) for k, x in row.items()})
        path.append({k: w.numpy() for k, w in params.items()})
    return path


def assert_close(ours, theirs, tolerance):
    """Compares at every step, relative to the path's largest value: a scalar may pass through 0."""
    size = {k: max(np.max(np.abs(row[k])) for row in theirs) for k in theirs[0]}
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        for k in a:
            error = np.max(np.abs(a[k] - b[k])) / size[k]
            assert error <= tolerance, f"diverged at step {i} in {k}: {error:.2e}"


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("scale", "epsilon"), [(1.0, 2**-23), (2**-20, 2**-23), (1.0, 2**-7)])
@pytest.mark.parametrize(("name", "peer", "options", "exact"), CASES)
def test_float64_trajectory_is_that_of_keras(name, peer, options, exact, scale, epsilon, run):
    if name == "sgd" and (scale, epsilon) != (1.0, 2**-23):
        pytest.skip("sgd has no epsilon")
    options = options | exact | ({} if name == "sgd" else {"epsilon": epsilon})
    theirs = keras_run(peer, options, "float64", scale)
    ours = our_run(name, options, "float64", scale, run)
    # Keras rounds Nadam's 0.96 to float32 in one of its two places.
    assert_close(ours, theirs, 1e-7 if name == "nadam" else 1e-12)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("name", "peer", "options", "exact"), CASES)
def test_float32_defaults_follow_keras(name, peer, options, exact, run):
    theirs = keras_run(peer, options, "float32", 1.0)
    assert_close(our_run(name, options, "float32", 1.0, run), theirs, 2e-5)
