"""What all contenders have in common: where their data come from, and what is timed."""

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
    """A net in training. Data are loaded and placed before the clock starts.

    Examples lie in the order in which `tl.Trainer` would draw them, so that nobody need shuffle.
    """

    draws_order = False
    """Whether it draws that order itself, of examples that lie as they were made."""

    def __init__(self, folder: str, name: str, quick: bool) -> None:
        self.folder, self.workload = Path(folder), workload(name, quick)
        self.data: Any = None
        self.build(read_weights(self.folder))

    @abc.abstractmethod
    def build(self, weights: list[np.ndarray]) -> None:
        """Makes the net with these weights, and its optimizer."""

    @abc.abstractmethod
    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Examples to train on, in a whole number of batches, on the device."""

    @abc.abstractmethod
    def place_evaluation(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Examples to evaluate, in a whole number of EVALUATION_BATCH, on the device."""

    @abc.abstractmethod
    def train(self, data: Any) -> float:
        """Trains on the data once; the mean of the losses of the batches."""

    @abc.abstractmethod
    def evaluate(self, data: Any) -> float:
        """The loss over the data."""

    @abc.abstractmethod
    def steps_made(self) -> int:
        """As the library itself counts them."""

    def check(self) -> dict[str, float]:
        """The losses after CHECK_STEPS from the first weights."""
        self.load("check_order", CHECK_STEPS)
        training_loss = self.train(self.data)
        x = np.load(self.folder / "evaluation_x.npy")
        y = np.load(self.folder / "evaluation_y.npy")
        loss = self.evaluate(self.place_evaluation(x, y))
        return {"loss": loss, "training_loss": training_loss, "steps": self.steps_made()}

    def prepare(self, epoch: int, steps: int) -> None:
        """Loads the first so many batches of an epoch."""
        self.load(f"order_{epoch}", steps)

    def run(self) -> dict[str, float]:
        """Trains on what is loaded."""
        before = self.steps_made()
        gc.collect()
        began = time.perf_counter()
        loss = self.train(self.data)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "count": self.steps_made() - before, "loss": loss}

    def prepare_evaluation(self, examples: int) -> None:
        """Loads so many examples."""
        self.data = None
        x = np.load(self.folder / "x.npy", mmap_mode="r")[:examples]
        y = np.load(self.folder / "y.npy", mmap_mode="r")[:examples]
        self.data = self.place_evaluation(np.array(x), np.array(y))
        self.count = len(x)

    def run_evaluation(self) -> dict[str, float]:
        """Evaluates what is loaded."""
        gc.collect()
        began = time.perf_counter()
        loss = self.evaluate(self.data)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "count": self.count, "loss": loss}

    def load(self, order: str, steps: int) -> None:
        self.data = None  # before the next are read: the data are held once
        size = steps * self.workload.batch_size
        rows = slice(size)
        if not self.draws_order:
            rows = np.load(self.folder / f"{order}.npy")[:size]
        x = np.load(self.folder / "x.npy", mmap_mode="r")
        y = np.load(self.folder / "y.npy", mmap_mode="r")
        self.data = self.place(np.asarray(x[rows]), np.asarray(y[rows]))


class Updating(abc.ABC):
    """An optimizer's update alone: `w <- w + u(g, state)` on tensors of some shapes.

    Each way of running it has a name; `ways` finds them, and `functions` holds them.
    """

    def __init__(self) -> None:
        self.functions: dict[str, Any] = {}

    @abc.abstractmethod
    def ways(
        self, optimizer: str, params: list[np.ndarray], grads: list[np.ndarray]
    ) -> dict[str, Any]:
        """Functions `count -> None` that make so many updates and wait for the last, by name."""

    def begin(self, optimizer: str, shapes: list[list[int]]) -> dict[str, str]:
        """Makes the ways and calls each once; those that fail, with the reason."""
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
        """The ways that can be run."""
        return list(self.functions)

    def milliseconds(self, way: str, least_seconds: float) -> float:
        """Of an update, over at least so many seconds."""
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
    """The plain form of a rule, as it is verified: its options, and the peers that have it."""
    from trainlib.verify.optimizer_cases import CASES

    return next((c for c in CASES if (c.optimizer, c.form) == (optimizer, "")), None)
