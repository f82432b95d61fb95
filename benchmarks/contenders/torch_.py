"""PyTorch: a loop over batches, eager or compiled, and an optimizer's `step` alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from workloads import ADAM, RATES, Workload

from contenders import base

nn = torch.nn


def make_model(of: Workload, weights: list[np.ndarray]) -> Any:
    """Return the workload's model, with the weights converted from Keras's layout to PyTorch's."""
    layers: list[Any] = []
    if of.filters:
        channels = of.input_shape[-1]
        layers += [nn.Conv2d(channels, of.filters, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    widths = [shape[0] for shape in of.shapes() if len(shape) == 2] + [of.outputs]
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, w in zip(model.parameters(), _converted(of, weights), strict=True):
            parameter.copy_(torch.from_numpy(w))
    return model


def _converted(of: Workload, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return the weights in PyTorch's layout: kernels have the outputs first.

    After a convolution the inputs of the first dense kernel are ordered by channel first.
    """
    converted = list(weights)
    if of.filters:
        rows, columns = ((size - 2) // 2 for size in of.input_shape[:2])
        dense = weights[2].reshape(rows, columns, of.filters, -1).transpose(2, 0, 1, 3)
        converted[2] = dense.reshape(weights[2].shape)
        converted[0] = weights[0].transpose(3, 2, 0, 1)
    return [np.ascontiguousarray(w.T) if w.ndim == 2 else w.copy() for w in converted]


class Training(base.Training):
    """Training with a loop over the batches.

    Args:
        fused: whether the optimizer updates all parameters by one kernel.
        compiled: whether model and loss are compiled by `torch.compile`.
        **arguments: as of the base class.
    """

    def __init__(self, fused: bool = False, compiled: bool = False, **arguments: Any) -> None:
        self.fused, self.compiled = fused, compiled
        super().__init__(**arguments)

    def build(self, weights: list[np.ndarray]) -> None:
        of = self.workload
        self.model = make_model(of, weights)
        options: dict[str, Any] = {"lr": RATES[of.optimizer]}
        if of.optimizer == "adam":
            options |= {"betas": (ADAM["beta_1"], ADAM["beta_2"]), "eps": ADAM["epsilon"]}
        if self.fused:
            options["fused"] = True
        make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[of.optimizer]
        self.optimizer = make(self.model.parameters(), **options)
        loss = nn.functional.cross_entropy if of.classes else nn.functional.mse_loss
        self.objective = lambda x, y: loss(self.model(x), y)
        if self.compiled:
            self.objective = torch.compile(self.objective, dynamic=False)
        self.count_of_steps = 0

    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        return self._batches(x, y, self.workload.batch_size)

    def place_evaluation(self, x: np.ndarray, y: np.ndarray) -> Any:
        return self._batches(x, y, base.EVALUATION_BATCH)

    def _batches(self, x: np.ndarray, y: np.ndarray, size: int) -> Any:
        """Return views of the arrays by batch."""
        if self.workload.filters:
            x = x.reshape(len(x), x.shape[-1], *x.shape[1:-1])  # with one channel, the same order
        y = y.astype("int64") if self.workload.classes else y
        return list(
            zip(torch.from_numpy(x).split(size), torch.from_numpy(y).split(size), strict=True)
        )

    def train(self, data: Any) -> float:
        total = torch.zeros(())
        for x, y in data:
            self.optimizer.zero_grad()
            loss = self.objective(x, y)
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
            self.count_of_steps += 1
        return float(total) / len(data)

    def evaluate(self, data: Any) -> float:
        with torch.no_grad():
            return float(sum(self.objective(x, y) for x, y in data)) / len(data)

    def steps_made(self) -> int:
        return self.count_of_steps


class Updating(base.Updating):
    """`step` in its default form, over lists of tensors (foreach), and fused where possible."""

    def ways(
        self, optimizer: str, params: list[np.ndarray], grads: list[np.ndarray]
    ) -> dict[str, Callable[[int], None]]:
        case = base.plain_case(optimizer)
        peer = case and case.peers.get("torch")
        if peer is None:
            return {}
        forms = {"torch": {}, "torch_foreach": {"foreach": True}, "torch_fused": {"fused": True}}
        return {
            way: run
            for way, form in forms.items()
            if (run := self._way(peer, params, grads, form)) is not None
        }

    def _way(self, peer: Any, params: Any, grads: Any, form: Any) -> Callable[[int], None] | None:
        weights = [torch.tensor(w) for w in params]
        for w, g in zip(weights, grads, strict=True):
            w.grad = torch.tensor(g)
        try:
            made = getattr(torch.optim, peer.name)(weights, lr=2.0**-10, **peer.options, **form)
        except (TypeError, RuntimeError, AttributeError):  # PyTorch has no such form
            return None

        def run(count: int) -> None:
            for _ in range(count):
                made.step()

        return run
