"""Lion, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import trainlib as tl


def test_the_update_reads_the_mean_before_it_is_renewed():
    tx = tl.lion(0.5, beta_1=0.75, beta_2=0.5)
    w = tf.constant([1.0])
    updates, state = tx.update(tf.constant([2.0]), tx.init(w), w)
    np.testing.assert_array_equal((updates, state.m), [[-0.5], [1.0]])
    # 0.75 * 1 - 0.25 * 2 is above 0, though the renewed mean 0.5 * 1 - 0.5 * 2 is below 0.
    updates, state = tx.update(tf.constant([-2.0]), state, w)
    np.testing.assert_array_equal((updates, state.m), [[-0.5], [-0.5]])


def test_with_beta_1_of_zero_it_is_sign_sgd():
    w, g = tf.constant([1.0, -2.0]), tf.constant([0.25, -3.0])
    updates, _ = tl.lion(0.5, beta_1=0.0).update(g, tl.lion().init(w), w)
    expected, _ = tl.sign_sgd(0.5).update(g, tl.sign_sgd().init(w), w)
    np.testing.assert_array_equal(updates, expected)
