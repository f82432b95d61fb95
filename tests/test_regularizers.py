"""Penalties, and descents in which their gradients act, are those of Keras."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

STEPS = 120
SHAPES = {"a": (4, 3), "b": (3,), "c": (2, 5), "d": ()}
CASES = {
    "l1": ("l1", "L1", {}),
    "l2": ("l2", "L2", {}),
    "l1_l2": ("l1_l2", "L1L2", {"l1": 0.1, "l2": 0.2}),
}
RUNS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f),
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def problem(dtype):
    """Starting points, and noise for each step; the loss is w^2 / 4 + noise w + penalty."""
    rng = np.random.default_rng(0)
    params = {k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()}
    noise = [{k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()} for _ in range(STEPS)]
    return params, noise


def keras_regularizer(peer, options):
    """A penalty of Keras whose factors are exact: its constructors round them to float32."""
    penalty = getattr(keras.regularizers, peer)(**options)
    for name in ("l1", "l2"):
        if hasattr(penalty, name):
            default = 0.0 if peer == "L1L2" else 0.01
            setattr(penalty, name, np.float64(options.get(name, default)))
    return penalty


@functools.cache
def keras_path(case, dtype):
    """The penalty and the parameters after each step of Keras's SGD."""
    _, peer, options = CASES[case]
    params, noise = problem(dtype)
    variables = {k: keras.Variable(w, dtype=dtype) for k, w in params.items()}
    penalty = keras_regularizer(peer, options)
    optimizer = keras.optimizers.SGD(learning_rate=2**-4)
    optimizer.build(list(variables.values()))

    @tf.function
    def step(row):
        with tf.GradientTape() as tape:
            total = sum(penalty(v.value) for v in variables.values())
        slopes = tape.gradient(total, {k: v.value for k, v in variables.items()})
        grads = [v.value / 2 + row[k] + slopes[k] for k, v in variables.items()]
        optimizer.apply(grads)
        return total

    path = []
    for row in noise:
        total = step({k: tf.constant(x) for k, x in row.items()})
        path.append({k: v.numpy() for k, v in variables.items()} | {"penalty": total.numpy()})
    return path


def our_path(case, dtype, run):
    name, _, options = CASES[case]
    params, noise = problem(dtype)
    penalty, tx = getattr(tl, name)(**options), tl.sgd(2**-4)

    def step(params, state, row):
        with tf.GradientTape() as tape:
            tape.watch(params)
            total = penalty(params)
        slopes = tape.gradient(total, params)
        grads = {k: w / 2 + row[k] + slopes[k] for k, w in params.items()}
        updates, state = tx.update(grads, state, params)
        return tl.apply_updates(params, updates), state, total

    step = RUNS[run](step)
    params = {k: tf.constant(w) for k, w in params.items()}
    state, path = tx.init(params), []
    for row in noise:
        params, state, total = step(params, state, {k: tf.constant(x) for k, x in row.items()})
        path.append({k: w.numpy() for k, w in params.items()} | {"penalty": total.numpy()})
    return path


def assert_close(ours, theirs, tolerance):
    """Compares at every step, relative to the path's largest value: a scalar may pass through 0."""
    size = {k: max(np.max(np.abs(row[k])) for row in theirs) for k in theirs[0]}
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        for k in b:
            error = np.max(np.abs(a[k] - b[k])) / size[k]
            assert error <= tolerance, f"diverged at step {i} in {k}: {error:.2e}"


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("case", CASES)
def test_a_float64_descent_is_that_of_keras(case, run):
    assert_close(our_path(case, "float64", run), keras_path(case, "float64"), 1e-12)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("case", CASES)
def test_a_float32_descent_follows_keras(case, run):
    # Each step rounds the parameters once and contracts the errors of the steps before it.
    assert_close(our_path(case, "float32", run), keras_path(case, "float32"), 8 * 2**-23)


@pytest.mark.parametrize("run", RUNS)
def test_the_slope_of_l1_is_0_where_a_weight_is_0(run):
    @RUNS[run]
    def slope(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            penalty = tl.l1(0.5)(w)
        return tape.gradient(penalty, w)

    assert slope(tf.constant([0.0, -0.0, 2.0, -1e-30])).numpy().tolist() == [0, 0, 0.5, -0.5]


def test_there_is_no_half_in_l2_and_a_structure_is_summed():
    params = {"a": [tf.constant([3.0, -4.0])], "b": (tf.Variable(2.0),)}
    assert tl.l1(0.5)(params) == 4.5
    assert tl.l2(0.5)(params) == 14.5
    assert tl.l1_l2(0.5, 0.5)(params) == 19.0


def test_the_defaults_are_those_of_keras():
    w = tf.constant([3.0, -4.0])
    for ours, theirs in ((tl.l1(), "L1"), (tl.l2(), "L2"), (tl.l1_l2(), "L1L2")):
        np.testing.assert_array_equal(ours(w), getattr(keras.regularizers, theirs)()(w))


@pytest.mark.parametrize("factors", [{}, {"l1": 0.5}, {"l2": 0.5}])
@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["float32", "float64", "float16"], "float64"),
        (["float64"], "float64"),
        (["bfloat16", "float16"], "float32"),
        ([], "float32"),
    ],
)
def test_the_penalty_is_in_the_widest_dtype_of_the_parameters(dtypes, expected, factors):
    penalty = tl.l1_l2(**factors)([tf.constant(1, dtype) for dtype in dtypes])
    assert (penalty.shape, penalty.dtype) == ((), tf.as_dtype(expected))
    assert penalty == sum(factors.values()) * len(dtypes)


def test_low_precision_is_summed_in_float32():
    # In float16 the sum of squares overflows; in bfloat16 the sum of ones stops at 256.
    assert tl.l2(1.0)(tf.fill([4], tf.constant(300, tf.float16))) == 360000
    assert tl.l1(1.0)(tf.ones([1000], tf.bfloat16)) == 1000


@pytest.mark.parametrize("value", [-1, -1e-9, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("name", "argument"), [("l1", "l1"), ("l2", "l2"), ("l1_l2", "l1"), ("l1_l2", "l2")]
)
def test_factors_out_of_range_are_refused(name, argument, value):
    with pytest.raises(ValueError, match=f"^{argument} must be .*, got {value}"):
        getattr(tl, name)(**{argument: value})


@pytest.mark.parametrize("value", ["0.1", True, None, [0.1]])
@pytest.mark.parametrize(
    ("name", "argument"), [("l1", "l1"), ("l2", "l2"), ("l1_l2", "l1"), ("l1_l2", "l2")]
)
def test_factors_that_are_no_numbers_are_refused(name, argument, value):
    with pytest.raises(TypeError, match=f"^{argument} must be a number"):
        getattr(tl, name)(**{argument: value})


def test_integer_parameters_are_refused():
    with pytest.raises(TypeError, match="expected floating tensors, got one of dtype int32"):
        tl.l2()({"a": tf.constant([1, 2])})
