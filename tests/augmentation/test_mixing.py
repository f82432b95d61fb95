"""Mixup and CutMix beside Keras's layers, and the distribution of their shares."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.augmentation.boxes import Box, inside
from trainlib.augmentation.mixing import blend, paste
from trainlib.core.random import example_keys

RNG = np.random.default_rng(0)
IMAGES = tf.constant(RNG.uniform(0, 255, (6, 12, 9, 3)), tf.float32)
ORDER = tf.constant([3, 1, 0, 2, 5, 4])
OTHERS = tf.gather(IMAGES, ORDER)
N = 3000
KEY = example_keys(0, 0, tf.range(N))


def test_mixed_images_are_those_of_keras():
    share = tf.constant(RNG.uniform(size=6), tf.float32)
    transformation = {"mix_weight": share, "permutation_order": ORDER}
    expected = keras.layers.MixUp().transform_images(IMAGES, transformation)
    np.testing.assert_allclose(blend(IMAGES, OTHERS, share), expected, rtol=1e-6)


def test_pasted_boxes_are_those_of_keras():
    sides = [[0, 2, 3, 4, 5, 6], [4, 5, 3, 9, 12, 8], [1, 0, 2, 3, 0, 5], [3, 9, 7, 4, 9, 6]]
    box = Box(*(tf.constant(side) for side in sides))
    mask = tf.repeat(inside(box, 12, 9), 3, -1)
    transformation = {"batch_masks": mask, "permutation_order": ORDER}
    expected = keras.layers.CutMix().transform_images(IMAGES, transformation)
    found, share = paste(IMAGES, OTHERS, box)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(share, 1 - np.mean(mask, (1, 2, 3)), rtol=1e-6)


def test_boxes_are_pasted_in_the_dtype_of_the_data():
    images = tf.zeros([2, 4, 4, 1], tf.uint8)
    others = tf.fill([2, 4, 4, 1], tf.constant(255, tf.uint8))
    box = Box(*(tf.constant([0, side]) for side in (2, 4, 0, 4)))
    found, share = paste(images, others, box)
    assert (found.dtype, share.dtype) == (tf.uint8, tf.float32)
    np.testing.assert_array_equal(found[:, 3, 3, 0], [0, 255])


def test_mixup_has_the_share_that_it_returns():
    images, others = tf.ones([N, 2, 2, 1]), tf.zeros([N, 2, 2, 1])
    mixed, share = tl.augmentation.mixup(0.4).function(images, others, KEY)
    np.testing.assert_array_equal(mixed[:, 1, 1, 0], share)
    # The variance of Beta(a, a) is 1 / (4 (2 a + 1)).
    assert np.var(share) == pytest.approx(1 / (4 * 1.8), rel=0.05)
    assert np.mean(share) == pytest.approx(0.5, abs=0.03)


def test_cutmix_has_the_share_that_it_returns():
    images, others = tf.ones([N, 20, 30, 1]), tf.zeros([N, 20, 30, 1])
    mixed, share = tl.augmentation.cutmix().function(images, others, KEY)
    np.testing.assert_allclose(np.mean(mixed, (1, 2, 3)), share, atol=1e-6)
    assert np.min(share) < 0.15 and np.max(share) == 1
    replaced = mixed.numpy()[..., 0] == 0
    assert replaced.any(2).sum(1).max() > 17 and replaced.any(1).sum(1).max() > 26
