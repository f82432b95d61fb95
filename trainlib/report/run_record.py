"""The records of a run and of its model, from which pages are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainlib.report import page
from trainlib.report.augmentation import AugmentedExamples
from trainlib.report.columns import History
from trainlib.report.examples import ExampleData
from trainlib.report.predictions import Predictions
from trainlib.report.range_test import LossCurve
from trainlib.report.reconstructions import Reconstructions


@dataclass(frozen=True)
class RunRecord:
    """Record of a run, finished or not, read from its folder.

    Attributes:
        name: name of the run.
        history: results of each epoch, at least one.
        settings: values of its flags, as text by name; {}: unknown.
        flags: its flags as a flag file has them, one per line.
        made: the command with the flags that are not at their defaults, the date, the seed and the
            versions, as far as they are known.
        summary: its summary, with the results by part of the data; None if it is not finished.
        range_test: the curve of the range test that it began with; None if it had none.
        pretraining: the stages of pretraining, with "stage", "examples" and "history". Default:
            none.
    """

    name: str
    history: History
    settings: Mapping[str, str]
    flags: tuple[str, ...] = ()
    made: page.Provenance = page.Provenance()
    summary: Mapping[str, Any] | None = None
    range_test: LossCurve | None = None
    pretraining: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class OutputRecord:
    """Record of an output of a model, for its report.

    Attributes:
        loss: name of the loss.
        predictions: predictions of the test examples; reconstructions of an autoencoder.
        class_names: names of the classes; () for numbers.
    """

    loss: str
    predictions: Predictions | Reconstructions
    class_names: Sequence[str] = ()


@dataclass(frozen=True)
class ModelRecord:
    """Record of the model of a finished run, for its report.

    Attributes:
        sizes: number of examples by part of the data.
        params: number of parameters.
        outputs: its outputs by their names; "" for the only one.
        test: the test examples.
        schedule: positions in epochs, and the learning rates there; None if the learning rate is
            not a function of the step.
        augmented: training examples before and after augmentation; None if there is none.
    """

    sizes: Mapping[str, int]
    params: int
    outputs: Mapping[str, OutputRecord]
    test: ExampleData
    schedule: tuple[np.ndarray, np.ndarray] | None = None
    augmented: AugmentedExamples | None = None
