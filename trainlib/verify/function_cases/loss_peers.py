"""Run the losses of Keras, PyTorch and Optax, and their gradients.

The loss of each example and the gradient of their sum with respect to y_pred are compared. PyTorch
and Optax leave the mean or the sum over an axis to the user; it is taken here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import trainlib.losses as losses
from trainlib.verify.case import ORDINARY, FunctionCase, Rounding
from trainlib.verify.problem import Arrays


def values_and_gradients(loss: Callable[..., Any], y_true: Any, y_pred: Any, **others: Any) -> Any:
    """Return the losses and the gradient of their sum, computed by TensorFlow."""
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        values = tf.convert_to_tensor(loss(y_true, y_pred, **others))
        total = tf.reduce_sum(values)
    return {"loss": values, "gradient": tape.gradient(total, y_pred)}


def in_keras(name: str, lifted: float = 0.0, **options: Any) -> Callable[..., Arrays]:
    """Return a function of keras.losses with hyperparameters in the dtype of the tensors.

    `lifted` is added to the losses.
    """

    def peer(dtype: str, **inputs: np.ndarray) -> Arrays:
        import keras

        exact = {
            key: np.asarray(x, dtype)[()] if isinstance(x, float | list) else x
            for key, x in options.items()
        }
        loss = functools.partial(getattr(keras.losses, name), **exact)
        tensors = {key: tf.constant(x) for key, x in inputs.items()}
        found = values_and_gradients(loss, **tensors)
        return {"loss": found["loss"].numpy() + lifted, "gradient": found["gradient"].numpy()}

    return peer


def in_torch(loss: Callable[..., Any]) -> Callable[..., Arrays]:
    """Return `loss(torch.nn.functional, y_true, y_pred) -> losses` and its gradient."""

    def peer(dtype: str, y_true: np.ndarray, y_pred: np.ndarray) -> Arrays:
        import torch

        y, p = torch.tensor(y_true), torch.tensor(y_pred, requires_grad=True)
        values = loss(torch.nn.functional, y, p)
        values.sum().backward()
        return {"loss": values.detach().numpy(), "gradient": p.grad.numpy()}

    return peer


def in_optax(loss: Callable[..., Any]) -> Callable[..., Arrays]:
    """Return `loss(optax.losses, y_true, y_pred) -> losses` and its gradient."""

    def peer(dtype: str, y_true: np.ndarray, y_pred: np.ndarray) -> Arrays:
        import jax
        import optax

        with jax.enable_x64(True):
            of = functools.partial(loss, optax.losses, jax.numpy.asarray(y_true))
            p = jax.numpy.asarray(y_pred)
            gradients = jax.grad(lambda p: of(p).sum())(p)
            return {"loss": np.asarray(of(p)), "gradient": np.asarray(gradients)}

    return peer


def case(
    name: str,
    form: str,
    data: Callable[..., Arrays],
    options: dict[str, Any] | None = None,
    *,
    keras: Callable[..., Arrays] | bool = True,
    torch: Callable[..., Any] | None = None,
    optax: Callable[..., Any] | None = None,
    rounding: Rounding = ORDINARY,
) -> FunctionCase:
    """Make the case of a loss on data; Keras gets the same options."""
    options = options or {}

    def ours(dtype: str, **inputs: Any) -> Any:
        return values_and_gradients(functools.partial(getattr(losses, name), **options), **inputs)

    peers: dict[str, Callable[..., Arrays]] = {}
    if keras:
        peers["keras"] = in_keras(name, **options) if keras is True else keras
    if torch:
        peers["torch"] = in_torch(torch)
    if optax:
        peers["optax"] = in_optax(optax)
    needs = {"keras": f"keras.losses.{name}"} if keras else {}
    return FunctionCase("loss", name, form, data, ours, peers, needs, rounding=rounding)
