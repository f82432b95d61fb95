"""The model of a finished run, ready to be evaluated."""

from __future__ import annotations

from pathlib import Path

import trainlib.models as models
from trainlib.cli import build, run_folder
from trainlib.cli.flag_types import Values
from trainlib.core.tree import kernels
from trainlib.optimizers import sgd
from trainlib.training.trainer import Trainer


def load(folder: Path, task: build.Task, safe_mode: bool) -> build.Models:
    """The model that a run left, as its loss sees it.

    Args:
        folder: of the run.
        task: its data and its loss.
        safe_mode: as of `trainlib.models.load_model`.

    Raises:
        ValueError, FileNotFoundError: there is none, or it does not fit the data.
    """
    model = models.load_model(str(folder / run_folder.MODEL_FILE), safe_mode)
    built = build.seen_by_loss(model, task.loss)
    build.check_shapes(built.full, task)
    return built


def evaluator(built: build.Models, values: Values, task: build.Task) -> Trainer:
    """Evaluates and predicts on one device as the run did.

    Args:
        built: the model.
        values: of the flags of the run.
        task: its data and its loss.
    """
    return Trainer(
        built.trained,
        build.build_loss(values, task.loss, built.from_logits),
        sgd(),
        metrics=build.build_metrics(values, task, built.from_logits),
        regularizer=build.build_regularizer(values),
        regularizer_mask=values.regularized_params or kernels,
        precision=values.precision,
        strategy="one_device",
        execution=values.execution,
    )
