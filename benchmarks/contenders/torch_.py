"""PyTorch: a loop over batches, eager or compiled, and an optimizer's `step` alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from workloads import ADAM, LOSS_WEIGHTS

from contenders import base
from contenders.torch_nets import make_model

nn = torch.nn


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
        options: dict[str, Any] = {"lr": of.learning_rate}
        if of.optimizer == "adam":
            options |= {"betas": (ADAM["beta_1"], ADAM["beta_2"]), "eps": ADAM["epsilon"]}
        if self.fused:
            options["fused"] = True
        make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[of.optimizer]
        trained = [w for w in self.model.parameters() if w.requires_grad]
        self.optimizer = make(trained, **options)
        self.objective = lambda x, y: self._loss(self.model(x), y)
        if self.compiled:
            self.objective = torch.compile(self.objective, dynamic=False)
        self.count_of_steps = 0

    def _loss(self, y_pred: Any, y: Any) -> Any:
        """Return the mean loss of a batch, weighted over the outputs where there are several."""
        if self.workload.classes:
            return nn.functional.cross_entropy(y_pred, y)
        if isinstance(y, dict):
            of = {name: nn.functional.mse_loss(y_pred[name], y[name]) for name in y}
            return sum(weight * of[name] for name, weight in LOSS_WEIGHTS.items())
        return nn.functional.mse_loss(y_pred, y)

    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        return self._batches(x, y, self.workload.batch_size)

    def place_evaluation(self, x: np.ndarray, y: np.ndarray) -> Any:
        return self._batches(x, y, base.EVALUATION_BATCH)

    def _batches(self, x: np.ndarray, y: np.ndarray, size: int) -> Any:
        """Return the batches, which are views of the arrays."""
        if x.ndim == 4:
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        y = y.astype("int64") if self.workload.classes else y
        pairs = zip(torch.from_numpy(x).split(size), torch.from_numpy(y).split(size), strict=True)
        return [self.workload.structured(*pair) for pair in pairs]

    def train(self, data: Any) -> float:
        self.model.train()
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
        self.model.eval()
        rows = [len(next(iter(x.values())) if isinstance(x, dict) else x) for x, _ in data]
        with torch.no_grad():
            total = sum(self.objective(x, y) * n for (x, y), n in zip(data, rows, strict=True))
        return float(total) / sum(rows)

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
