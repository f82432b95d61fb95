"""A linear model on eight examples, with its loss and its gradients in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

import trainlib as tl

X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.random.default_rng(1).normal(size=(8, 2))
KERNEL = np.random.default_rng(2).normal(size=(3, 2))
BIAS = np.array([0.5, -0.25])
WEIGHTS = {
    "no weights": None,
    "weights": np.linspace(0.25, 2, 8),
    "some are 0": np.array([1, 0, 2, 0, 0, 1, 1, 3.0]),
}


def linear_params(dtype: str = "float64") -> dict[str, tf.Tensor]:
    """Return the initial parameters."""
    return {"kernel": tf.constant(KERNEL, dtype), "bias": tf.constant(BIAS, dtype)}


def linear(params: Any, model_state: Any, x: Any, training: bool) -> tl.ModelOutput:
    """Apply the model."""
    return tl.ModelOutput(x @ params["kernel"] + params["bias"], model_state)


def penalized(params: Any, model_state: Any, x: Any, training: bool) -> tl.ModelOutput:
    """Apply the model with a penalty, and with a state that counts the training batches."""
    y_pred = x @ params["kernel"] + params["bias"]
    penalty = 0.125 * tf.reduce_sum(params["bias"])
    return tl.ModelOutput(y_pred, {"seen": model_state["seen"] + int(training)}, penalty)


def penalized_state(optimizer: tl.Optimizer, dtype: str = "float64") -> tl.TrainState:
    """Return the initial state of `penalized`."""
    return tl.init_state(linear_params(dtype), {"seen": tf.constant(0)}, optimizer, seed=5)


def l2_on_kernel(params: Any) -> tf.Tensor:
    """Return 0.0625 |kernel|^2."""
    return tl.l2(0.0625)(params["kernel"])


def linear_batch(
    weight: np.ndarray | None = None, dtype: str = "float64", x: np.ndarray = X
) -> tuple[tf.Tensor, ...]:
    """Return the eight examples as a batch."""
    arrays = (x, Y) if weight is None else (x, Y, weight)
    return tuple(tf.constant(a, dtype) for a in arrays)


def example_losses(kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each example."""
    return np.mean((X @ kernel + bias - Y) ** 2, axis=-1)


def penalized_loss(kernel: np.ndarray, bias: np.ndarray, w: np.ndarray) -> float:
    """Return sum(w l) / sum(w), the model's penalty, and `l2_on_kernel`."""
    loss = np.sum(w * example_losses(kernel, bias)) / np.sum(w)
    return loss + 0.125 * np.sum(bias) + 0.0625 * np.sum(kernel**2)


def linear_gradients(
    kernel: np.ndarray, bias: np.ndarray, w: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of the weighted mean loss, without penalties."""
    w = np.ones(8) if w is None else w
    error = w[:, None] * (X @ kernel + bias - Y) / np.sum(w)
    return X.T @ error, np.sum(error, axis=0)


def penalized_gradients(
    kernel: np.ndarray, bias: np.ndarray, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of `penalized_loss`."""
    of_kernel, of_bias = linear_gradients(kernel, bias, w)
    return of_kernel + 0.125 * kernel, of_bias + 0.125
