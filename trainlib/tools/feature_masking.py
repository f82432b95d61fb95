"""Masked features: examples with features replaced by their means, and the error of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.random import example_keys, uniform
from trainlib.core.types import Tensor, Tree
from trainlib.tools.pretrain_options import PretrainSettings
from trainlib.training.augmentation import Augmentation


def masked_error(y: Tensor, y_pred: Tensor) -> Tensor:
    """Return the mean squared error of each example over its masked features.

        l = sum_j m_j (p_j - y_j)^2 / max(sum_j m_j, 1)

    Args:
        y: the features, and after them 1 for those that are masked, else 0: [N, 2 d].
        y_pred: the predicted features [N, d].
    """
    target, mask = tf.split(tf.cast(y, y_pred.dtype), 2, axis=-1)
    squares = tf.reduce_sum(mask * tf.square(y_pred - target), -1)
    return squares / tf.maximum(tf.reduce_sum(mask, -1), 1)


def feature_masking(flat: np.ndarray, settings: PretrainSettings) -> Augmentation:
    """Return the augmentation that replaces random features by their means.

    Args:
        flat: the examples, flattened, [N, d].
        settings: the probability and the groups of masked features.
    """
    columns = flat.shape[1]
    groups = np.arange(columns) if settings.groups is None else np.asarray(settings.groups)
    if groups.shape != (columns,) or groups.dtype.kind != "i" or groups.min() < 0:
        raise ValueError(
            f"groups must hold the number of a group for each of {columns} features, got "
            f"{settings.groups!r}"
        )
    means, count = flat.mean(0), int(groups.max()) + 1

    def masked(x: Tree, y: Tree, key: Tensor) -> tuple[Tree, Tree]:
        drawn = uniform(key, count) < settings.mask
        mask = tf.gather(drawn, groups, axis=1)
        shown = tf.where(mask, tf.cast(means, x.dtype), tf.reshape(x, [-1, columns]))
        target, _ = tf.split(y, 2, axis=-1)
        return tf.reshape(shown, tf.shape(x)), tf.concat([target, tf.cast(mask, y.dtype)], -1)

    return Augmentation(masked, f"masked {settings.mask}")


def with_mask(flat: np.ndarray) -> np.ndarray:
    """Return the targets of `masked_error`, with no feature masked yet, [N, 2 d]."""
    return np.concatenate([flat, np.zeros_like(flat)], 1)


def masked_once(data: tuple[Any, Any], masking: Augmentation, seed: int) -> tuple[Any, Any]:
    """Return validation data with fixed masks, so that epochs can be compared."""
    x, y = data
    keys = example_keys(seed, 0, np.arange(len(x)))
    masked_x, masked_y = masking.function(tf.constant(x), tf.constant(y), keys)
    return masked_x.numpy(), masked_y.numpy()
