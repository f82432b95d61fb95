"""Base classes of the contenders: where their data come from, and what is timed."""

from __future__ import annotations

import abc
import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
from workloads import read_weights, workload

from trainlib.cli.lazy_import import defer

EVALUATION_BATCH = 512


class Training(abc.ABC):
    """A model in training. Data are loaded and moved to the device before the clock starts.

    Examples are in the order in which `tl.Trainer` would draw them, so that no contender shuffles.
    """

    draws_order = False
    """Whether the contender draws that order itself."""

    def __init__(self, folder: str, name: str, quick: bool) -> None:
        self.folder, self.workload = Path(folder), workload(name, quick)
        self.data: Any = None
        self.build(read_weights(self.folder))

    @abc.abstractmethod
    def build(self, weights: list[np.ndarray]) -> None:
        """Make the model with these weights, and its optimizer."""

    @abc.abstractmethod
    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Return training examples on the device; the last batch may be smaller."""

    @abc.abstractmethod
    def place_evaluation(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Return evaluation examples on the device, for batches of EVALUATION_BATCH."""

    @abc.abstractmethod
    def train(self, data: Any) -> float | None:
        """Train on the data once and return the mean loss of the batches; None if not computed."""

    @abc.abstractmethod
    def evaluate(self, data: Any) -> float:
        """Return the loss over the data."""

    @abc.abstractmethod
    def steps_made(self) -> int:
        """Return the number of steps, as the library counts them."""

    def train_epochs(self, data: Any, validation: Any, epochs: int) -> float | None:
        """Train on the data some times, with a validation after each; return the last loss."""
        loss = None
        for _ in range(epochs):
            loss = self.train(data)
            self.evaluate(validation)
        return loss

    def check(self) -> dict[str, Any]:
        """Return the losses before and after some steps, and the steps made."""
        evaluated = self.place_evaluation(*self._saved("evaluation_"))
        found: dict[str, Any] = {"first_loss": self.evaluate(evaluated)}
        self.load("check_order", self.workload.check_steps)
        found["training_loss"] = self.train(self.data)
        return found | {"loss": self.evaluate(evaluated), "steps": self.steps_made()}

    def prepare(self, epoch: int, steps: int) -> None:
        """Load the first `steps` batches of an epoch, or data for several epochs of validation."""
        self.load(f"order_{epoch}", steps)
        if self.workload.examples_of_epoch:
            self.epochs = steps // self.workload.steps_of_epoch
            self.validation = self.place_evaluation(*self._saved("validation_"))

    def _saved(self, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        return np.load(self.folder / f"{prefix}x.npy"), np.load(self.folder / f"{prefix}y.npy")

    def run(self) -> dict[str, Any]:
        """Train on the loaded data."""
        before = self.steps_made()
        gc.collect()
        began = time.perf_counter()
        if self.workload.examples_of_epoch:
            loss = self.train_epochs(self.data, self.validation, self.epochs)
        else:
            loss = self.train(self.data)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "count": self.steps_made() - before, "loss": loss}

    def prepare_evaluation(self, examples: int) -> None:
        """Load examples for evaluation."""
        self.data = None
        x = np.load(self.folder / "x.npy", mmap_mode="r")[:examples]
        y = np.load(self.folder / "y.npy", mmap_mode="r")[:examples]
        self.data = self.place_evaluation(np.array(x), np.array(y))
        self.count = len(x)

    def run_evaluation(self) -> dict[str, float]:
        """Evaluate the loaded data."""
        gc.collect()
        began = time.perf_counter()
        loss = self.evaluate(self.data)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "count": self.count, "loss": loss}

    def load(self, order: str, steps: int) -> None:
        self.data = None  # freed before the next are read
        size = min(steps * self.workload.batch_size, self.workload.examples)
        rows = slice(size)
        if not self.draws_order:
            rows = np.load(self.folder / f"{order}.npy")[:size]
        x = np.load(self.folder / "x.npy", mmap_mode="r")
        y = np.load(self.folder / "y.npy", mmap_mode="r")
        self.data = self.place(np.asarray(x[rows]), np.asarray(y[rows]))


def split_batches(arrays: Any, size: int) -> list[list[Any]]:
    """Return arrays with the batches on the first axis, then those of a smaller last batch."""
    whole = len(arrays[0]) // size * size
    parts = [[a[:whole].reshape(-1, size, *a.shape[1:]) for a in arrays]]
    if whole < len(arrays[0]):
        parts.append([a[None, whole:] for a in arrays])
    return parts


class Updating(abc.ABC):
    """An optimizer's update alone: `w <- w + u(g, state)` on tensors of some shapes.

    It can run in several ways, such as eagerly or compiled; `functions` holds them by name.
    """

    def __init__(self) -> None:
        self.functions: dict[str, Any] = {}

    @abc.abstractmethod
    def ways(
        self, optimizer: str, params: list[np.ndarray], grads: list[np.ndarray]
    ) -> dict[str, Any]:
        """Return functions `count -> None` by name, which make updates and wait for the last."""

    def begin(self, optimizer: str, shapes: list[list[int]]) -> dict[str, str]:
        """Make the functions and call each once; return those that fail, with the reason."""
        self.functions = {}
        gc.collect()
        rng = np.random.default_rng(0)
        params = [rng.standard_normal(shape, dtype="float32") for shape in shapes]
        grads = [rng.standard_normal(shape, dtype="float32") for shape in shapes]
        try:
            ways = self.ways(optimizer, params, grads)
        except Exception as error:
            return {optimizer: _reason(error)}
        failed = {}
        for way, function in ways.items():
            try:
                function(2)
            except Exception as error:
                failed[way] = _reason(error)
            else:
                self.functions[way] = function
        return failed

    def names(self) -> list[str]:
        """Return the names of the functions."""
        return list(self.functions)

    def milliseconds(self, way: str, least_seconds: float) -> float:
        """Return the milliseconds of an update, measured over at least some seconds."""
        count, function = 1, self.functions[way]
        while True:
            gc.collect()
            began = time.perf_counter()
            function(count)
            seconds = time.perf_counter() - began
            if seconds >= least_seconds:
                return 1e3 * seconds / count
            count = max(2 * count, int(1.2 * count * least_seconds / max(seconds, 1e-6)))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def plain_case(optimizer: str) -> Any:
    """Return the case of verification of an optimizer's plain form: its options and its peers.

    TensorFlow is not loaded for it: PyTorch's compiler cannot share a process with it.
    """
    defer("tensorflow", "keras")
    from trainlib.verify.optimizer_cases import CASES

    return next((c for c in CASES if (c.optimizer, c.form) == (optimizer, "")), None)
