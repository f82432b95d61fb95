"""What input costs beside the steps: arrays, files, pipelines and augmentation, in processor time.

Processor time is that of a process and its loaders, in user and in system mode. Other programs on
the machine change it little. It is the least of the rounds, because they can only add to it.
"""

from __future__ import annotations

import abc
import resource
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from race import PAUSE, log_progress
from worker import Missing, Worker
from workloads import SEED, Workload, first_weights, workload

CONTENDERS = {"ours": "ours", "keras_": "keras", "torch_": "torch"}
"""Names by module of the contenders in training."""
MEMORY = "memory"
WAYS = {
    MEMORY: "arrays in memory",
    "mapped": "a memory-mapped file",
    "pipeline": "`tf.data`, `DataLoader`",
    "augmented": "arrays in memory, augmented",
    "kept": "image files, decoded once",
    "decoded": "image files, decoded in each epoch",
}
"""Ways to the batches. What is augmented is `CHAIN`."""
CHAIN = "flip=horizontal,rotation=0.1,zoom=0.1,contrast=0.1"


class Images(NamedTuple):
    """Images of a workload.

    Attributes:
        batches: number of batches of an epoch.
        format: "png" or "jpeg".
    """

    batches: int
    format: str


IMAGES = {"cnn": Images(128, "png"), "resnet": Images(8, "jpeg")}
"""The workloads: gray images of 28 x 28 and colored ones of 32 x 32 pixels."""


def measure_input(
    folder: Path, names: list[str], modules: list[str], quick: bool, rounds: int
) -> dict[str, Any]:
    """Return the processor time of a step by workload, contender and way of input.

    Args:
        folder: for the images, and the logs of the processes.
        names: names of workloads; those in `IMAGES` are measured.
        modules: those of the contenders in training.
        quick: whether everything is small.
        rounds: number of epochs of each way.
    """
    found = {}
    for name in [name for name in names if name in IMAGES]:
        own = folder / f"input_{name}"
        own.mkdir()
        arguments = {"folder": str(own), "name": name, "quick": quick}
        with Worker("inputs:ImageWriter", own / "writer.log", **arguments) as writer:
            decoding = writer.call("write")
        measured = {}
        for contender in [CONTENDERS[module] for module in modules if module in CONTENDERS]:
            log_progress(f"input: {name}, {contender}")
            target = f"contenders.{contender}_input:Feeding"
            try:
                with Worker(target, own / f"{contender}.log", **arguments) as worker:
                    measured[contender] = _measure(worker, 1 if quick else rounds)
            except Missing as error:
                log_progress(f"input: {contender} is left out: {error}")
        found[name] = {
            "batch_size": workload(name).batch_size,
            "format": IMAGES[name].format,
            "microseconds_to_decode_an_image": decoding,
            "contenders": measured,
        }
    return found


def _measure(worker: Worker, rounds: int) -> dict[str, Any]:
    """Return the figures of a contender by way of input."""
    ways = worker.call("ways")
    times: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    rows: dict[str, dict[str, Any]] = {}
    for way in ways:
        first = worker.call("epoch", way=way)  # compiles; reads files into the system's memory
        rows[way] = {"first_cpu_ms": first["cpu_ms"]}
    for _ in range(rounds):
        for way in ways:
            time.sleep(PAUSE)
            times[way].append(worker.call("epoch", way=way) | worker.call("alone", way=way))
    for way, found in times.items():
        for key in found[0]:
            rows[way][key] = min(x[key] for x in found)
    for way in ways:
        pairs = zip(times[way], times[MEMORY], strict=True)
        rows[way]["share"] = statistics.median(a["cpu_ms"] / b["cpu_ms"] - 1 for a, b in pairs)
        rows[way]["share_alone"] = rows[way]["alone_cpu_ms"] / rows[MEMORY]["cpu_ms"]
    return rows


