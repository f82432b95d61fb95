"""Workloads: models, synthetic data, initial weights, and the order of the batches.

Models that are chains of dense layers follow from a `Workload`; the module `keras_nets` of the
contenders has the others, by name, and `jax_nets` and `torch_nets` have the same functions.

All of them follow from one seed, are made once with NumPy and are passed on in files, so that every
contender starts from the same numbers and takes the same batches in the same order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SEED = 0
CHECK_STEPS = 200
"""Steps from the initial weights after which all contenders must have the same loss; fewer where
steps are long (`Workload.check_steps`)."""
EVALUATION_EXAMPLES = 2048
"""Number of examples of that loss."""
RATES = {"sgd": 2.0**-7, "adam": 2.0**-14}
"""Learning rates. Adam's is small because its first steps are as long for a gradient of rounding
errors as for any other: at 2^-10 the losses of two libraries differ by per cents within 100 steps
of the wide model."""
ADAM = {"beta_1": 0.875, "beta_2": 1 - 2.0**-10, "epsilon": 1e-10}
"""Adam's hyperparameters, exact in float32 except for epsilon.

Keras adds it to the root of v before the bias is corrected, PyTorch and Optax after; one so small
makes no difference in float32.
"""


class Workload(NamedTuple):
    """A model and how it is trained.

    Attributes:
        input_shape: shape of an example.
        hidden: widths of the dense layers, with relu.
        outputs: number of logits of a classification; 1 for a regression.
        optimizer: "sgd" or "adam".
        batch_size: examples in a batch.
        steps: steps of a run.
        filters: filters of a first 3x3 convolution with 2x2 max-pooling; 0 for none.
        net: name of another model than a chain of dense layers; "" for such a chain.
        vocabulary: number of different integers of the inputs, from 1; 0 for inputs of numbers.
        check_steps: steps after which the losses are compared, and the least number of a run.
        rate: learning rate; 0 for that of the optimizer in `RATES`.
        examples_of_epoch: examples of an epoch, if a run makes several, with a validation after
            each; 0 for a run of one epoch without.
        slow_under_xla: whether a step compiled by XLA takes too long to be measured on a CPU.
    """

    input_shape: tuple[int, ...]
    hidden: tuple[int, ...]
    outputs: int
    optimizer: str
    batch_size: int
    steps: int
    filters: int = 0
    net: str = ""
    vocabulary: int = 0
    check_steps: int = CHECK_STEPS
    rate: float = 0.0
    examples_of_epoch: int = 0
    slow_under_xla: bool = False

    @property
    def classes(self) -> bool:
        """Whether the targets are classes."""
        return self.outputs > 1

    @property
    def loss(self) -> str:
        """Name of the loss, in trainlib and in Keras."""
        return "sparse_categorical_crossentropy" if self.classes else "mean_squared_error"

    @property
    def learning_rate(self) -> float:
        return self.rate or RATES[self.optimizer]

    @property
    def examples(self) -> int:
        return self.examples_of_epoch or self.steps * self.batch_size

    @property
    def steps_of_epoch(self) -> int:
        return -(-self.examples // self.batch_size)

    @property
    def evaluated(self) -> int:
        """Number of examples of an evaluation, in whole batches of EVALUATION_EXAMPLES."""
        return self.examples // EVALUATION_EXAMPLES * EVALUATION_EXAMPLES

    def structured(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return inputs and targets as the model takes them: by name where it has several."""
        if self.net != "wide_deep":
            return x, y
        return {"wide": x[..., :5], "deep": x[..., 2:]}, dict.fromkeys(LOSS_WEIGHTS, y)

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of a chain's parameters: kernel and bias by layer, as in Keras."""
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


