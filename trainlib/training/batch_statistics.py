"""Batch normalization over a batch that lies in parts on several replicas.

    n = sum of n_r,   mean = sum of n_r mean_r / n
    variance = (sum of M_r + sum of n_r (mean_r - mean)^2) / n

n_r: values on replica r; mean_r, M_r: their mean, and the sum of squares around it. Every replica
is given (n_r, mean_r, M_r) of all, in one collective, and merges them alike: the statistics are
those of the whole batch and the same on each replica, and no large mean cancels in them.
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
from trainlib.step.state import Reduce


class Part(NamedTuple):
    """A replica's part of a batch.

    replica: its number, of `replicas`. reduce: sums over them. present: bools [rows], False for a
    row that only fills up; None where there is no such row.
    """

    replica: Tensor
    replicas: int
    reduce: Reduce
    present: Tensor | None


class _Current(threading.local):
    """The part that a model is being called on; each replica is traced in a thread of its own."""

    part: Part | None = None


_current = _Current()


@contextlib.contextmanager
def over_replicas(part: Part) -> Iterator[None]:
    """Within it, layers that `synchronize` prepared take statistics over the whole batch."""
    before, _current.part = _current.part, part
    try:
        yield
    finally:
        _current.part = before


def synchronize(model: Any) -> None:
    """Prepares the batch normalization layers of a Keras model for `over_replicas`.

    Everywhere else the layers stay as they were.

    Raises:
        ValueError: a layer whose statistics this release of Keras takes in a way not known here;
            one with an activity regularizer, a sum over the batch that no replica has whole.

    Differs from: `BatchNormalization(synchronized=True)`, whose variance E(x^2) - E(x)^2 cancels
    for large means, and which counts rows that only fill up, or with a mask does not synchronize.
    """
    for layer in model._flatten_layers():
        if getattr(layer, "activity_regularizer", None) is not None:
            raise ValueError(
                f"layer {layer.name!r}: several replicas cannot take an activity_regularizer, "
                "which sums over the batch: train on one device, or regularize the parameters"
            )
    for layer in _batch_normalizations(model):
        if not callable(getattr(layer, "_moments", None)):
            raise ValueError(
                f"layer {layer.name!r}: batch normalization over several replicas needs another "
                f"release of Keras than {keras.version()}"
            )
        if "_moments" not in vars(layer):
            object.__setattr__(layer, "_moments", _moments_of(layer))


def has_batch_statistics(model: Any) -> bool:
    """Whether training the model sums over replicas in its midst, which XLA cannot compile."""
    return any(True for _ in _batch_normalizations(model))


def _batch_normalizations(model: Any) -> Iterator[Any]:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer


def _moments_of(layer: Any) -> Any:
    """The layer's own method, but for calls within `over_replicas`."""
    alone = layer._moments

    def moments(self: Any, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if _current.part is None:
            result: tuple[Tensor, Tensor] = alone(inputs, mask)
            return result
        # Keras adds epsilon to the number of values under a mask.
        extra = 0.0 if mask is None else keras.config.epsilon()
        counted = _counted(self.name, inputs, mask, _current.part.present)
        return batch_moments(inputs, self._reduction_axes, counted, _current.part, extra)

    return types.MethodType(moments, layer)


def _counted(name: str, x: Tensor, mask: Tensor | None, present: Tensor | None) -> Tensor | None:
    """Which values of x count, as bools of its rank; None for all of them."""
    counted = None if mask is None else tf.cast(mask, tf.bool)[..., tf.newaxis]
    if present is None:
        return counted
    if not x.shape[:1].is_compatible_with(present.shape[:1]):
        raise ValueError(
            f"layer {name!r} normalizes {x.shape[0]} rows where the batch has {present.shape[0]}: "
            "on several replicas use a batch_size that they divide, as they must the last batch"
        )
    rows = tf.reshape(present, [-1] + [1] * (x.shape.rank - 1))
    return rows if counted is None else rows & counted


def batch_moments(
    x: Tensor, axes: list[int], counted: Tensor | None, part: Part, extra: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The mean and the variance of the values that count, on all replicas together.

    Args:
        x: the values on this replica.
        axes: those to take statistics over.
        counted: which values count, bools that spread to x's shape; None for all.
        part: which replica this is.
        extra: to add to the number of values.
    """
    dtype, x = x.dtype, widen(x)
    weight = tf.ones_like(x) if counted is None else tf.cast(counted, x.dtype) + tf.zeros_like(x)
    n = tf.reduce_sum(weight, axes)
    spread = [1 if i in axes else -1 for i in range(x.shape.rank)]
    mean = tf.math.divide_no_nan(tf.reduce_sum(weight * x, axes), n)
    squares = tf.reduce_sum(weight * tf.square(x - tf.reshape(mean, spread)), axes)

    slot = tf.one_hot(part.replica, part.replicas, dtype=x.dtype)[:, tf.newaxis, tf.newaxis]
    n, mean, squares = tf.unstack(part.reduce(slot * tf.stack([n, mean, squares])), axis=1)
    whole = tf.reduce_sum(n, 0) + tf.constant(extra, x.dtype)
    merged = tf.math.divide_no_nan(tf.reduce_sum(n * mean, 0), whole)
    squares = tf.reduce_sum(squares + n * tf.square(mean - merged), 0)
    return tf.cast(merged, dtype), tf.cast(tf.math.divide_no_nan(squares, whole), dtype)
