"""The augmentation of a configuration: steps by name, or a custom function."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainlib.augmentation import parse_chain
from trainlib.augmentation.names import is_function
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.task import Task
from trainlib.report.augmentation import AugmentedExamples
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.augmentation import Augmentation, Augmenter, as_augmentation
from trainlib.training.data_adapter import DataAdapter
from trainlib.training.trainer import Trainer
from trainlib.user_code import import_function, import_object

SHOWN = 8
"""Number of examples that a report shows before and after augmentation."""
DRAWS = 4
"""Number of epochs whose augmented examples a report shows."""


def build_augmentation(config: ExperimentConfig, task: Task) -> Augmentation | None:
    """Return the augmentation of the training examples; None if there is none.

    The range of pixel values is [0, x_max] if the data set has an x_max, as for uint8 images; else
    it is the range of the training examples.

    Raises:
        ValueError: the examples are not images, or a custom function does not exist.
    """
    augment = config.data.augment
    if augment is None:
        return None
    if is_function(augment):
        found = import_object("augment", augment, config.code_path)
        if not isinstance(found, Augmentation):
            found = import_function("augment", augment, config.code_path)
        return as_augmentation(found)
    x = task.train.x
    if isinstance(x, Mapping):
        raise ValueError(
            "augment takes images of one input, but the examples have "
            f"{', '.join(x)}: give a function, as module:function"
        )
    if x.ndim not in (3, 4):
        raise ValueError(
            f"augment is for images, but an example of {task.dataset.name} has the shape "
            f"{list(x.shape[1:])}: leave it out"
        )
    largest = task.dataset.x_max
    value_range = (0.0, largest) if largest else (float(x.min()), float(x.max()))
    return parse_chain(augment, value_range if value_range[0] < value_range[1] else None)


def check_augmentation(trainer: Trainer, data: DataAdapter) -> None:
    """Augment the first examples, so that errors are raised before a file is written.

    Raises:
        ValueError: the augmentation does not suit the examples.
    """
    augmenter = trainer.context.augmenter
    if augmenter is not None and isinstance(data, ArrayAdapter):
        try:
            augmenter.examples(np.arange(min(data.size, 4)), data, trainer.context.seed, 0)
        except (ValueError, TypeError) as error:
            raise ValueError(f"augment: {error}") from error


def augmented_examples(config: ExperimentConfig, task: Task) -> AugmentedExamples | None:
    """Return the first training examples before and after augmentation, in the first epochs.

    Returns:
        None if the examples are not augmented, or the model has several inputs.
    """
    augmentation = build_augmentation(config, task)
    if augmentation is None or task.signature.inputs or isinstance(task.train.x, Mapping):
        return None
    ids = np.linspace(0, task.train.size - 1, min(SHOWN, task.train.size)).astype(int)
    data, augmenter = ArrayAdapter("data", tuple(task.train), len(ids)), Augmenter(augmentation)
    after = [augmenter.examples(ids, data, config.seed, epoch)[0] for epoch in range(DRAWS)]
    return AugmentedExamples(augmentation.name, task.train.x[ids], np.stack(after), ids)
