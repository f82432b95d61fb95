"""Losses of Keras, objects and functions, as those of trainlib."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.losses import Loss, Masked
from trainlib.losses.by_output import check_one_output
from trainlib.losses.inputs import match_ranks
from trainlib.metrics import sparse_top_k_categorical_accuracy, top_k_categorical_accuracy
from trainlib.training.keras_private import mask_of

COUNTERPARTS = {
    "TopKCategoricalAccuracy": top_k_categorical_accuracy,
    "SparseTopKCategoricalAccuracy": sparse_top_k_categorical_accuracy,
}
"""Replacements of equal value for metrics of Keras that XLA cannot compile."""
REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
"""The reductions of Keras that are means."""


@dataclasses.dataclass(frozen=True, eq=False)
class KerasLoss:
    """A loss of Keras as a function `(y_true, y_pred) -> loss of each example`.

    Attributes:
        source: the object or the function of Keras.
        reduction: how a step divides the sum of the losses, one of `REDUCTIONS`.
    """

    source: Any
    reduction: str = "sum_over_batch_size"

    @property
    def __name__(self) -> str:
        """Name of the Keras loss, for messages and results."""
        return str(self.source.name if self._is_object else self.source.__name__)

    def __call__(self, y_true: Tree, y_pred: Tree) -> Tensor:
        """Return the losses, `Masked` where Keras masks them."""
        defined = type(self.source) if self._is_object else self.source
        if defined.__module__.startswith("keras."):
            check_one_output(self.__name__, y_pred)
        if self._is_object:
            return _call(self.source.call, self.source.dtype, y_true, y_pred)
        return _call(self.source, None, y_true, y_pred)

    @property
    def _is_object(self) -> bool:
        return isinstance(self.source, keras.Loss)


def is_keras_function(value: Any) -> bool:
    """Return whether a value is a function of Keras, such as `keras.losses.huber`."""
    return inspect.isfunction(value) and value.__module__.startswith("keras.")


def loss_from_keras(loss: Any) -> Loss:
    """Turn a Keras loss into a function `(y_true, y_pred) -> loss of each example`.

    Its options, such as from_logits and label_smoothing, are kept. Steps also reduce it as Keras
    does: with the reduction "sum_over_batch_size", which functions have, the sum of the weighted
    losses is divided by their number, with "mean_with_sample_weight" by the sum of the weights. In
    the mean over an epoch, a batch is weighted by its number of examples.

    Args:
        loss: an object of a class derived from `keras.losses.Loss`, or a function of Keras.

    Returns:
        The function, which has the attribute `reduction`; its losses are `Masked` where Keras
        masks them. It computes in float64 if y_pred is float64, else in the dtype of the loss.

    Raises:
        ValueError: the reduction is "sum" or none.

    Example:
        >>> import keras
        >>> loss = tl.loss_from_keras(keras.losses.BinaryCrossentropy(from_logits=True))
        >>> loss(tf.constant([1.0, 0.0]), tf.constant([[0.0], [0.0]])).numpy().round(3)
        array([0.693, 0.693], dtype=float32)
    """
    if is_keras_function(loss):
        for counterpart in COUNTERPARTS.values():
            if loss.__name__ == counterpart.__name__:
                return counterpart
        return KerasLoss(loss)
    if loss.reduction not in REDUCTIONS:
        raise ValueError(
            f"{type(loss).__name__} has reduction={loss.reduction!r}, but the loss of a batch is a "
            "mean here: leave the reduction out"
        )
    return KerasLoss(loss, loss.reduction)


def _call(function: Callable[..., Tensor], dtype: str | None, y_true: Tree, y_pred: Tree) -> Tensor:
    """Return the losses of a Keras function of structures, in a dtype; `Masked` with its mask."""
    pairs = [(y_true, y_pred)]
    if tf.nest.is_nested(y_pred):
        pairs = list(zip(tf.nest.flatten(y_true), tf.nest.flatten(y_pred), strict=True))
    matched = [match_ranks(*_in_dtype(y, p, dtype)) for y, p in pairs]
    y_true, y_pred = (
        tf.nest.pack_sequence_as(x, [pair[i] for pair in matched])
        for i, x in enumerate((y_true, y_pred))
    )
    values = function(y_true, y_pred)
    mask = mask_of(values)
    return values if mask is None else Masked.where(tf.cast(mask, tf.bool), values)


def _in_dtype(y_true: Tensor, y_pred: Tensor, dtype: str | None) -> tuple[Tensor, Tensor]:
    """Return both in the dtype of a Keras loss; in float64 if y_pred is float64."""
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    if dtype is None:
        return y_true, y_pred
    wide = tf.float64 if y_pred.dtype == tf.float64 else tf.as_dtype(dtype)
    return tf.cast(y_true, wide), y_pred if y_pred.dtype == wide else tf.cast(y_pred, wide)
