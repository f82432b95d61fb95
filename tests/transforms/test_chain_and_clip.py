"""Clipped descents are those of Keras, and a chain applies its parts one after another."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

STEPS = 120
SHAPES = {"a": (4, 3), "b": (3,), "c": (2, 5), "d": ()}
CLIPPING = {
    "clipvalue": tl.clip_by_value,
    "clipnorm": tl.clip_by_norm,
    "global_clipnorm": tl.clip_by_global_norm,
}
RUNS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f),
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def update(tx, grads, run="eager"):
    """The updates that a transform without a state makes of gradients."""
    return RUNS[run](lambda grads: tx.update(grads, (), None)[0])(grads)


def problem(dtype):
    """Starting points, and for each step noise, of a size that differs from step to step."""
    rng = np.random.default_rng(0)
    params = {k: rng.normal(size=s).astype(dtype) for k, s in SHAPES.items()}
    noise = [
        {k: (size * rng.normal(size=s)).astype(dtype) for k, s in SHAPES.items()}
        for size in np.geomspace(0.01, 10, STEPS)
    ]
    return params, noise


@functools.cache
def keras_path(argument, bound, dtype):
    """The parameters after each step of Keras's SGD, and the sizes that it held to the bound."""
    params, noise = problem(dtype)
    variables = {k: keras.Variable(w, dtype=dtype) for k, w in params.items()}
    optimizer = keras.optimizers.SGD(learning_rate=2**-4, **{argument: bound})
    path, sizes = [], []
    for row in noise:
        grads = [v.value / 2 + row[k] for k, v in variables.items()]
        optimizer.apply(grads, list(variables.values()))
        path.append({k: v.numpy() for k, v in variables.items()})
        norms = [np.linalg.norm(g) for g in grads]
        size_of = {
            "clipvalue": max(np.max(np.abs(g)) for g in grads),
            "clipnorm": max(norms),
            "global_clipnorm": np.linalg.norm(norms),
        }
        sizes.append(size_of[argument])
    return path, sizes


def our_path(argument, bound, dtype, run):
    params, noise = problem(dtype)
    tx = tl.chain(CLIPPING[argument](bound), tl.sgd(2**-4))

    def step(params, state, row):
        updates, state = tx.update({k: w / 2 + row[k] for k, w in params.items()}, state, params)
        return tl.apply_updates(params, updates), state

    step = RUNS[run](step)
    params = {k: tf.constant(w) for k, w in params.items()}
    state, path = tx.init(params), []
    for row in noise:
        params, state = step(params, state, {k: tf.constant(x) for k, x in row.items()})
        path.append({k: w.numpy() for k, w in params.items()})
    return path


# Keras would round a float64 bound of 1.1 to float32 in some of its uses. Float32 errors stay those
# of the roundings of a few steps: each step contracts those before it.
@pytest.mark.parametrize(
    ("dtype", "bound", "tolerance"), [("float64", 1.125, 1e-12), ("float32", 1.1, 8 * 2**-23)]
)
@pytest.mark.parametrize(
    "run", [x if x == "graph" else pytest.param(x, marks=pytest.mark.soak) for x in RUNS]
)
@pytest.mark.parametrize("argument", CLIPPING)
def test_a_clipped_descent_is_that_of_keras(argument, dtype, bound, tolerance, run):
    theirs, sizes = keras_path(argument, bound, dtype)
    assert 10 < sum(size > bound for size in sizes) < STEPS - 10, "clipping must act, not always"
    ours = our_path(argument, bound, dtype, run)
    # Relative to the path's largest value: a scalar may pass through 0.
    largest = {k: max(np.max(np.abs(row[k])) for row in theirs) for k in SHAPES}
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        for k in SHAPES:
            error = np.max(np.abs(a[k] - b[k])) / largest[k]
            assert error <= tolerance, f"diverged at step {i} in {k}: {error:.2e}"


def test_the_gradient_of_the_documents_is_clipped_as_they_say():
    g = tf.constant([0.9, 100.0], tf.float64)
    np.testing.assert_array_equal(update(tl.clip_by_value(1.0), g), [0.9, 1.0])
    expected = [0.00899963552214188, 0.999959502460209]
    for clip in (tl.clip_by_norm, tl.clip_by_global_norm):
        np.testing.assert_allclose(update(clip(1.0), g), expected, rtol=1e-14)


def test_clip_by_norm_is_of_each_tensor_and_clip_by_global_norm_of_all_together():
    grads = [tf.constant([3.0, 4.0], tf.float64), tf.constant([0.3, 0.4], tf.float64)]
    each = update(tl.clip_by_norm(1.0), grads)
    np.testing.assert_allclose(each, [[0.6, 0.8], [0.3, 0.4]], rtol=1e-15)
    together = update(tl.clip_by_global_norm(1.0), grads)
    factor = 1 / np.sqrt(25.25)
    np.testing.assert_allclose(together, factor * np.array(grads), rtol=1e-15)


