"""What clipping does at the bound, at zero, and with what is not finite; `adaptive_clip`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.core.norms import global_norm
from trainlib.verify.compare import difference
from trainlib.verify.problem import make_problem
from trainlib.verify.trajectory import RUNS, run_optimizer

RUNNING = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f),
    "xla": lambda f: tf.function(f, jit_compile=True),
}
BY_NORM = {"clip_by_norm": tl.clip_by_norm, "clip_by_global_norm": tl.clip_by_global_norm}
CLIPPING = {"clip_by_value": tl.clip_by_value} | BY_NORM
SHAPES = {"scalar": (), "vector": (5,), "matrix": (3, 6), "row": (1, 4), "conv": (2, 3, 4, 5)}


@pytest.mark.parametrize("clipping", [0.02, 0.5])
def test_adaptive_clip_agrees_with_optax(run_optax, clipping):
    problem = make_problem(60, shapes=SHAPES)
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


def test_small_gradients_pass_and_bad_ones_show():
    w, g = tf.constant([3.0, 4.0]), tf.constant([0.01, 0.02])
    np.testing.assert_array_equal(tl.adaptive_clip(0.1).update(g, (), w)[0], g)
    assert np.isnan(tl.adaptive_clip(0.1).update(g * np.nan, (), w)[0]).all()
    with pytest.raises(ValueError, match="clipping must be above 0, got 0"):
        tl.adaptive_clip(0.0)


def clipped(transform, grads, run="eager", params=None):
    return RUNNING[run](lambda grads: transform.update(grads, (), params)[0])(grads)


@pytest.mark.parametrize("run", RUNS)
def test_the_gradient_of_the_documents_is_clipped_as_they_print_it(run):
    for dtype, digits in (("float32", 2e-7), ("float64", 5e-9)):
        g = tf.constant([0.9, 100.0], dtype)
        by_value = np.array([0.9, 1.0], dtype)
        np.testing.assert_array_equal(clipped(tl.clip_by_value(1.0), g, run), by_value)
        for clip in BY_NORM.values():
            np.testing.assert_allclose(
                clipped(clip(1.0), g, run), [0.00899964, 0.9999595], rtol=0, atol=digits
            )


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("clip", CLIPPING.values(), ids=CLIPPING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_within_the_bound_stays_to_the_bit(clip, dtype, run):
    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=7) * size for size in (1e-300, 1e-30, 1e-8, 0.01, 0.1)]
    grads = [tf.constant(g, dtype) for g in drawn] + [tf.constant([-0.0, 0.0], dtype)]
    for g, kept in zip(grads, clipped(clip(1.0), grads, run), strict=True):
        assert kept.numpy().tobytes() == g.numpy().tobytes()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("clip", BY_NORM.values(), ids=BY_NORM)
def test_a_norm_on_the_bound_stays_and_one_just_above_does_not(clip, run):
    on, above = [3.0, -4.0], [3.0, -4.0 * (1 + 2.0**-45)]
    for g, expected in ((on, on), (above, on)):
        kept = clipped(clip(5.0), tf.constant(g, tf.float64), run)
        np.testing.assert_allclose(kept, expected, rtol=2.0**-44)
        assert (kept.numpy().tolist() == g) == (g == on)


@pytest.mark.parametrize("clip", BY_NORM.values(), ids=BY_NORM)
def test_norms_on_the_bound_stay_to_the_bit(clip):
    # g / |g| |g| would differ from g by an ulp in some of these.
    for g in tf.constant(np.random.default_rng(0).normal(size=(20, 5))):
        np.testing.assert_array_equal(clipped(clip(float(global_norm(g))), g), g)


@pytest.mark.parametrize("run", RUNS)
def test_values_on_the_bound_stay(run):
    g = tf.constant([1.1, -1.1, 1.1000001], tf.float64)
    assert clipped(tl.clip_by_value(1.1), g, run).numpy().tolist() == [1.1, -1.1, 1.1]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("clip", CLIPPING.values(), ids=CLIPPING)
def test_zeros_stay_zero_beside_others_and_alone(clip, run):
    grads = {"zero": tf.zeros([2, 2]), "large": tf.constant([30.0, 40.0])}
    kept = clipped(clip(5.0), grads, run)
    np.testing.assert_array_equal(kept["zero"], np.zeros([2, 2]))
    np.testing.assert_allclose(np.max(kept["large"]), 5 if clip is tl.clip_by_value else 4)
    np.testing.assert_array_equal(clipped(clip(5.0), tf.zeros([3]), run), [0, 0, 0])


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_clipped_by_value_and_makes_nan_of_its_norm(bad, run):
    grads = {"bad": tf.constant([bad, 1.0, 0.0]), "good": tf.constant([3.0, -0.5])}
    by_value = clipped(tl.clip_by_value(2.0), grads, run)
    first = bad if np.isnan(bad) else np.sign(bad) * 2
    np.testing.assert_array_equal(by_value["bad"], [first, 1, 0])
    np.testing.assert_array_equal(by_value["good"], [2, -0.5])
    of_each = clipped(tl.clip_by_norm(8.0), grads, run)
    assert np.isnan(of_each["bad"]).all()
    np.testing.assert_array_equal(of_each["good"], grads["good"])
    of_all = clipped(tl.clip_by_global_norm(8.0), grads, run)
    assert np.isnan(of_all["bad"]).all() and np.isnan(of_all["good"]).all()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("clip", BY_NORM.values(), ids=BY_NORM)
@pytest.mark.parametrize(
    ("dtype", "large"), [("float32", 1e30), ("float32", 3e38), ("float64", 1e200)]
)
def test_a_gradient_whose_squares_overflow_keeps_its_direction(dtype, large, clip, run):
    # Keras's clipnorm turns it to zeros, its global_clipnorm to NaN; so do PyTorch and Optax.
    g = np.array([large, 0.5 * large, 1.0], dtype)
    kept = clipped(clip(1e-3), tf.constant(g), run)
    expected = 1e-3 * np.array([2, 1, 0]) / np.sqrt(5)
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


@pytest.mark.parametrize("run", RUNS)
def test_adaptive_clip_of_zeros_and_of_what_is_not_finite(run):
    w = tf.constant([[3.0, 0.0, 3.0, np.nan, np.inf], [4.0, 0.0, 4.0, 1.0, 1.0]])
    g = tf.constant([[np.inf, 0.0, 3e30, 1.0, 9.0], [1.0, 0.0, 4e30, 1.0, 9.0]])
    kept = clipped(tl.adaptive_clip(0.1), g, run, params=w).numpy()
    np.testing.assert_allclose(kept[:, 1:3], [[0, 0.3], [0, 0.4]], rtol=1e-6)
    assert np.isnan(kept[:, [0, 3]]).all()
    np.testing.assert_array_equal(kept[:, 4], [9, 9])


def test_adaptive_clip_bounds_tiny_units_as_it_says():
    # Optax divides by a norm of at least 1e-6, and would leave 1e-9.
    g = tf.constant([0.5e-6], tf.float64)
    kept = clipped(tl.adaptive_clip(1e-3, eps=1e-5), g, params=tf.zeros([1], tf.float64))
    np.testing.assert_allclose(kept, [1e-8], rtol=1e-14)
