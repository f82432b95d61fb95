"""The temperature of a run's model, fitted on its validation data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.model_building import Models, as_seen_by_loss
from trainlib.experiment.task import Task
from trainlib.models.temperature import uncalibrated_logits, with_temperature
from trainlib.tools.calibration import (
    Calibration,
    calibration_at,
    final_probabilities,
    fit_temperature,
)
from trainlib.training.evaluator import Evaluator

PARTS = ("validation", "test")
"""Parts of the data for which the effect of a temperature is recorded."""


def check_calibration(config: ExperimentConfig, task: Task, built: Models) -> None:
    """Raise `ValueError` if `calibrate` is set for a run that cannot be calibrated."""
    if not config.calibrate:
        return
    if not task.target.by_class:
        raise ValueError(f"calibrate is for classifiers; loss {task.loss} predicts numbers")
    if task.signature.outputs:
        raise ValueError("calibrate is for models of one output: leave out auxiliary_output")
    if task.validation is None:
        raise ValueError("calibrate needs validation data: validation_split above 0")
    try:
        uncalibrated_logits(built.full)
    except ValueError as error:
        raise ValueError(f"calibrate: {error}") from None


def calibrate_models(
    config: ExperimentConfig, task: Task, built: Models
) -> tuple[Models, dict[str, Calibration]]:
    """Return the models of a run with a temperature, and its effect by part of the data.

    Args:
        config: the experiment.
        task: data of the experiment, with a validation part.
        built: the trained model, as built by `build_models`.

    Raises:
        ValueError: the likelihood has no maximum, so that no temperature can be fitted.
    """
    activation = final_probabilities(built.full)
    evaluator = Evaluator(
        uncalibrated_logits(built.full), precision=config.precision, execution=config.execution
    )
    parts = {name: x for name in PARTS if (x := getattr(task, name)) is not None}
    logits = {name: evaluator.predict(task.arrays(part)[0]) for name, part in parts.items()}
    fit = fit_temperature(logits["validation"], parts["validation"].y, activation=activation)
    found = {"validation": fit}
    if "test" in parts:
        found["test"] = calibration_at(
            fit.temperature, logits["test"], parts["test"].y, activation=activation
        )
    full = with_temperature(built.full, fit.temperature)
    return as_seen_by_loss(full, task, config.from_logits), found


def summary_of(found: Mapping[str, Calibration]) -> dict[str, Any]:
    """Return the entry of a run's summary about its temperature; {} without a temperature."""
    if not found:
        return {}
    by_part: dict[str, Any] = {}
    for part, calibration in found.items():
        values = calibration._asdict()
        by_part["temperature"] = values.pop("temperature")
        by_part[part] = values
    return {"calibration": by_part}
