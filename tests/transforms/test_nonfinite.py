"""`apply_if_finite` and `zero_nans`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"a": tf.constant([1.0, -0.0]), "b": tf.constant(2.0, tf.float64), "c": tf.ones([2])}


def grads(bad=None):
    g = {"a": tf.constant([0.5, -0.5]), "b": tf.constant(0.25, tf.float64), "c": None}
    if bad is not None:
        g["a"] = tf.constant([0.5, bad])
    return g


def compiled(tx, jit):
    return tx.update if jit is None else tf.function(tx.update, jit_compile=jit, autograph=False)


@pytest.mark.parametrize("jit", [None, False, True])
def test_a_bad_step_changes_only_the_counters(jit):
    tx = tl.apply_if_finite(tl.chain(tl.clip_by_global_norm(1.0), tl.adamw(0.1), tl.ema(0.9)))
    update = compiled(tx, jit)
    for bad in (np.nan, np.inf, -np.inf):
        assert_counted_only(update, tx, bad)


def assert_counted_only(update, tx, bad):
    """Assert that bad steps change no parameter and no state but the counters."""
    _, state = update(grads(), tx.init(PARAMS), PARAMS)
    updates, after = update(grads(bad), state, PARAMS)
    moved = tl.apply_updates(PARAMS, updates)
    for name, w in PARAMS.items():
        assert moved[name].numpy().tobytes() == w.numpy().tobytes()
    tf.nest.map_structure(np.testing.assert_array_equal, after.inner, state.inner)
    assert (after.step, after.skipped, after.skipped_in_a_row) == (1, 1, 1)
    _, after = update(grads(bad), after, PARAMS)
    assert (after.step, after.skipped, after.skipped_in_a_row) == (1, 2, 2)
    updates, after = update(grads(), after, PARAMS)
    assert (after.step, after.skipped, after.skipped_in_a_row) == (2, 2, 0)


def test_a_good_step_is_that_of_the_optimizer():
    tx, plain = tl.apply_if_finite(tl.adamw(0.1)), tl.adamw(0.1)
    guarded, state = tx.update(grads(), tx.init(PARAMS), PARAMS)
    expected, inner = plain.update(grads(), plain.init(PARAMS), PARAMS)
    for name in ("a", "b"):
        np.testing.assert_array_equal(guarded[name], expected[name])
    tf.nest.map_structure(np.testing.assert_array_equal, state.inner, inner)


def test_bad_rows_of_slices_are_detected():
    w = {"w": tf.ones([3, 1])}
    tx = tl.apply_if_finite(tl.sgd(1.0))
    slices = tf.IndexedSlices(tf.constant([[1.0], [np.inf]]), tf.constant([0, 2]), [3, 1])
    updates, state = tx.update({"w": slices}, tx.init(w), w)
    assert state.skipped == 1 and not updates["w"].numpy().any()


def test_a_bad_micro_batch_is_left_out_of_its_window():
    tx = tl.apply_if_finite(tl.accumulate(tl.sgd(1.0), every_k=2))
    params = {"w": tf.constant(0.0)}
    state = tx.init(params)
    for g in (1.0, np.nan, 3.0):
        updates, state = tx.update({"w": tf.constant(g)}, state, params)
    assert updates["w"] == -2 and state.skipped == 1


def test_zero_nans_replaces_nans_and_keeps_infinities():
    tx = tl.zero_nans()
    updates, _ = tx.update(
        {"a": tf.constant([np.nan, np.inf, 2.0]), "b": None}, (), {"a": 0.0, "b": 0.0}
    )
    np.testing.assert_array_equal(updates["a"], [0, np.inf, 2])
    assert updates["b"] is None
