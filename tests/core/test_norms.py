"""Norms: correct wherever the norm is in the range of the dtype."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS

from trainlib.core.norms import global_norm, norm


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_are_right_wherever_they_are_numbers_of_the_dtype(dtype, execution):
    rng = np.random.default_rng(0)
    exponent = 35 if dtype == "float32" else 300
    columns = np.geomspace(10.0**-exponent, 10.0**exponent, 29)
    w = (rng.normal(size=(7, 1)) * columns).astype(dtype)
    exact = np.sqrt(np.sum((w.astype(np.longdouble) / columns) ** 2, 0)) * columns
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        EXECUTIONS[execution](lambda x: norm(x, 0))(tf.constant(w))[0], exact, rtol=rtol
    )
    together = EXECUTIONS[execution](lambda x: global_norm({"a": x[:3], "none": None, "b": x[3:]}))
    for column, n in list(zip(w.T, exact, strict=True))[::4]:
        np.testing.assert_allclose(together(tf.constant(column)), n, rtol=rtol)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_norms_of_nothing_zeros_and_what_is_not_finite(execution):
    of = EXECUTIONS[execution](lambda x: norm(x, 0))
    w = tf.constant(
        [[0.0, np.inf, np.nan, -np.inf, np.inf], [0.0, 1.0, 0.0, 1e200, np.nan]], tf.float64
    )
    np.testing.assert_array_equal(of(w)[0], [0, np.inf, np.nan, np.inf, np.nan])
    np.testing.assert_array_equal(of(tf.zeros([0, 2])), [[0, 0]])
    assert EXECUTIONS[execution](global_norm)([tf.zeros([0]), tf.zeros([2])]) == 0
    assert global_norm([None]) == 0


def test_ordinary_norms_are_the_plain_roots_to_the_bit():
    w = tf.constant(np.random.default_rng(0).normal(size=(5, 40)))
    np.testing.assert_array_equal(norm(w, 0)[0], np.sqrt(tf.reduce_sum(w * w, 0)))


def test_the_global_norm_is_that_of_all_leaves_in_one_vector():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(100, 3)), rng.normal(size=7).astype("float32")
    norm = global_norm({"a": a, "b": [b, None, tf.zeros([0])]})
    assert norm.dtype == tf.float64
    np.testing.assert_allclose(norm, np.linalg.norm([*a.flat, *b]), rtol=1e-7)
    np.testing.assert_allclose(global_norm([a]), np.linalg.norm(a), rtol=1e-14)
    # In float16 the sum of squares, 250000, is beyond the largest number.
    assert global_norm(tf.constant([300, 400], tf.float16)) == 500
    for nothing in ([], None, [None, None]):
        assert global_norm(nothing) == 0
