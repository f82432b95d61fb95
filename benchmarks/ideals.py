"""What a step takes at least: its matrix products alone, and the memory traffic of its update."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from workloads import SEED, Workload

MOVED_BY_ADAM = 7
"""Tensors of the size of the parameters that Adam reads or writes: w, m and v twice, and g."""
ROUNDS = 3
BATCHES = 4
"""Different batches that a loop of products takes in turn."""


def products_ms(of: Workload, batch_size: int, seconds: float) -> float:
    """Return the milliseconds of the matrix products of a step of a chain of dense layers.

    They are those of the layers and of both gradients, without biases and activations, as a graph
    or under XLA, whichever is faster.
    """
    rng = np.random.default_rng(SEED)
    shapes = [shape for shape in of.shapes() if len(shape) == 2]
    weights = [_normal(rng, shape, shape[0] ** -0.5) for shape in shapes]
    batches = _normal(rng, (BATCHES, batch_size, shapes[0][0]))
    return min(
        _ms_of_iteration(_loop_of_products(compiled), (batches, weights), seconds)
        for compiled in (False, True)
    )


def traffic_ms(parameters: int, seconds: float) -> float:
    """Return the milliseconds in which as many bytes are moved as Adam's update moves."""
    values = _normal(np.random.default_rng(SEED), (MOVED_BY_ADAM * parameters // 2,))

    @tf.function(autograph=False)
    def loop(count: Any, given: Any) -> Any:
        def body(i: Any, x: Any) -> tuple[Any, Any]:
            return i + 1, x * 1.0000001  # in place: reads and writes each number

        return tf.while_loop(lambda i, _: i < count, body, (0, given))[1][0]

    return _ms_of_iteration(loop, (values,), seconds)


def _loop_of_products(compiled: bool) -> Callable[..., Any]:
    """Return `(count, batches, weights) -> number`, which makes the products `count` times."""

    @tf.function(autograph=False, jit_compile=compiled)
    def loop(count: Any, batches: Any, weights: Sequence[Any]) -> Any:
        def body(i: Any, _: Any) -> tuple[Any, Any]:
            outputs = [batches[i % BATCHES]]
            for kernel in weights:
                outputs.append(outputs[-1] @ kernel)
            backward, grads = outputs.pop(), []
            for k in reversed(range(len(weights))):
                grads.append(tf.matmul(outputs[k], backward, transpose_a=True))
                if k:
                    backward = tf.matmul(backward, weights[k], transpose_b=True)
            return i + 1, grads[::-1]

        start = (0, [tf.zeros_like(kernel) for kernel in weights])
        grads = tf.while_loop(lambda i, _: i < count, body, start)[1]
        return tf.add_n([x[0, 0] for x in grads])

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
