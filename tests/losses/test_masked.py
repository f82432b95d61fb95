"""Masked losses convert to their values and hide the others."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import trainlib.losses as losses


def test_masked_losses_convert_to_their_values():
    masked = losses.Masked.where(tf.constant([True, False]), tf.constant([3.0, 7.0]))
    assert tf.reduce_sum(masked) == 3.0
    np.testing.assert_array_equal(masked, [3.0, 0.0])
    np.testing.assert_array_equal(tf.constant([2.0, 2.0]) * masked, [6.0, 0.0])


def test_losses_outside_the_mask_may_be_nan():
    masked = losses.Masked(tf.constant([3.0, np.nan]), tf.constant([True, False]))
    assert [float(x) for x in losses.weighted_sum(masked)] == [3.0, 1.0]
    assert losses.reduce(masked) == 3.0
