"""Clipping: at the bound, at zero, of what is not finite, and descents like those of Keras."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.descents import descent
from helpers.executions import EXECUTIONS, WITHOUT_XLA, graph, soak_except

import trainlib as tl
from trainlib.core.norms import global_norm
from trainlib.verify.compare import difference
from trainlib.verify.problem import make_problem
from trainlib.verify.trajectory import RUNS, run_optimizer

BY_NORM = {"clip_by_norm": tl.clip_by_norm, "clip_by_global_norm": tl.clip_by_global_norm}
CLIPPING = {"clip_by_value": tl.clip_by_value} | BY_NORM
SHAPES = {"scalar": (), "vector": (5,), "matrix": (3, 6), "row": (1, 4), "conv": (2, 3, 4, 5)}


@pytest.mark.parametrize("clipping", [0.02, 0.5])
def test_adaptive_clip_agrees_with_optax(run_optax, clipping):
    problem = make_problem(30, shapes=SHAPES)
    theirs = run_optax(
        lambda optax: optax.chain(optax.adaptive_grad_clip(clipping), optax.sgd(0.1)), problem
    )
    for run in RUNS:
        ours = run_optimizer(
            lambda learning_rate: tl.chain(tl.adaptive_clip(clipping), tl.sgd(0.1)), problem, run
        )
        assert difference(ours, theirs).error < 1e-12


def test_each_unit_is_clipped_by_its_own_weights():
    w = tf.constant([[3.0, 0.0], [4.0, 0.0]])
    g = tf.constant([[30.0, 0.0], [40.0, 1.0]])
    updates, _ = tl.adaptive_clip(0.1, eps=0.5).update(g, (), w)
    np.testing.assert_allclose(updates, [[0.3, 0.0], [0.4, 0.05]], rtol=1e-6)


def test_adaptive_clip_passes_small_gradients_and_shows_bad_ones():
    w, g = tf.constant([3.0, 4.0]), tf.constant([0.01, 0.02])
    np.testing.assert_array_equal(tl.adaptive_clip(0.1).update(g, (), w)[0], g)
    assert np.isnan(tl.adaptive_clip(0.1).update(g * np.nan, (), w)[0]).all()
    with pytest.raises(ValueError, match="clipping must be above 0, got 0"):
        tl.adaptive_clip(0.0)


def clipped(transform, grads, execution="eager", params=None):
    return EXECUTIONS[execution](lambda grads: transform.update(grads, (), params)[0])(grads)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_a_worked_example_has_the_documented_result(execution):
    for dtype, digits in (("float32", 2e-7), ("float64", 5e-9)):
        g = tf.constant([0.9, 100.0], dtype)
        by_value = np.array([0.9, 1.0], dtype)
        np.testing.assert_array_equal(clipped(tl.clip_by_value(1.0), g, execution), by_value)
        for clip in BY_NORM.values():
            np.testing.assert_allclose(
                clipped(clip(1.0), g, execution), [0.00899964, 0.9999595], rtol=0, atol=digits
            )


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_within_the_bound_keep_their_bits(dtype, execution):
    @EXECUTIONS[execution]
    def clip_by_each(grads):
        return [clip(1.0).update(grads, (), None)[0] for clip in CLIPPING.values()]

    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=7) * size for size in (1e-300, 1e-30, 1e-8, 0.01, 0.1)]
    grads = [tf.constant(g, dtype) for g in drawn] + [tf.constant([-0.0, 0.0], dtype)]
    for every in clip_by_each(grads):
        for g, kept in zip(grads, every, strict=True):
            assert kept.numpy().tobytes() == g.numpy().tobytes()


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("clip", BY_NORM.values(), ids=BY_NORM)
def test_a_norm_on_the_bound_stays_and_one_just_above_does_not(clip, execution):
    on, above = [3.0, -4.0], [3.0, -4.0 * (1 + 2.0**-45)]
    for g, expected in ((on, on), (above, on)):
        kept = clipped(clip(5.0), tf.constant(g, tf.float64), execution)
        np.testing.assert_allclose(kept, expected, rtol=2.0**-44)
        assert (kept.numpy().tolist() == g) == (g == on)


@pytest.mark.parametrize("clip", BY_NORM.values(), ids=BY_NORM)
def test_gradients_with_a_norm_on_the_bound_keep_their_bits(clip):
    # g / |g| |g| would differ from g by an ulp in some of these.
    for g in tf.constant(np.random.default_rng(0).normal(size=(20, 5))):
        np.testing.assert_array_equal(clipped(clip(float(global_norm(g))), g), g)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_values_on_the_bound_are_unchanged(execution):
    g = tf.constant([1.1, -1.1, 1.1000001], tf.float64)
    assert clipped(tl.clip_by_value(1.1), g, execution).numpy().tolist() == [1.1, -1.1, 1.1]


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("clip", CLIPPING.values(), ids=CLIPPING)
def test_zeros_stay_zero_beside_others_and_alone(clip, execution):
    grads = {"zero": tf.zeros([2, 2]), "large": tf.constant([30.0, 40.0])}
    kept = clipped(clip(5.0), grads, execution)
    np.testing.assert_array_equal(kept["zero"], np.zeros([2, 2]))
    np.testing.assert_allclose(np.max(kept["large"]), 5 if clip is tl.clip_by_value else 4)
    np.testing.assert_array_equal(clipped(clip(5.0), tf.zeros([3]), execution), [0, 0, 0])


@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_bad_elements_are_clipped_by_value_and_make_their_norm_nan(execution):
    transforms = tl.clip_by_value(2.0), tl.clip_by_norm(8.0), tl.clip_by_global_norm(8.0)

    @EXECUTIONS[execution]
    def clip(grads):
        return [transform.update(grads, (), None)[0] for transform in transforms]

    for bad in (np.inf, -np.inf, np.nan):
        grads = {"bad": tf.constant([bad, 1.0, 0.0]), "good": tf.constant([3.0, -0.5])}
        by_value, of_each, of_all = clip(grads)
        first = bad if np.isnan(bad) else np.sign(bad) * 2
        np.testing.assert_array_equal(by_value["bad"], [first, 1, 0])
        np.testing.assert_array_equal(by_value["good"], [2, -0.5])
        assert np.isnan(of_each["bad"]).all()
        np.testing.assert_array_equal(of_each["good"], grads["good"])
        assert np.isnan(of_all["bad"]).all() and np.isnan(of_all["good"]).all()


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_gradient_whose_squares_overflow_keeps_its_direction(execution):
    # Keras's clipnorm turns it to zeros, its global_clipnorm to NaN; so do PyTorch and Optax.
    grads = [
        tf.constant([large, 0.5 * large, 1.0], dtype)
        for dtype, large in (("float32", 1e30), ("float32", 3e38), ("float64", 1e200))
    ]

    @EXECUTIONS[execution]
    def clip_each(grads):
        clips = [clip(1e-3) for clip in BY_NORM.values()]
        return [clip.update(g, (), None)[0] for clip in clips for g in grads]

    expected = 1e-3 * np.array([2, 1, 0]) / np.sqrt(5)
    for kept in clip_each(grads):
        np.testing.assert_allclose(kept, expected, rtol=1e-6, atol=1e-30)


def test_one_tensor_whose_squares_overflow_scales_the_others_as_well():
    grads = [tf.constant([3e30]), tf.constant([4e30]), None, tf.constant([5e29], tf.float64)]
    kept = clipped(tl.clip_by_global_norm(1.0), grads)
    norm = np.sqrt(9 + 16 + 0.25)
    np.testing.assert_allclose(kept[0], [3 / norm], rtol=1e-6)
    np.testing.assert_allclose(kept[1], [4 / norm], rtol=1e-6)
    assert kept[2] is None
    np.testing.assert_allclose(kept[3], [0.5 / norm], rtol=1e-6)


def test_a_norm_beyond_the_largest_number_is_not_finite():
    for clip in BY_NORM.values():
        assert np.isnan(clipped(clip(1.0), tf.fill([2], 3e38))).all()


@pytest.mark.parametrize("clip", BY_NORM.values(), ids=BY_NORM)
def test_a_bad_step_can_be_skipped_after_clipping(clip):
    params = {"a": tf.ones([2]), "b": tf.ones([2])}
    tx = tl.apply_if_finite(tl.chain(clip(1.0), tl.sgd(0.5)))
    grads = {"a": tf.constant([np.inf, 1.0]), "b": tf.constant([0.5, 0.5])}
    updates, _ = tx.update(grads, tx.init(params), params)
    moved = tl.apply_updates(params, updates)
    np.testing.assert_array_equal(moved["a"], [1, 1])


@pytest.mark.parametrize("clip", [*CLIPPING.values(), tl.adaptive_clip])
def test_gradients_that_are_all_none_are_refused(clip):
    params = {"a": tf.ones([2])}
    with pytest.raises(ValueError, match="every gradient is None"):
        clip(1.0).update({"a": None}, (), params)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_adaptive_clip_of_zeros_and_of_bad_elements(execution):
    w = tf.constant([[3.0, 0.0, 3.0, np.nan, np.inf], [4.0, 0.0, 4.0, 1.0, 1.0]])
    g = tf.constant([[np.inf, 0.0, 3e30, 1.0, 9.0], [1.0, 0.0, 4e30, 1.0, 9.0]])
    kept = clipped(tl.adaptive_clip(0.1), g, execution, params=w).numpy()
    np.testing.assert_allclose(kept[:, 1:3], [[0, 0.3], [0, 0.4]], rtol=1e-6)
    assert np.isnan(kept[:, [0, 3]]).all()
    np.testing.assert_array_equal(kept[:, 4], [9, 9])


def test_adaptive_clip_bounds_tiny_units_by_its_equation():
    # Optax divides by a norm of at least 1e-6, and would leave 1e-9.
    g = tf.constant([0.5e-6], tf.float64)
    kept = clipped(tl.adaptive_clip(1e-3, eps=1e-5), g, params=tf.zeros([1], tf.float64))
    np.testing.assert_allclose(kept, [1e-8], rtol=1e-14)


STEPS = 60
KERAS_SHAPES = {"a": (4, 3), "b": (3,), "c": (2, 5), "d": ()}
BY_ARGUMENT = {
    "clipvalue": tl.clip_by_value,
    "clipnorm": tl.clip_by_norm,
    "global_clipnorm": tl.clip_by_global_norm,
}


def clipping_problem(dtype):
    """Return initial parameters, and noise for each step, of sizes that differ between steps."""
    rng = np.random.default_rng(0)
    params = {k: (0.1 * rng.normal(size=s)).astype(dtype) for k, s in KERAS_SHAPES.items()}
    noise = [
        {k: (size * rng.normal(size=s)).astype(dtype) for k, s in KERAS_SHAPES.items()}
        for size in np.geomspace(0.01, 10, STEPS)
    ]
    return params, noise


@functools.cache
def keras_path(argument, bound, dtype):
    """Return the parameters after each step of Keras's SGD, and the sizes before clipping."""
    params, noise = clipping_problem(dtype)
    variables = {k: keras.Variable(w, dtype=dtype) for k, w in params.items()}
    optimizer = keras.optimizers.SGD(learning_rate=2**-4, **{argument: bound})
    optimizer.build(list(variables.values()))

    @graph
    def step(row):
        grads = [v.value / 2 + row[k] for k, v in variables.items()]
        optimizer.apply(grads, list(variables.values()))
        return grads

    path, sizes = [], []
    for row in noise:
        grads = step({k: tf.constant(x) for k, x in row.items()})
        path.append({k: v.numpy() for k, v in variables.items()})
        norms = [np.linalg.norm(g) for g in grads]
        size_of = {
            "clipvalue": max(np.max(np.abs(g)) for g in grads),
            "clipnorm": max(norms),
            "global_clipnorm": np.linalg.norm(norms),
        }
        sizes.append(size_of[argument])
    return path, sizes


