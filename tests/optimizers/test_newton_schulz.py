"""The Newton-Schulz iteration makes matrices nearly orthogonal."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.optimizers.newton_schulz import orthogonalize, step_coefficients

CUBIC = [(1.5, -0.5, 0.0)] * 30
"""The classic iteration, which converges to the orthogonal matrix itself."""


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (5, 2)])
@pytest.mark.parametrize("mode", ["add", "clamp"])
def test_the_iteration_converges_to_the_closest_orthogonal_matrix(shape, mode):
    Q = np.random.default_rng(0).normal(size=shape)
    u, _, v = np.linalg.svd(Q, full_matrices=False)
    X = orthogonalize(tf.constant(Q), CUBIC, 1e-12, mode)
    np.testing.assert_allclose(X, u @ v, atol=1e-6)


def test_the_epsilon_keeps_a_matrix_of_zeros_at_zero():
    for mode in ("add", "clamp"):
        np.testing.assert_array_equal(orthogonalize(tf.zeros([2, 3]), CUBIC, 1e-7, mode), 0.0)


def test_products_in_another_dtype_leave_the_dtype_of_the_result():
    Q = tf.constant([[3.0, 1.0], [0.0, 2.0]])
    X = orthogonalize(Q, CUBIC, 1e-7, "add", tf.bfloat16)
    assert X.dtype == tf.float32
    np.testing.assert_allclose(X @ tf.transpose(X), np.eye(2), atol=0.05)


def test_three_numbers_serve_every_step_and_triples_one_step_each():
    assert step_coefficients((3, -4.5, 2), 2) == [(3.0, -4.5, 2.0)] * 2
    assert step_coefficients([(3, -4, 2), (2, -1, 0)], 5) == [(3.0, -4.0, 2.0), (2.0, -1.0, 0.0)]


@pytest.mark.parametrize("bad", [(), (1.0, 2.0), [(1.0, 2.0)], [(1.0, 2.0, 3.0), 4.0]])
def test_other_coefficients_are_refused(bad):
    with pytest.raises(ValueError, match="ns_coefficients must be three numbers or a sequence"):
        step_coefficients(bad, 5)
