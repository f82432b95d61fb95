"""The task of an experiment: its data in parts, with the loss, the targets and the metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tree
from trainlib.data import Dataset, Examples
from trainlib.experiment.heads import Head
from trainlib.experiment.model_signature import (
    PLAIN_SIGNATURE,
    Shapes,
    inputs_of,
    shapes_of,
    targets_of,
)
from trainlib.experiment.targets import Target
from trainlib.models.signature import ModelSignature
from trainlib.user_code import name_of

PARTS = ("train", "validation", "test")
"""The parts of the data, as a `Task` names them."""


class Task(NamedTuple):
    """The data of an experiment in parts, with their loss, targets and metrics.

    Attributes:
        dataset: the complete data set.
        train: training examples; for a streamed pipeline, its first examples.
        validation: validation examples; None if there are none.
        test: test examples; None if there are none.
        loss: name of the loss.
        target: form of the targets.
        outputs: number of units of the model's output layer.
        metrics: names of the metrics.
        signature: named inputs and outputs of the model. Default: one of each.
        weights: weights of the training examples, [N]. Default: None, all are 1.
        heads: the head of each output, by name, if the outputs have different targets; `loss`,
            `target`, `outputs` and `metrics` are then those of the first. Default: {}, all outputs
            predict the same targets.
    """

    dataset: Dataset
    train: Examples
    validation: Examples | None
    test: Examples | None
    loss: str
    target: Target
    outputs: int
    metrics: tuple[str, ...]
    signature: ModelSignature = PLAIN_SIGNATURE
    weights: np.ndarray | None = None
    heads: Mapping[str, Head] = {}

    @property
    def shapes(self) -> Shapes:
        """Shape of one example; a dict of shapes by name if the model has several inputs."""
        return shapes_of(self.signature, self.train.x)

    def head(self, output: str = "") -> Head:
        """Return the head of an output; by default that of the only or the first output."""
        if output in self.heads:
            return self.heads[output]
        classes = self.dataset.classes if self.target.by_class else 0
        return Head(self.loss, self.target, self.outputs, self.metrics, classes)

    @property
    def result_names(self) -> tuple[str, ...]:
        """Names of the results of the only or the first output: the loss and the metrics."""
        return ("loss", *map(name_of, self.metrics))

    @property
    def is_streamed(self) -> bool:
        """Whether training reads a pipeline, whose first examples are in `train`."""
        return self.dataset.stream is not None

    def parts(self) -> dict[str, Examples]:
        """Return the parts whose examples are all in memory, by name."""
        names = PARTS[1:] if self.is_streamed else PARTS
        return {name: x for name in names if (x := getattr(self, name)) is not None}

    def part(self, name: str) -> Examples:
        """Return a part by its name.

        Raises:
            ValueError: the task has no such part, or its examples are not in memory.
        """
        if name == PARTS[0] and self.is_streamed:
            raise ValueError(f"part {name}: it is a pipeline, not in memory: give another part")
        found: Examples | None = getattr(self, name)
        if found is None:
            raise ValueError(f"part {name}: the run kept no examples for it")
        return found

    def arrays(self, examples: Examples) -> tuple[Tree, Tree]:
        """Return examples as (x, y), in the form of the model's inputs and outputs."""
        return inputs_of(self.signature, examples.x), targets_of(self.signature, examples.y)


def outputs_summary(task: Task) -> dict[str, Any]:
    """Return the entry of a run's summary about several outputs; {} for one output."""
    if not task.signature.outputs:
        return {}
    heads = {name: task.head(name) for name in task.signature.outputs}
    return {"outputs": {name: {"classes": x.classes, "loss": x.loss} for name, x in heads.items()}}


def held_out(task: Task) -> tuple[Any, ...] | None:
    """Return the validation data as (x, y); None if there are none."""
    return None if task.validation is None else task.arrays(task.validation)


def fingerprint(task: Task) -> str:
    """Return a hash of all examples of a task; workers compare it before they start."""
    digest = hashlib.sha256()
    parts = [getattr(task, name) for name in PARTS]
    for array in tf.nest.flatten([task.weights, parts]):
        if array is not None:
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
