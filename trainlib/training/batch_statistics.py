"""Batch normalization over a batch whose parts are on several replicas.

    n = sum of n_r,   mean = sum of n_r mean_r / n
    variance = (sum of M_r + sum of n_r (mean_r - mean)^2) / n

n_r: number of values on replica r; mean_r, M_r: their mean, and the sum of squares around it. Every
replica receives (n_r, mean_r, M_r) of all, in one collective operation, and merges them in the same
way: the statistics are those of the whole batch and equal on each replica, and a large mean does
not cancel in them.
"""

from __future__ import annotations

import contextlib
import threading
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainlib.core.tree import widen
from trainlib.core.types import Tensor
from trainlib.step.state import AllReduce
from trainlib.training.keras_private import (
    all_layers,
    has_replaced_moments,
    moments_axes,
    moments_method,
    replace_moments,
)
from trainlib.training.model_variables import model_variables


class ReplicaPart(NamedTuple):
    """A replica's part of a batch.

    Attributes:
        replica: index of the replica, int32 [].
        replicas: number of replicas.
        all_reduce: sums a structure over the replicas.
        present: bools [rows], False for a row of padding; None if there is no padding.
    """

    replica: Tensor
    replicas: int
    all_reduce: AllReduce
    present: Tensor | None


class _Current(threading.local):
    """The current part of the batch, by thread: each replica is traced in a thread."""

    part: ReplicaPart | None = None


_current = _Current()


@contextlib.contextmanager
def on_replica(part: ReplicaPart) -> Iterator[None]:
    """Context in which layers prepared by `synchronize` take statistics over the whole batch."""
    before, _current.part = _current.part, part
    try:
        yield
    finally:
        _current.part = before


def synchronize(model: Any) -> None:
    """Prepare the batch normalization layers of a Keras model for `on_replica`.

    Outside that context the layers behave as before.

    Raises:
        ValueError: this release of Keras computes a layer's statistics in an unknown way, or if a
            layer has an activity regularizer, which sums over a batch that no replica has whole.

    Differences:
        Keras: in `BatchNormalization(synchronized=True)` the variance E(x^2) - E(x)^2 cancels for
            large means, rows of padding count, and layers with a mask are not synchronized.
    """
    for layer in all_layers(model):
        if getattr(layer, "activity_regularizer", None) is not None:
            raise ValueError(
                f"layer {layer.name!r}: an activity_regularizer sums over the batch, which several "
                "replicas cannot do: train on one device, or regularize the parameters"
            )
    for layer in _batch_norm_layers(model):
        if moments_method(layer) is None:
            raise ValueError(
                f"layer {layer.name!r}: batch normalization over several replicas does not support "
                f"Keras {keras.version()}: install another release"
            )
        if not has_replaced_moments(layer):
            replace_moments(layer, _moments_method(layer))


def has_batch_norm(model: Any) -> bool:
    """Return whether a Keras model has batch normalization, which sums over replicas."""
    return any(True for _ in _batch_norm_layers(model))


def batch_norm_variables(model: Any) -> set[int]:
    """Return the ids of the variables of a Keras model's batch normalization layers."""
    return {id(variable) for layer in _batch_norm_layers(model) for variable in layer.variables}


def moving_statistics(model: Any) -> dict[str, float]:
    """Return the momentum of each moving mean and variance that training updates, by path.

    Args:
        model: a Keras model.
    """
    momenta = {
        id(variable): layer.momentum
        for layer in _batch_norm_layers(model)
        if layer.trainable and layer.momentum < 1
        for variable in (layer.moving_mean, layer.moving_variance)
    }
    _, kept = model_variables(model)
    return {path: momenta[id(v)] for path, v in kept.items() if id(v) in momenta}


def _batch_norm_layers(model: Any) -> Iterator[Any]:
    """Yield the batch normalization layers of a Keras model."""
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer


def _moments_method(layer: Any) -> Any:
    """Return the layer's own method, except for calls within `on_replica`."""
    original = moments_method(layer)

    def moments(self: Any, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if _current.part is None:
            result: tuple[Tensor, Tensor] = original(inputs, mask)
            return result
        # As in Keras, epsilon is added to the number of values under a mask.
        extra = 0.0 if mask is None else keras.config.epsilon()
        counted = _counted(self.name, inputs, mask, _current.part.present)
        return batch_moments(inputs, moments_axes(self), counted, _current.part, extra)

    return types.MethodType(moments, layer)


def _counted(name: str, x: Tensor, mask: Tensor | None, present: Tensor | None) -> Tensor | None:
    """Return which values of x count, as bools of its rank; None for all of them."""
    counted = None if mask is None else tf.cast(mask, tf.bool)[..., tf.newaxis]
    if present is None:
        return counted
    if not x.shape[:1].is_compatible_with(present.shape[:1]):
        raise ValueError(
            f"layer {name!r} normalizes {x.shape[0]} rows where the batch has {present.shape[0]}: "
            "on several replicas the batch_size and the last batch must be divisible by their "
            "number"
        )
    rows = tf.reshape(present, [-1] + [1] * (x.shape.rank - 1))
    return rows if counted is None else rows & counted


def batch_moments(
    x: Tensor, axes: list[int], counted: Tensor | None, part: ReplicaPart, extra: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of the values that count, over all replicas.

    Args:
        x: the values on this replica.
        axes: axes to take statistics over.
        counted: which values count, bools that broadcast to x's shape; None for all.
        part: the replica's part of the batch.
        extra: added to the number of values.
    """
    dtype, x = x.dtype, widen(x)
    weight = tf.ones_like(x) if counted is None else tf.cast(counted, x.dtype) + tf.zeros_like(x)
    n = tf.reduce_sum(weight, axes)
    broadcast_shape = [1 if i in axes else -1 for i in range(x.shape.rank)]
    mean = tf.math.divide_no_nan(tf.reduce_sum(weight * x, axes), n)
    squares = tf.reduce_sum(weight * tf.square(x - tf.reshape(mean, broadcast_shape)), axes)

    slot = tf.one_hot(part.replica, part.replicas, dtype=x.dtype)[:, tf.newaxis, tf.newaxis]
    n, mean, squares = tf.unstack(part.all_reduce(slot * tf.stack([n, mean, squares])), axis=1)
    count = tf.reduce_sum(n, 0) + tf.constant(extra, x.dtype)
    merged = tf.math.divide_no_nan(tf.reduce_sum(n * mean, 0), count)
    squares = tf.reduce_sum(squares + n * tf.square(mean - merged), 0)
    return tf.cast(merged, dtype), tf.cast(tf.math.divide_no_nan(squares, count), dtype)
