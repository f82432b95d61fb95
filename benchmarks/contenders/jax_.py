"""JAX with Optax: compiled steps in a `lax.scan`, or one call per step, and an update alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workloads import ADAM, LOSS_WEIGHTS

from contenders import base
from contenders.jax_nets import forward


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
        of = self.workload
        if of.optimizer == "sgd":
            optimizer = optax.sgd(of.learning_rate)
        else:
            rates = ADAM["beta_1"], ADAM["beta_2"], ADAM["epsilon"]
            optimizer = optax.adam(of.learning_rate, *rates)

        def objective(params: Any, statistics: Any, x: Any, y: Any, training: bool) -> Any:
            weights = [w for _, w in sorted((params | statistics).items())]
            y_pred, statistics = forward(of, weights, x, training)
            return self._loss(y_pred, y), statistics

        def step(carry: Any, batch: Any) -> Any:
            params, statistics, state, count = carry
            gradient = jax.value_and_grad(objective, has_aux=True)
            (loss, statistics), grads = gradient(params, statistics, *batch, True)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), statistics, state, count + 1), loss

        def many(carry: Any, batches: Any) -> Any:
            carry, losses = jax.lax.scan(step, carry, batches)
            return carry, losses.sum()

        def losses(params: Any, statistics: Any, batches: Any) -> Any:
            def one(batch: Any) -> Any:
                return objective(params, statistics, *batch, False)[0]

            return jax.lax.map(one, batches).sum()

        start = dict(enumerate(map(jnp.array, weights)))
        x = jnp.asarray(np.load(self.folder / "evaluation_x.npy", mmap_mode="r")[:2])
        x, _ = of.structured(x, None)
        found = jax.eval_shape(lambda w: forward(of, list(w.values()), x, True)[1], start)
        statistics = {i: start.pop(i) for i in found}
        self.carry = start, statistics, optimizer.init(start), jnp.zeros((), jnp.int32)
        self.many = jax.jit(many, donate_argnums=0)
        self.step = jax.jit(step, donate_argnums=0)
        self.losses = jax.jit(losses)

    def _loss(self, y_pred: Any, y: Any) -> Any:
        """Return the mean loss of a batch, weighted over the outputs where there are several."""
        if self.workload.classes:
            return optax.softmax_cross_entropy_with_integer_labels(y_pred, y).mean()
        if isinstance(y, dict):
            of = {name: jnp.mean((y_pred[name] - y[name]) ** 2) for name in y}
            return sum(weight * of[name] for name, weight in LOSS_WEIGHTS.items())
        return jnp.mean((y_pred - y) ** 2)

    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        parts = self._batches(x, y, self.workload.batch_size)
        if self.scan:
            return parts
        return [
            jax.tree.map(lambda a: a[i], part)  # noqa: B023
            for part in parts
            for i in range(len(jax.tree.leaves(part)[0]))
        ]

    def place_evaluation(self, x: np.ndarray, y: np.ndarray) -> Any:
        return len(x), self._batches(x, y, base.EVALUATION_BATCH)

    def _batches(self, x: np.ndarray, y: np.ndarray, size: int) -> Any:
        """Return the whole batches on a first axis, and those of a smaller last one."""
        given = (self.workload.structured(*part) for part in base.split_batches((x, y), size))
        return jax.block_until_ready([jax.tree.map(jnp.array, part) for part in given])

    def train(self, data: Any) -> float:
        run = self.many if self.scan else self.step
        losses = []
        for part in data:
            self.carry, loss = run(self.carry, part)
            losses.append(loss)
        jax.block_until_ready(self.carry)
        steps = sum(len(jax.tree.leaves(part)[0]) for part in data) if self.scan else len(data)
        return float(np.sum(jax.device_get(losses))) / steps

    def evaluate(self, data: Any) -> float:
        size, parts = data
        params, statistics, *_ = self.carry
        losses = [(part, self.losses(params, statistics, part)) for part in parts]
        rows = [jax.tree.leaves(part)[0].shape[1] for part in parts]
        total = sum(float(loss) * n for (_, loss), n in zip(losses, rows, strict=True))
        return total / size

    def steps_made(self) -> int:
        return int(self.carry[-1])


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
