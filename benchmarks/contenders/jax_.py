"""JAX with Optax: compiled steps in a `lax.scan`, or one call per step, and an update alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workloads import ADAM, RATES, Workload

from contenders import base


def forward(of: Workload, weights: list[Any], x: Any) -> Any:
    """Return the outputs of the workload's model: logits, or the value of a regression."""
    if of.filters:
        kernel, bias, *weights = weights
        axes = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=axes)
        x = jax.nn.relu(x + bias)
        window = (1, 2, 2, 1)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        x = x.reshape(len(x), -1)
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = jax.nn.relu(x @ kernel + bias)
    return x @ weights[-2] + weights[-1]


class Training(base.Training):
    """Training with `lax.scan`.

    Args:
        scan: whether one call makes all steps; otherwise one call per step, made asynchronously.
        **arguments: as of the base class.
    """

    def __init__(self, scan: bool = True, **arguments: Any) -> None:
        self.scan = scan
        super().__init__(**arguments)

    def build(self, weights: list[np.ndarray]) -> None:
        of, rate = self.workload, RATES[self.workload.optimizer]
        if of.optimizer == "sgd":
            optimizer = optax.sgd(rate)
        else:
            optimizer = optax.adam(rate, ADAM["beta_1"], ADAM["beta_2"], ADAM["epsilon"])

        def objective(weights: Any, x: Any, y: Any) -> Any:
            y_pred = forward(of, weights, x)
            if of.classes:
                return optax.softmax_cross_entropy_with_integer_labels(y_pred, y).mean()
            return jnp.mean((y_pred - y) ** 2)

        def step(carry: Any, batch: Any) -> Any:
            weights, state, count = carry
            loss, grads = jax.value_and_grad(objective)(weights, *batch)
            updates, state = optimizer.update(grads, state, weights)
            return (optax.apply_updates(weights, updates), state, count + 1), loss

        def many(carry: Any, batches: Any) -> Any:
            carry, losses = jax.lax.scan(step, carry, batches)
            return carry, losses.mean()

        def losses(weights: Any, batches: Any) -> Any:
            return jax.lax.map(lambda batch: objective(weights, *batch), batches).mean()

        start = [jnp.array(w) for w in weights]
        self.carry = start, optimizer.init(start), jnp.zeros((), jnp.int32)
        self.many = jax.jit(many, donate_argnums=0)
        self.step = jax.jit(step, donate_argnums=0)
        self.losses = jax.jit(losses)

    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        batches = self._batches(x, y, self.workload.batch_size)
        if self.scan:
            return batches
        return [(x, y) for x, y in zip(*batches, strict=True)]

    def place_evaluation(self, x: np.ndarray, y: np.ndarray) -> Any:
        return self._batches(x, y, base.EVALUATION_BATCH)

    def _batches(self, x: np.ndarray, y: np.ndarray, size: int) -> Any:
        """Return arrays with the batches on the first axis."""
        x, y = (jnp.asarray(a.reshape(-1, size, *a.shape[1:])) for a in (x, y))
        return jax.block_until_ready((x, y))

    def train(self, data: Any) -> float:
        if self.scan:
            self.carry, loss = self.many(self.carry, data)
            jax.block_until_ready(self.carry)
            return float(loss)
        losses = []
        for batch in data:
            self.carry, loss = self.step(self.carry, batch)
            losses.append(loss)
        jax.block_until_ready(self.carry)
        return float(np.mean(jax.device_get(losses)))

    def evaluate(self, data: Any) -> float:
        return float(self.losses(self.carry[0], data))

    def steps_made(self) -> int:
        return int(self.carry[2])


class Updating(base.Updating):
    """`update` and `apply_updates` in one compiled function with donated buffers."""

    def ways(
        self, optimizer: str, params: list[np.ndarray], grads: list[np.ndarray]
    ) -> dict[str, Callable[[int], None]]:
        case = base.plain_case(optimizer)
        peer = case and case.peers.get("optax")
        if peer is None:
            return {}
        with peer.patch() if peer.patch else contextlib.nullcontext():  # may take more options
            make = getattr(optax, peer.name, None) or getattr(optax.contrib, peer.name)
            made = make(learning_rate=2.0**-10, **peer.options)
        weights = [jnp.array(w) for w in params]  # copies, because they are donated
        state = jax.tree.map(jnp.copy, made.init(weights))  # some states hold the weights
        self.carry = weights, state
        given = [jnp.asarray(g) for g in grads]

        def update(carry: Any, grads: Any) -> Any:
            weights, state = carry
            updates, state = made.update(grads, state, weights)
            return optax.apply_updates(weights, updates), state

        compiled = jax.jit(update, donate_argnums=0)

        def run(count: int) -> None:
            for _ in range(count):
                self.carry = compiled(self.carry, given)
            jax.block_until_ready(self.carry)

        return {"optax": run}
