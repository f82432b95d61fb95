"""Losses and their gradients equal those of Keras on many batches, also at the bounds."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

BATCHES, BATCH, K = 100, 8, 5
LOGITS = {"from_logits": True}
SMOOTH = {"label_smoothing": 0.1}
# The name of a loss, its options, and the kind of its examples.
CASES = {
    "mse": ("mean_squared_error", {}, "numbers"),
    "mae": ("mean_absolute_error", {}, "numbers"),
    "huber": ("huber", {}, "numbers"),
    "huber 0.3": ("huber", {"delta": 0.3}, "numbers"),
    "bce": ("binary_crossentropy", {}, "binary probabilities"),
    "bce smooth": ("binary_crossentropy", SMOOTH, "binary probabilities"),
    "bce logits": ("binary_crossentropy", LOGITS, "binary logits"),
    "bce logits smooth": ("binary_crossentropy", LOGITS | SMOOTH, "binary logits"),
    "cce": ("categorical_crossentropy", {}, "probabilities"),
    "cce smooth": ("categorical_crossentropy", SMOOTH, "probabilities"),
    "cce logits": ("categorical_crossentropy", LOGITS, "logits"),
    "cce logits smooth": ("categorical_crossentropy", LOGITS | SMOOTH, "logits"),
    "scce": ("sparse_categorical_crossentropy", {}, "sparse probabilities"),
    "scce logits": ("sparse_categorical_crossentropy", LOGITS, "sparse logits"),
}


def examples(kind, dtype):
    """y_true and y_pred of 100 random batches and of one with the edges, stacked."""
    rng = np.random.default_rng(0)
    shape = (BATCHES + 1, BATCH, K)
    classes = rng.integers(K, size=shape[:-1])
    if kind == "numbers":
        y_true, y_pred = rng.normal(size=shape), rng.normal(size=shape)
        y_pred[-1] = y_true[-1]
        return y_true.astype(dtype), y_pred.astype(dtype)
    if kind.endswith("probabilities"):
        y_pred = rng.uniform(size=shape)
        y_pred[-1] = rng.choice([0, 1e-9, 1e-7, 0.5, 1 - 1e-7, 1], size=shape[1:])
        y_pred[-1, :, 0] += 0.25  # No row sums to 0.
    else:
        y_pred = 4 * rng.normal(size=shape)
        y_pred[-1] = rng.choice([-800, 0, 800], size=shape[1:])
    if kind.startswith("sparse"):
        return classes, y_pred.astype(dtype)
    hard = rng.integers(2, size=shape) if kind.startswith("binary") else np.eye(K)[classes]
    soft = rng.dirichlet(np.ones(K), size=shape[:-1])
    y_true = np.where(rng.integers(2, size=shape[:-1] + (1,)), hard, soft)
    return y_true.astype(dtype), y_pred.astype(dtype)


@functools.cache
def of_keras(values_and_gradients, case, dtype):
    """Runs eagerly, on plain tensors: of the output of a softmax Keras takes the logits instead."""
    name, options, kind = CASES[case]
    loss = functools.partial(getattr(keras.losses, name), **options)
    return values_and_gradients(loss, *examples(kind, dtype))


# Under XLA the operations come in another order: float32 results differ by their own roundings.
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 4 * 2**-23)])
@pytest.mark.parametrize("case", CASES)
def test_losses_and_their_gradients_equal_those_of_keras(
    case, execution, dtype, rtol, loss_by_name, values_and_gradients
):
    name, options, kind = CASES[case]
    values, gradients = loss_by_name(name, *examples(kind, dtype), execution, **options)
    their_values, their_gradients = of_keras(values_and_gradients, case, dtype)
    assert np.isfinite(their_values).all() and np.isfinite(their_gradients).all()
    # Small results are differences of numbers near 1: z[y] and logsumexp z, or p and y.
    atol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(values, their_values, rtol=rtol, atol=atol)
    # Through the sum of its row, each gradient has a share in the rounding of the largest.
    largest = np.max(np.abs(their_gradients), axis=-1, keepdims=True)
    assert np.all(np.abs(gradients - their_gradients) <= rtol * largest + atol)
