"""A model whose loss has the batch for its gradients, so that a test chooses them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

import trainlib as tl


def product(params: Any, model_state: Any, x: Any, training: bool) -> tl.ModelOutput:
    """Return sum(w g) over the parameters, and a state that counts the batches."""
    total = tf.add_n([tf.reduce_sum(w * g) for w, g in zip(params, x, strict=True)])
    return tl.ModelOutput(tf.reshape(total, [1, 1]), model_state + 1)


def predicted(y_true: Any, y_pred: Any) -> Any:
    """Return the prediction as the loss."""
    return y_pred[:, 0]


def product_state(
    optimizer: tl.Optimizer, loss_scale: Any = None, dtype: str = "float32", **options: Any
) -> tl.TrainState:
    """Return the initial state: parameters of shapes [2] and [1, 1]."""
    params = [tf.constant([1.0, -2.0], dtype), tf.constant([[0.5]], dtype)]
    return tl.init_state(params, tf.constant(0), optimizer, loss_scale=loss_scale, **options)


def product_batch(*grads: Any, dtype: str = "float32") -> tuple[Any, ...]:
    """Return a batch with these gradients."""
    return [tf.constant(g, dtype) for g in grads], tf.zeros([1], dtype)
