"""Training data that are read again in each epoch: checks of the settings, and the batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from trainlib.data import Dataset, Examples
from trainlib.data.streams import Stream
from trainlib.experiment.balance import BALANCED
from trainlib.experiment.config import ExperimentConfig
from trainlib.models import RECONSTRUCTING
from trainlib.training.sources import EpochLength
from trainlib.training.stream_adapter import StreamAdapter

Converter: TypeAlias = Callable[[Examples, np.ndarray | None], tuple[Any, ...]]
"""`(examples, weights) -> (x, y)` or `(x, y, weight)`, as the model and the loss take them."""


def check_streamed(config: ExperimentConfig, dataset: Dataset) -> None:
    """Raise `ValueError` for settings that need all training examples in memory."""
    data = config.data
    if dataset.validation is None and data.validation_split:
        raise ValueError(
            f"validation_split {data.validation_split:g}: a streamed pipeline is not split: return "
            "a part validation too, or give 0"
        )
    needs = {
        "train_examples": data.train_examples is not None,
        "oversample": data.oversample,
        f"class_weight={BALANCED}": data.class_weight == BALANCED,
        f"model={config.model.name}": config.model.name in RECONSTRUCTING,
    }
    for setting, is_given in needs.items():
        if is_given:
            raise ValueError(
                f"{setting} needs all training examples in memory: leave it out, or stream_pipeline"
            )


def batches_of(config: ExperimentConfig, stream: Stream, converted: Converter) -> StreamAdapter:
    """Return the batches of a stream.

    Args:
        config: the experiment.
        stream: the pipeline.
        converted: function from examples and weights to a batch for the model and the loss.

    Raises:
        ValueError: the number of batches in an epoch is not known.
    """
    adapter = StreamAdapter(
        stream.where,
        stream.batches(config.batch_size),
        EpochLength(config.data.steps_per_epoch),
        read=lambda name, batch: converted(*stream.examples(batch)),
        identity=stream.fingerprint,
    )
    if adapter.batches() is None:
        same = f", or batch_size={stream.rows}, that of the pipeline" if stream.rows else ""
        raise ValueError(
            f"{stream.where}: the number of batches of an epoch is not known: give steps_per_epoch"
            f"{same}"
        )
    return adapter
