"""Predictions of the test examples, with the loss of each, for reports."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainlib.core.types import Tree
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.heads import Head
from trainlib.experiment.model_building import Models
from trainlib.experiment.objective_building import build_losses
from trainlib.experiment.saved_run import build_evaluator
from trainlib.experiment.targets import INDEX, INPUTS
from trainlib.experiment.task import Task
from trainlib.metrics.base import ACTIVATIONS
from trainlib.report.examples import ExampleData, is_image
from trainlib.report.predictions import Predictions
from trainlib.report.reconstructions import Reconstructions
from trainlib.step.state import ModelOutput
from trainlib.training.evaluator import Evaluator
from trainlib.training.from_logits import loss_for_model
from trainlib.training.functional_model import FunctionalModel, as_functional_model
from trainlib.training.output_names import OutputOf, names_of_outputs


def predict_test(
    config: ExperimentConfig, task: Task, built: Models
) -> dict[str, Predictions | Reconstructions]:
    """Return a model's predictions of the test examples, by output; "" is the name of a single one.

    Args:
        config: configuration of the run.
        task: data of the run, with its loss and targets.
        built: the model, as built by `build_models`.
    """
    test = task.part("test")
    x, y = task.arrays(test)
    found = build_evaluator(config, task, built).predict(x)
    losses = _losses(config, task, built)
    if not task.signature.outputs:
        return {"": _of_output(task.head(), y, found, losses, built.from_logits)}
    return {
        name: _of_output(task.head(name), y[name], found[name], losses[name], built.from_logits)
        for name in task.signature.outputs
    }


def _of_output(
    head: Head, y: np.ndarray, outputs: np.ndarray, losses: Any, from_logits: bool | None
) -> Predictions | Reconstructions:
    """Return the predictions of one output."""
    outputs, losses = outputs.astype(np.float32), np.asarray(losses, np.float64)
    if head.target.form == INPUTS:
        errors = losses.reshape(len(losses), -1).mean(axis=1)
        return Reconstructions(y, outputs.reshape(y.shape), errors)
    if not head.target.by_class:
        return Predictions(y, outputs.reshape(-1), None, losses)
    scores = outputs
    if from_logits:
        scores = np.asarray(ACTIVATIONS[str(head.target.activation)](outputs))
    true = y if head.target.form == INDEX else y.argmax(axis=1)
    name = "confidence" if head.target.activation else "score"
    return Predictions(true, scores.argmax(axis=1), scores, losses, name)


def _losses(config: ExperimentConfig, task: Task, built: Models) -> Any:
    """Return the loss of each test example, as in evaluation; a dict for several outputs."""
    chosen = build_losses(config, task, built.from_logits)
    names = names_of_outputs(built.trained)
    several = isinstance(chosen, dict)
    if isinstance(chosen, dict):
        assert names is not None
        loss: Any = {
            name: loss_for_model(one, OutputOf(built.trained, names.names.index(name)))
            for name, one in chosen.items()
        }
    else:
        loss = loss_for_model(chosen, built.trained)
    model = as_functional_model(built.trained, precision=config.precision)

    def apply_fn(params: Tree, state: Tree, examples: Tree, training: bool) -> ModelOutput:
        x, y = examples
        output = model.apply_fn(params, state, x, training=training)
        found = output.y_pred
        values = {k: loss[k](y[k], found[k]) for k in loss} if several else loss(y, found)
        return output._replace(y_pred=values)

    losses = FunctionalModel(apply_fn, model.params, model.model_state)
    test = task.part("test")
    return Evaluator(losses, execution=config.execution).predict(task.arrays(test))


def shown_examples(task: Task) -> ExampleData:
    """Return the test examples for a report.

    Of several inputs the first one with images is shown, or the columns of all inputs.
    """
    x, x_max, names = task.part("test").x, task.dataset.x_max, task.dataset.feature_names
    if not isinstance(x, dict):
        return ExampleData(x, x_max, (), names)
    for array in x.values():
        if is_image(array.shape[1:]):
            return ExampleData(array, 255.0 if array.dtype == np.uint8 else 0.0)
    tables = {name: array for name, array in x.items() if array.ndim == 2}
    named = [f"{name}_{k}" for name, array in tables.items() for k in range(array.shape[1])]
    size = task.part("test").size
    return ExampleData(np.concatenate([np.empty([size, 0]), *tables.values()], 1), 0.0, (), named)


def class_names(task: Task, output: str) -> list[str]:
    """Return the names of an output's classes; [] for numbers."""
    classes = task.head(output).classes
    named = list(task.dataset.class_names)
    return named if len(named) == classes else [str(k) for k in range(classes)]