def processor_time() -> float:
    """Return the seconds of this process and of those that it has waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


class Feeding(abc.ABC):
    """A workload's model in training on images that come in several ways.

    Args:
        folder: holds x.npy, y.npy, weights.npz and, in `images`, a folder for each class.
        name: name of the workload.
        quick: whether an epoch has two batches.
    """

    def __init__(self, folder: str, name: str, quick: bool) -> None:
        self.folder, self.workload = Path(folder), workload(name)
        self.images, self.steps = self.folder / "images", steps_of(name, quick)
        self.x, self.y = (np.load(self.folder / f"{letter}.npy") for letter in "xy")
        self.mapped = np.load(self.folder / "x.npy", mmap_mode="r")
        self.height_and_width = self.x.shape[1:3]
        self._made: dict[str, Any] = {}

    def ways(self) -> list[str]:
        """Return the ways of input that this contender has."""
        return [way for way in WAYS if hasattr(self, f"from_{way}")]

    @abc.abstractmethod
    def train(self, data: Any) -> None:
        """Train on an epoch of what a method `from_WAY` returned, and wait for the last step."""

    @abc.abstractmethod
    def read(self, data: Any) -> None:
        """Read an epoch without training."""

    def epoch(self, way: str) -> dict[str, float]:
        """Return milliseconds of processor time, and of time, per step of an epoch."""
        return self._timed(self.train, way, "")

    def alone(self, way: str) -> dict[str, float]:
        """Return the same of reading an epoch without training."""
        return self._timed(self.read, way, "alone_")

    def _timed(self, run: Any, way: str, prefix: str) -> dict[str, float]:
        if way not in self._made:
            self._made[way] = getattr(self, f"from_{way}")()
        began, used = time.perf_counter(), processor_time()
        run(self._made[way])
        per_step = 1e3 / self.steps
        return {
            f"{prefix}cpu_ms": per_step * (processor_time() - used),
            f"{prefix}ms": per_step * (time.perf_counter() - began),
        }


def steps_of(name: str, quick: bool) -> int:
    """Return the number of batches of an epoch."""
    return 2 if quick else IMAGES[name].batches


class ImageWriter:
    """Writer of the images as an array and as files; runs in a process that has TensorFlow."""

    def __init__(self, folder: str, name: str, quick: bool) -> None:
        self.folder, self.workload = Path(folder), workload(name)
        self.size = steps_of(name, quick) * self.workload.batch_size
        self.format = IMAGES[name].format

    def write(self) -> float:
        """Write all, and return the microseconds of processor time to decode an image alone."""
        import tensorflow as tf

        rng = np.random.default_rng(SEED)
        x, y = draw_images(rng, self.size, self.workload)
        np.save(self.folder / "x.npy", x)
        np.save(self.folder / "y.npy", y)
        np.savez(self.folder / "weights.npz", *first_weights(rng, self.workload))
        encode = tf.io.encode_png if self.format == "png" else tf.io.encode_jpeg
        encoded = [encode(image).numpy() for image in x]
        for i, (content, label) in enumerate(zip(encoded, y, strict=True)):
            path = self.folder / "images" / str(label) / f"{i:06}.{self.format}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self._decoding(encoded)

    def _decoding(self, encoded: list[bytes]) -> float:
        """Return the microseconds to decode an image of those in memory, in a loop in a graph."""
        import tensorflow as tf

        decode = tf.io.decode_png if self.format == "png" else tf.io.decode_jpeg

        @tf.function(autograph=False)
        def decode_all(contents: Any) -> Any:
            def add(i: Any, total: Any) -> tuple[Any, Any]:
                return i + 1, total + tf.cast(decode(contents[i])[0, 0, 0], tf.int32)

            return tf.while_loop(lambda i, _: i < tf.size(contents), add, (0, 0))[1]

        contents = tf.constant(encoded)
        decode_all(contents).numpy()
        taken = []
        for _ in range(3):
            used = processor_time()
            decode_all(contents).numpy()
            taken.append(processor_time() - used)
        return 1e6 * min(taken) / len(encoded)


def draw_images(rng: np.random.Generator, size: int, of: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return smooth uint8 images with a little noise, which compress as photos do, and classes."""
    height, width, channels = of.input_shape
    coarse = rng.uniform(0, 255, (size, 5, 5, channels))
    for axis, length in ((1, height), (2, width)):
        at = np.linspace(0, 4 - 1e-6, length)
        low, part = np.floor(at).astype(int), at - np.floor(at)
        part = part.reshape([-1 if i == axis else 1 for i in range(4)])
        first, second = (np.take(coarse, low + k, axis) for k in (0, 1))
        coarse = (1 - part) * first + part * second
    noisy = coarse + rng.normal(0, 4, coarse.shape)
    labels = rng.integers(0, of.outputs, size).astype("int32")
    labels[: of.outputs] = np.arange(of.outputs)[:size]
    return np.clip(noisy, 0, 255).astype("uint8"), labels
