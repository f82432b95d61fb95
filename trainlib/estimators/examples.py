"""The arrays that `fit` is given as the data of an experiment."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainlib.data import Dataset, Examples
from trainlib.data.examples import pick, split_by_class, split_indices
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.dataset_loading import data_dtype, takes_sequences
from trainlib.experiment.functions import AUTO
from trainlib.experiment.heads import metric_names, task_target
from trainlib.experiment.model_signature import model_signature
from trainlib.experiment.splits import split_seed
from trainlib.experiment.targets import INPUTS, ONE_HOT, form_of, target_of
from trainlib.experiment.task import Task

PIXEL_MAX = 255.0
NAME = "X"
"""Name of the data in messages."""


class Arrays(NamedTuple):
    """Examples as an estimator has checked them.

    Attributes:
        x: inputs, [N, ...].
        y: classes as indices [N], rows of 0 and 1 [N, labels], or numbers [N] or [N, outputs].
        weights: weights of the examples, [N]; None: 1.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None


class TargetNames(NamedTuple):
    """What is known about the targets of all data.

    Attributes:
        loss: the loss that "auto" stands for.
        classes: the names of the classes; () for numbers.
        labels: whether an example may have several classes at once.
    """

    loss: str
    classes: tuple[str, ...] = ()
    labels: bool = False


def model_inputs(x: np.ndarray, config: ExperimentConfig) -> np.ndarray:
    """Return inputs in the dtype in which a model takes them.

    Images of bytes stay as they are, sequences of integers become int32.

    Raises:
        ValueError: a number is too large for the dtype.
    """
    if x.dtype == np.uint8 and x.ndim > 2:
        return x
    if takes_sequences(config) and x.dtype.kind in "iu":
        return x.astype(np.int32, copy=False)
    dtype = data_dtype(config)
    with np.errstate(over="ignore"):
        found = x.astype(dtype, copy=False)
    if found.dtype != x.dtype and not np.isfinite(found).all():
        raise ValueError(f"Input X contains infinity or a value too large for dtype({dtype!r}).")
    return found


def build_task(
    config: ExperimentConfig,
    arrays: Arrays,
    names: TargetNames,
    fraction: float = 0.0,
    validation: Arrays | None = None,
) -> Task:
    """Return the data of an estimator in parts, with the loss and the metrics of a configuration.

    Args:
        config: the experiment.
        arrays: the examples.
        names: what is known about the targets.
        fraction: fraction of the examples that is kept for validation. Default: 0.
        validation: the examples for validation, in place of a fraction. Default: None.

    Raises:
        ValueError: the loss or the model is for other targets.
    """
    loss = names.loss if config.loss.name == AUTO else config.loss.name
    target = target_of(loss, len(names.classes))
    if task_target(config, loss, len(names.classes)).form == INPUTS:
        raise ValueError(f"model {config.model.name} reconstructs its inputs; it has no estimator")
    if target.by_class != bool(names.classes):
        wanted = "numbers" if names.classes else "classes"
        raise ValueError(f"loss {loss} is for {wanted}, which this estimator does not predict")
    if names.labels and config.data.class_weight is not None:
        raise ValueError("class_weight is for one class of each example: give sample_weight")
    if names.labels and target.form != ONE_HOT:
        raise ValueError(
            f"loss {loss} is for one class of each example: choose binary_crossentropy for several"
        )
    x_max = PIXEL_MAX if arrays.x.dtype == np.uint8 else 0.0
    vocabulary = int(arrays.x.max()) + 1 if arrays.x.dtype == np.int32 else 0
    nothing = Examples(arrays.x[:0], arrays.y[:0])
    dataset = Dataset(
        NAME, nothing, nothing, len(names.classes), x_max, (), names.classes, vocabulary=vocabulary
    )

    def formed(x: np.ndarray, y: np.ndarray) -> Examples:
        return Examples(x, y if names.labels else form_of(y, target.form, len(names.classes)))

    kept, held_out = split(arrays, names, fraction, split_seed(config))
    train, weights = formed(arrays.x, arrays.y), arrays.weights
    of_validation = None if validation is None else formed(validation.x, validation.y)
    if held_out is not None:
        of_validation, train = pick(train, held_out), pick(train, kept)
        weights = None if weights is None else weights[kept]
    outputs = len(names.classes) or (1 if arrays.y.ndim == 1 else arrays.y.shape[1])
    return Task(
        dataset,
        train,
        of_validation,
        None,
        loss,
        target,
        outputs,
        _metric_names(config, loss, names, of_validation is not None),
        model_signature(config, arrays.x.shape[1:]),
        weights,
    )


def _metric_names(
    config: ExperimentConfig, loss: str, names: TargetNames, validates: bool
) -> tuple[str, ...]:
    """Return the names of the metrics; by default the score, where there are validation data."""
    if tuple(metric.name for metric in config.metrics) != (AUTO,):
        return metric_names(config, loss, target_of(loss, len(names.classes)))
    if not validates:
        return ()
    if names.labels:
        return ("binary_accuracy",)
    return ("accuracy",) if names.classes else ("r2_score",)


def split(
    arrays: Arrays, names: TargetNames, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the indices of the training and of the validation examples, None where there are none.

    Raises:
        ValueError: a part would be empty.
    """
    size = len(arrays.x)
    if not fraction:
        return np.arange(size), None
    if not 0 < round(fraction * size) < size:
        raise ValueError(
            f"validation_fraction {fraction:g} keeps {round(fraction * size)} of n_samples={size} "
            "for validation; both parts need at least 1 sample"
        )
    if names.classes and not names.labels:
        return split_by_class(arrays.y, fraction, seed)
    return split_indices(size, fraction, seed)
