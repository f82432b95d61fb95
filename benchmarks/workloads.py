"""What is trained: nets, data with planted labels, first weights, and the order of the batches.

All of it follows from one seed, is made once with NumPy, and is handed on in files, so that every
contender starts from the same numbers and takes the same batches in the same order.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

SEED = 0
CHECK_STEPS = 200
"""After so many steps from the first weights all contenders must have come to the same loss."""
EVALUATION_EXAMPLES = 2048
"""The examples on which that loss is taken."""
RATES = {"sgd": 2.0**-7, "adam": 2.0**-14}
"""Adam's is small because its first steps are as long for a gradient that is all rounding as for
any other: at 2^-10 two libraries' losses on the wide net part by per cents within 100 steps."""
ADAM = {"beta_1": 0.875, "beta_2": 1 - 2.0**-10, "epsilon": 1e-10}
"""Exact in float32 but for epsilon. Keras adds it to the root of v before the correction of the
bias, PyTorch and Optax after: one so small makes that no difference that float32 could show."""


class Workload(NamedTuple):
    """A net and how it is trained.

    input_shape: of an example. hidden: widths of the dense layers, relu. outputs: logits of a
    classification, or the one value of a regression. filters: of a 3x3 convolution with 2x2
    max-pooling in front; 0 for none. steps: of a chunk of ours, which is an epoch.
    """

    input_shape: tuple[int, ...]
    hidden: tuple[int, ...]
    outputs: int
    optimizer: str
    batch_size: int
    steps: int
    filters: int = 0

    @property
    def classes(self) -> bool:
        """Whether the labels are classes."""
        return self.outputs > 1

    @property
    def loss(self) -> str:
        """The name of the loss, in trainlib and in Keras."""
        return "sparse_categorical_crossentropy" if self.classes else "mean_squared_error"

    @property
    def examples(self) -> int:
        return self.steps * self.batch_size

    def shapes(self) -> list[tuple[int, ...]]:
        """Of the parameters: kernel and bias, layer by layer, as Keras has them."""
        found: list[tuple[int, ...]] = []
        width = int(np.prod(self.input_shape))
        if self.filters:
            rows, columns, channels = self.input_shape
            found += [(3, 3, channels, self.filters), (self.filters,)]
            width = ((rows - 2) // 2) * ((columns - 2) // 2) * self.filters
        for units in (*self.hidden, self.outputs):
            found += [(width, units), (units,)]
            width = units
        return found


WORKLOADS = {
    "tiny": Workload((8,), (30,), 1, "sgd", 32, 60_000),
    "mlp_sgd": Workload((784,), (300, 100), 10, "sgd", 32, 3_000),
    "mlp_adam": Workload((784,), (300, 100), 10, "adam", 32, 3_000),
    "wide": Workload((784,), (690, 690, 690), 10, "adam", 100, 600),
    "cnn": Workload((28, 28, 1), (128,), 10, "adam", 32, 400, filters=32),
}


def workload(name: str, quick: bool = False) -> Workload:
    """The workload of that name; `quick` makes its epoch as short as the check."""
    found = WORKLOADS[name]
    return found._replace(steps=CHECK_STEPS) if quick else found


class Maker:
    """Writes a workload's files; runs in a process of its own, for it needs TensorFlow."""

    def __init__(self, folder: str, name: str, quick: bool) -> None:
        self.folder, self.workload = Path(folder), workload(name, quick)

    def write(self, epochs: int) -> None:
        """Data, weights, and the orders of some epochs: those that `tl.Trainer` draws."""
        from trainlib.training.order import epoch_order

        def order(epoch: int, size: int) -> np.ndarray:
            return epoch_order(SEED, epoch, size)

        write_numbers(self.folder, self.workload)
        for epoch in range(epochs):
            np.save(self.folder / f"order_{epoch}.npy", order(epoch, self.workload.examples))
        checked = CHECK_STEPS * self.workload.batch_size
        np.save(self.folder / "check_order.npy", order(0, checked))


def write_numbers(folder: Path, of: Workload) -> None:
    """Writes x.npy, y.npy, the same with `evaluation_` in front, and weights.npz."""
    rng = np.random.default_rng(SEED)
    planted = rng.standard_normal((int(np.prod(of.input_shape)), of.outputs), "float32")
    for prefix, size in (("", of.examples), ("evaluation_", EVALUATION_EXAMPLES)):
        x, y = data(rng, size, planted, of)
        np.save(folder / f"{prefix}x.npy", x)
        np.save(folder / f"{prefix}y.npy", y)
    np.savez(folder / "weights.npz", *first_weights(rng, of))


def first_weights(rng: np.random.Generator, of: Workload) -> list[np.ndarray]:
    """He's normal kernels and zero biases."""
    return [
        np.zeros(shape, "float32")
        if len(shape) == 1
        else (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype("float32")
        for shape in of.shapes()
    ]


def read_weights(folder: Path) -> list[np.ndarray]:
    """The first weights, layer by layer."""
    with np.load(folder / "weights.npz") as file:
        return [file[name] for name in file.files]


def data(
    rng: np.random.Generator, size: int, planted: np.ndarray, of: Workload
) -> tuple[np.ndarray, np.ndarray]:
    """Images of 256 greys in [-1, 1] with classes, or normal numbers with a value each.

    The class is the one that the planted linear map favours; the value is that map, bent by tanh,
    and noise.
    """
    if of.classes:
        greys = rng.integers(0, 256, (size, *of.input_shape), dtype="uint8")
        x = greys.astype("float32") / np.float32(127.5) - np.float32(1)
        return x, np.argmax(x.reshape(size, -1) @ planted, axis=1).astype("int32")
    x = rng.standard_normal((size, *of.input_shape), dtype="float32")
    noise = rng.standard_normal((size, of.outputs), dtype="float32")
    return x, np.tanh(x @ planted) + np.float32(0.1) * noise
