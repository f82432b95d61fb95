"""What a step takes at least: its matrix products alone, and the memory traffic of its update."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from workloads import SEED, Workload, first_weights

MOVED = {"adam": 7, "sgd": 3}
"""Tensors of the size of the parameters that an update moves: w is read and written, and g is read;
Adam also reads and writes m and v."""
ROUNDS = 3
BATCHES = 4
"""Different batches that a loop of products takes in turn."""


def products_ms(of: Workload, batch_size: int, seconds: float) -> float:
    """Return the milliseconds of the matrix products and convolutions of a step.

    They are those of the layers and of the gradients with respect to kernels and inputs, without
    that with respect to the network's inputs, as a graph or under XLA, whichever is faster. There
    are no biases, activations and pooling.

    Args:
        of: a chain of dense layers, with or without a convolution before it, or `wide_deep`.
        batch_size: examples in a batch.
        seconds: approximate length of a run.
    """
    rng = np.random.default_rng(SEED)
    batches = _normal(rng, (BATCHES, batch_size, *of.input_shape))
    kernels = _kernels(rng, of)
    return min(
        _ms_of_iteration(_loop_of_products(of, compiled), (batches, kernels), seconds)
        for compiled in (False, True)
    )


def traffic_ms(parameters: int, optimizer: str, seconds: float) -> float:
    """Return the milliseconds in which as many bytes are moved as an optimizer's update moves.

    Args:
        parameters: number of parameters.
        optimizer: "adam" or "sgd".
        seconds: approximate length of a run.
    """
    values = _normal(np.random.default_rng(SEED), (-(-MOVED[optimizer] * parameters // 2),))
    return min(
        _ms_of_iteration(_loop_of_traffic(compiled), (values,), seconds)
        for compiled in (False, True)
    )


def _kernels(rng: np.random.Generator, of: Workload) -> list[Any]:
    """Return the kernels of a network in the order of its layers."""
    if of.net:
        return [tf.constant(w) for w in first_weights(rng, of) if w.ndim > 1]
    shapes = [shape for shape in of.shapes() if len(shape) > 1]
    return [_normal(rng, shape, float(np.prod(shape[:-1])) ** -0.5) for shape in shapes]


def _outputs(of: Workload, kernels: list[Any], x: Any) -> list[Any]:
    """Return the outputs of a chain of dense layers or of `wide_deep`, without biases."""
    wide = None
    if of.net == "wide_deep":
        x, _ = of.structured(x, None)
        wide, x = x["wide"], x["deep"]
    for kernel in kernels if wide is None else kernels[:-2]:
        x = x @ kernel
    return [x] if wide is None else [x @ kernels[-2], tf.concat([wide, x], -1) @ kernels[-1]]


def _gradients(of: Workload, kernels: list[Any], x: Any) -> list[Any]:
    """Return the gradients of half the sum of the squared outputs with respect to the kernels.

    A convolution is followed by a part of its values instead of their pooling, and its gradient by
    its own outputs; there is also that with respect to this part.
    """
    convolved, sources = [], list(kernels)
    with tf.GradientTape() as tape:
        tape.watch(kernels)
        if of.filters:
            convolved = [tf.nn.conv2d(x, kernels[0], 1, "VALID")]
            flat = tf.reshape(convolved[0], [x.shape[0], -1])
            x = tf.stop_gradient(flat[:, : kernels[1].shape[0]])
            tape.watch(x)
            sources.append(x)
        outputs = convolved + _outputs(of, kernels[len(convolved) :], x)
    found: list[Any] = tape.gradient(outputs, sources, output_gradients=outputs)
    return found


def _loop_of_products(of: Workload, compiled: bool) -> Callable[..., Any]:
    """Return `(count, batches, kernels) -> number`, which makes the products `count` times."""

    @tf.function(autograph=False, jit_compile=compiled)
    def loop(count: Any, batches: Any, kernels: list[Any]) -> Any:
        def body(i: Any, _: Any) -> tuple[Any, Any]:
            return i + 1, _gradients(of, kernels, batches[i % BATCHES])

        start = (0, [tf.zeros_like(g) for g in _gradients(of, kernels, batches[0])])
        grads = tf.while_loop(lambda i, _: i < count, body, start, parallel_iterations=1)[1]
        return tf.add_n([tf.reshape(x, [-1])[0] for x in grads])

    return loop


def _loop_of_traffic(compiled: bool) -> Callable[..., Any]:
    """Return `(count, values) -> number`, which reads and writes all values `count` times."""

    @tf.function(autograph=False, jit_compile=compiled)
    def loop(count: Any, given: Any) -> Any:
        def body(i: Any, x: Any) -> tuple[Any, Any]:
            return i + 1, x * 1.0000001  # in place

        return tf.while_loop(lambda i, _: i < count, body, (0, given))[1][0]

    return loop


def _ms_of_iteration(loop: Callable[..., Any], arguments: Sequence[Any], seconds: float) -> float:
    """Return the milliseconds of an iteration, the least of some rounds of about `seconds`."""

    def timed(count: int) -> float:
        began = time.perf_counter()
        loop(tf.constant(count), *arguments).numpy()
        return time.perf_counter() - began

    timed(1)
    count = 1
    while (taken := timed(count)) < seconds / 2:
        count = max(2 * count, int(count * seconds / max(taken, 1e-6)))
    return 1e3 * min([taken, *(timed(count) for _ in range(ROUNDS - 1))]) / count


def _normal(rng: np.random.Generator, shape: tuple[int, ...], stddev: float = 1.0) -> Any:
    return tf.constant(rng.standard_normal(shape, "float32") * np.float32(stddev))