def our_path(argument, bound, dtype, execution):
    params, noise = clipping_problem(dtype)
    tx = tl.chain(BY_ARGUMENT[argument](bound), tl.sgd(2**-4))

    def grads_at(params, row):
        return {k: w / 2 + row[k] for k, w in params.items()}

    return descent(tx, params, noise, grads_at, execution)


# Keras would round a float64 bound of 1.1 to float32 in some of its uses. Float32 errors stay those
# of the roundings of a few steps: each step contracts those before it.
@pytest.mark.parametrize(
    ("dtype", "bound", "tolerance"),
    [
        ("float64", 1.125, 1e-12),
        pytest.param("float32", 1.1, 8 * 2**-23, marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize(
    "execution",
    soak_except("graph"),
)
@pytest.mark.parametrize("argument", BY_ARGUMENT)
def test_a_clipped_descent_agrees_with_keras(argument, dtype, bound, tolerance, execution):
    theirs, sizes = keras_path(argument, bound, dtype)
    assert 5 < sum(size > bound for size in sizes) < STEPS - 5, "clipping must act, not always"
    ours = our_path(argument, bound, dtype, execution)
    # Relative to the path's largest value: a scalar may pass through 0.
    largest = {k: max(np.max(np.abs(row[k])) for row in theirs) for k in KERAS_SHAPES}
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        for k in KERAS_SHAPES:
            error = np.max(np.abs(a[k] - b[k])) / largest[k]
            assert error <= tolerance, f"diverged at step {i} in {k}: {error:.2e}"


def test_a_worked_example_is_exact_in_float64():
    g = tf.constant([0.9, 100.0], tf.float64)
    np.testing.assert_array_equal(clipped(tl.clip_by_value(1.0), g), [0.9, 1.0])
    expected = [0.00899963552214188, 0.999959502460209]
    for clip in (tl.clip_by_norm, tl.clip_by_global_norm):
        np.testing.assert_allclose(clipped(clip(1.0), g), expected, rtol=1e-14)


def test_clip_by_norm_bounds_each_tensor_and_clip_by_global_norm_all_together():
    grads = [tf.constant([3.0, 4.0], tf.float64), tf.constant([0.3, 0.4], tf.float64)]
    each = clipped(tl.clip_by_norm(1.0), grads)
    np.testing.assert_allclose(each, [[0.6, 0.8], [0.3, 0.4]], rtol=1e-15)
    together = clipped(tl.clip_by_global_norm(1.0), grads)
    factor = 1 / np.sqrt(25.25)
    np.testing.assert_allclose(together, factor * np.array(grads), rtol=1e-15)


@pytest.mark.parametrize("clip", BY_ARGUMENT.values())
@pytest.mark.parametrize("g", [[0.0, 0.0], [0.3, -0.4], [3.0, -4.0], [1e-300, 0.0]])
def test_gradients_within_or_on_the_bound_are_unchanged(clip, g):
    # [3, -4] is exactly at the bound; PyTorch would shrink it by 1e-6.
    np.testing.assert_array_equal(clipped(clip(5.0), tf.constant(g, tf.float64)), g)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
def test_a_norm_that_is_not_finite_makes_everything_it_scales_nan(execution):
    # Keras's clipnorm answers [nan, 0, -0] to an infinity: it hides the bad step. Its
    # global_clipnorm does as ours.
    transforms = {argument: clip(1.0) for argument, clip in BY_ARGUMENT.items()}

    @EXECUTIONS[execution]
    def clip(grads):
        return {key: transform.update(grads, (), None)[0] for key, transform in transforms.items()}

    nan = np.full(3, np.nan)
    for bad, by_value in (
        ([np.inf, 1.0, -2.0], [1.0, 1.0, -1.0]),
        ([-np.inf, 0.0, 0.0], [-1.0, 0.0, 0.0]),
        ([np.nan, 1.0, 2.0], [np.nan, 1.0, 1.0]),
    ):
        grads = {"bad": tf.constant(bad, tf.float64), "good": tf.constant([0.5, 0.0, 0.0])}
        kept = clip(grads)
        for argument, (of_bad, of_good) in {
            "clipvalue": (by_value, [0.5, 0.0, 0.0]),
            "clipnorm": (nan, [0.5, 0.0, 0.0]),
            "global_clipnorm": (nan, nan),
        }.items():
            np.testing.assert_array_equal(kept[argument]["bad"], of_bad)
            np.testing.assert_array_equal(kept[argument]["good"], of_good)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_gradients_of_none_stay_none_and_do_not_count(execution):
    @EXECUTIONS[execution]
    def clip_by_each(grads):
        return [clip(1.0).update(grads, (), None)[0] for clip in BY_ARGUMENT.values()]

    expectations = [1, 1], [0.6, 0.8], [0.6, 0.8]
    every = clip_by_each({"a": tf.constant([3.0, 4.0]), "b": None})
    for kept, expected in zip(every, expectations, strict=True):
        assert kept["b"] is None
        np.testing.assert_allclose(kept["a"], expected, rtol=2**-23)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_gradients_are_clipped_in_float32(dtype):
    # In float16 the sum of squares, 250000, is beyond the largest number.
    g = tf.constant([300, 400], dtype)
    for clip, expected in zip(BY_ARGUMENT.values(), ([1, 1], [0.6, 0.8], [0.6, 0.8]), strict=True):
        kept = clipped(clip(1.0), g)
        assert kept.dtype == tf.float32
        np.testing.assert_allclose(kept, expected, rtol=2**-23)


def test_the_repeated_rows_of_a_sparse_gradient_are_summed_before_it_is_clipped():
    g = tf.IndexedSlices(tf.constant([[1.0], [2.0], [4.0]]), tf.constant([0, 1, 1]), [3, 1])
    assert clipped(tl.clip_by_value(5.0), g).numpy().tolist() == [[1], [5], [0]]
    norm = np.sqrt(1 + 6 * 6)
    for clip in (tl.clip_by_norm, tl.clip_by_global_norm):
        np.testing.assert_allclose(
            clipped(clip(1.0), g), np.array([[1], [6], [0]]) / norm, rtol=2**-22
        )


@pytest.mark.parametrize("clip", BY_ARGUMENT.values())
def test_empty_tensors_stay_empty(clip):
    kept = clipped(clip(1.0), {"a": tf.zeros([0, 3]), "b": tf.constant([0.5])})
    assert kept["a"].shape == (0, 3)
    assert kept["b"].numpy() == [0.5]


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("argument", BY_ARGUMENT)
def test_bounds_out_of_range_are_refused(argument, value):
    # To Keras, a bound of 0 or below means no clipping.
    with pytest.raises(ValueError, match=f"^{argument} must be .*above 0, got {value}"):
        BY_ARGUMENT[argument](value)


@pytest.mark.parametrize("value", ["1", True, None, [1.0]])
@pytest.mark.parametrize("argument", BY_ARGUMENT)
def test_bounds_that_are_not_numbers_are_refused(argument, value):
    with pytest.raises(TypeError, match=f"^{argument} must be a number"):
        BY_ARGUMENT[argument](value)