LOSS_WEIGHTS = {"main": 0.875, "aux": 0.125}
"""Weights of the losses of the outputs of `wide_deep`."""
WORKLOADS = {
    "tiny": Workload((8,), (30,), 1, "sgd", 32, 60_000),
    "mlp_sgd": Workload((784,), (300, 100), 10, "sgd", 32, 3_000),
    "mlp_adam": Workload((784,), (300, 100), 10, "adam", 32, 3_000),
    "wide": Workload((784,), (690, 690, 690), 10, "adam", 100, 600),
    "cnn": Workload((28, 28, 1), (128,), 10, "adam", 32, 400, filters=32),
    "resnet": Workload(
        *((32, 32, 3), (), 10, "adam", 128, 16),
        net="resnet",
        check_steps=4,
        rate=2.0**-13,
        slow_under_xla=True,
    ),
    "lstm": Workload((80,), (), 10, "adam", 32, 200, net="lstm", vocabulary=5000, rate=2.0**-8),
    "gru": Workload((80,), (), 10, "adam", 32, 200, net="gru", vocabulary=5000, rate=2.0**-8),
    "transformer": Workload(
        (64,), (), 10, "adam", 32, 128, net="transformer", vocabulary=5000, check_steps=64
    ),
    "embedding": Workload(
        *((20,), (), 10, "adam", 32, 96),
        net="embedding",
        vocabulary=200_000,
        check_steps=48,
        rate=2.0**-9,
    ),
    "separable": Workload(
        (28, 28, 1), (), 10, "adam", 32, 64, net="separable", check_steps=8, rate=2.0**-10
    ),
    "wide_deep": Workload((8,), (30, 30), 1, "sgd", 32, 20_000, net="wide_deep"),
    "housing_epochs": Workload(
        (8,), (30, 30), 1, "sgd", 32, 100 * 363, check_steps=363, examples_of_epoch=11_610
    ),
}
VALIDATION_EXAMPLES = 3_870
"""Examples of the validation after each epoch, of workloads whose runs have several."""


def workload(name: str, quick: bool = False) -> Workload:
    """Return the workload of a name; `quick` makes its run as short as the check."""
    found = WORKLOADS[name]
    return found._replace(steps=found.check_steps) if quick else found


class WorkloadWriter:
    """Writer of a workload's files; runs in a separate process, because it needs TensorFlow."""

    def __init__(self, folder: str, name: str, quick: bool) -> None:
        self.folder, self.workload = Path(folder), workload(name, quick)

    def write(self, epochs: int) -> None:
        """Write data, weights, and the orders that `tl.Trainer` draws for some epochs."""
        from trainlib.training.order import epoch_order

        def order(epoch: int, size: int) -> np.ndarray:
            return epoch_order(SEED, epoch, size)

        write_numbers(self.folder, self.workload)
        for epoch in range(epochs):
            np.save(self.folder / f"order_{epoch}.npy", order(epoch, self.workload.examples))
        checked = self.workload.check_steps * self.workload.batch_size
        size = min(checked, self.workload.examples)
        np.save(self.folder / "check_order.npy", order(0, size))


def write_numbers(folder: Path, of: Workload) -> None:
    """Write x.npy, y.npy, the same of the evaluation and of the validation, and weights.npz."""
    rng = np.random.default_rng(SEED)
    inputs = of.vocabulary or int(np.prod(of.input_shape))
    planted = rng.standard_normal((inputs, of.outputs), "float32")
    sizes = {"": max(of.examples, EVALUATION_EXAMPLES), "evaluation_": EVALUATION_EXAMPLES}
    if of.examples_of_epoch:
        sizes["validation_"] = VALIDATION_EXAMPLES
    for prefix, size in sizes.items():
        x, y = data(rng, size, planted, of)
        np.save(folder / f"{prefix}x.npy", x)
        np.save(folder / f"{prefix}y.npy", y)
    np.savez(folder / "weights.npz", *first_weights(rng, of))


def first_weights(rng: np.random.Generator, of: Workload) -> list[np.ndarray]:
    """Return He-normal kernels and zero biases; other models than chains as Keras draws them."""
    if of.net:
        from contenders.keras_nets import draw_weights

        return draw_weights(of, SEED)
    return [
        np.zeros(shape, "float32")
        if len(shape) == 1
        else (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype("float32")
        for shape in of.shapes()
    ]


def read_weights(folder: Path) -> list[np.ndarray]:
    """Return the initial weights by layer."""
    with np.load(folder / "weights.npz") as file:
        return [file[name] for name in file.files]


def data(
    rng: np.random.Generator, size: int, planted: np.ndarray, of: Workload
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs in [-1, 1] with classes, or normally distributed inputs with a value each.

    The class is the largest output of the linear map `planted`; the value is the tanh of its
    output, and noise. Inputs with a vocabulary are integers, each with a row of `planted`.
    """
    if of.vocabulary:
        words = rng.integers(1, of.vocabulary, (size, *of.input_shape), dtype="int32")
        return words, np.argmax(planted[words].sum(axis=1), axis=1).astype("int32")
    if of.classes:
        greys = rng.integers(0, 256, (size, *of.input_shape), dtype="uint8")
        x = greys.astype("float32") / np.float32(127.5) - np.float32(1)
        return x, np.argmax(x.reshape(size, -1) @ planted, axis=1).astype("int32")
    x = rng.standard_normal((size, *of.input_shape), dtype="float32")
    noise = rng.standard_normal((size, of.outputs), dtype="float32")
    return x, np.tanh(x @ planted) + np.float32(0.1) * noise
