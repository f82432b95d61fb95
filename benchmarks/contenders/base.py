"""Base classes of the contenders: where their data come from, and what is timed."""

from __future__ import annotations

import abc
import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
from workloads import CHECK_STEPS, read_weights, workload

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
        """Return training examples on the device; they fill all batches."""

    @abc.abstractmethod
    def place_evaluation(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Return evaluation examples on the device; a multiple of EVALUATION_BATCH."""

    @abc.abstractmethod
    def train(self, data: Any) -> float:
        """Train on the data once and return the mean loss of the batches."""

    @abc.abstractmethod
    def evaluate(self, data: Any) -> float:
        """Return the loss over the data."""

    @abc.abstractmethod
    def steps_made(self) -> int:
        """Return the number of steps, as the library counts them."""

    def check(self) -> dict[str, float]:
        """Return the losses after CHECK_STEPS from the initial weights, and the steps made."""
        self.load("check_order", CHECK_STEPS)
        training_loss = self.train(self.data)
        x = np.load(self.folder / "evaluation_x.npy")
        y = np.load(self.folder / "evaluation_y.npy")
        loss = self.evaluate(self.place_evaluation(x, y))
        return {"loss": loss, "training_loss": training_loss, "steps": self.steps_made()}

    def prepare(self, epoch: int, steps: int) -> None:
        """Load the first `steps` batches of an epoch."""
        self.load(f"order_{epoch}", steps)

    def run(self) -> dict[str, float]:
        """Train on the loaded data."""
        before = self.steps_made()
        gc.collect()
        began = time.perf_counter()
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
        size = steps * self.workload.batch_size
        rows = slice(size)
        if not self.draws_order:
            rows = np.load(self.folder / f"{order}.npy")[:size]
        x = np.load(self.folder / "x.npy", mmap_mode="r")
        y = np.load(self.folder / "y.npy", mmap_mode="r")
        self.data = self.place(np.asarray(x[rows]), np.asarray(y[rows]))


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
    """Return the case of verification of an optimizer's plain form: its options and its peers."""
    from trainlib.verify.optimizer_cases import CASES

    return next((c for c in CASES if (c.optimizer, c.form) == (optimizer, "")), None)