@pytest.mark.parametrize("clip", CLIPPING.values())
@pytest.mark.parametrize("g", [[0.0, 0.0], [0.3, -0.4], [3.0, -4.0], [1e-300, 0.0]])
def test_gradients_within_the_bound_stay_as_they_are(clip, g):
    # [3, -4] is exactly at the bound; PyTorch would shrink it by 1e-6.
    np.testing.assert_array_equal(update(clip(5.0), tf.constant(g, tf.float64)), g)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    ("bad", "by_value"),
    [
        ([np.inf, 1.0, -2.0], [1.0, 1.0, -1.0]),
        ([-np.inf, 0.0, 0.0], [-1.0, 0.0, 0.0]),
        ([np.nan, 1.0, 2.0], [np.nan, 1.0, 1.0]),
    ],
)
def test_a_norm_that_is_not_finite_turns_all_that_it_scales_to_nan(bad, by_value, run):
    # Keras's clipnorm answers [nan, 0, -0] to an infinity: it hides the bad step. Its
    # global_clipnorm does as ours.
    nan = np.full(3, np.nan)
    grads = {"bad": tf.constant(bad, tf.float64), "good": tf.constant([0.5, 0.0, 0.0])}
    expected = {
        "clipvalue": (by_value, [0.5, 0.0, 0.0]),
        "clipnorm": (nan, [0.5, 0.0, 0.0]),
        "global_clipnorm": (nan, nan),
    }
    for argument, (of_bad, of_good) in expected.items():
        clipped = update(CLIPPING[argument](1.0), grads, run)
        np.testing.assert_array_equal(clipped["bad"], of_bad)
        np.testing.assert_array_equal(clipped["good"], of_good)


@pytest.mark.parametrize("run", RUNS)
def test_gradients_of_none_stay_none_and_do_not_count(run):
    grads = {"a": tf.constant([3.0, 4.0]), "b": None}
    for clip, expected in zip(CLIPPING.values(), ([1, 1], [0.6, 0.8], [0.6, 0.8]), strict=True):
        clipped = update(clip(1.0), grads, run)
        assert clipped["b"] is None
        np.testing.assert_allclose(clipped["a"], expected, rtol=2**-23)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_gradients_are_clipped_in_float32(dtype):
    # In float16 the sum of squares, 250000, is beyond the largest number.
    g = tf.constant([300, 400], dtype)
    for clip, expected in zip(CLIPPING.values(), ([1, 1], [0.6, 0.8], [0.6, 0.8]), strict=True):
        clipped = update(clip(1.0), g)
        assert clipped.dtype == tf.float32
        np.testing.assert_allclose(clipped, expected, rtol=2**-23)


def test_the_repeated_rows_of_a_sparse_gradient_are_summed_before_it_is_clipped():
    g = tf.IndexedSlices(tf.constant([[1.0], [2.0], [4.0]]), tf.constant([0, 1, 1]), [3, 1])
    assert update(tl.clip_by_value(5.0), g).numpy().tolist() == [[1], [5], [0]]
    norm = np.sqrt(1 + 6 * 6)
    for clip in (tl.clip_by_norm, tl.clip_by_global_norm):
        np.testing.assert_allclose(
            update(clip(1.0), g), np.array([[1], [6], [0]]) / norm, rtol=2**-22
        )


@pytest.mark.parametrize("clip", CLIPPING.values())
def test_empty_tensors_stay_empty(clip):
    clipped = update(clip(1.0), {"a": tf.zeros([0, 3]), "b": tf.constant([0.5])})
    assert clipped["a"].shape == (0, 3)
    assert clipped["b"].numpy() == [0.5]


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("argument", CLIPPING)
def test_bounds_out_of_range_are_refused(argument, value):
    # To Keras, a bound of 0 or below means no clipping.
    with pytest.raises(ValueError, match=f"^{argument} must be .*above 0, got {value}"):
        CLIPPING[argument](value)


@pytest.mark.parametrize("value", ["1", True, None, [1.0]])
@pytest.mark.parametrize("argument", CLIPPING)
def test_bounds_that_are_no_numbers_are_refused(argument, value):
    with pytest.raises(TypeError, match=f"^{argument} must be a number"):
        CLIPPING[argument](value)


def test_a_chain_gives_each_part_the_updates_of_the_one_before():
    params = grads = tf.constant([8.0])
    for parts, expected in {
        (tl.clip_by_value(1.0), tl.sgd(0.5)): -0.5,
        (tl.sgd(0.5), tl.clip_by_value(1.0)): -1.0,
        (tl.sgd(0.5), tl.sgd(0.5), tl.sgd(0.5)): -1.0,
        (tl.chain(tl.clip_by_value(4.0), tl.sgd(0.5)), tl.chain(tl.sgd(0.25))): 0.5,
    }.items():
        tx = tl.chain(*parts)
        updates, _ = tx.update(grads, tx.init(params), params)
        assert updates.numpy() == [expected]


@pytest.mark.parametrize("run", RUNS)
def test_the_state_of_a_chain_is_the_tuple_of_the_states_of_its_parts(run):
    params = grads = {"a": tf.constant([1.0, 2.0])}
    parts = [tl.clip_by_value(1.5), tl.sgd(0.5, momentum=0.5), tl.adam(0.5)]
    tx = tl.chain(*parts)
    states = [part.init(params) for part in parts]
    state = tx.init(params)
    tf.nest.assert_same_structure(state, tuple(states))
    for _ in range(3):
        updates, state = RUNS[run](tx.update)(grads, state, params)
        by_hand = grads
        for i, part in enumerate(parts):
            by_hand, states[i] = part.update(by_hand, states[i], params)
        tf.nest.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-21),
            (updates, state),
            (by_hand, tuple(states)),
        )


def test_a_chain_of_nothing_is_refused():
    with pytest.raises(ValueError, match="chain needs at least one"):
        tl.chain()


@pytest.mark.parametrize("part", [tl.sgd, [tl.sgd()], None])
def test_what_is_no_optimizer_is_refused(part):
    with pytest.raises(TypeError, match="a member of chain must be an Optimizer"):
        tl.chain(tl.clip_by_value(1.0), part)


def test_the_state_of_another_chain_is_refused():
    params = tf.constant([1.0])
    longer = tl.chain(tl.sgd(), tl.sgd())
    with pytest.raises(ValueError, match="a chain of 1 members needs .* got 2"):
        tl.chain(tl.sgd()).update(params, longer.init(params), params)
