"""The learning-rate range test of a configuration, and the files that it leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import trainlib.report.plots as plots
from trainlib.core.tree import kernels
from trainlib.experiment.building import Models, build_loss, build_regularizer
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.optimization import build_optimizer
from trainlib.experiment.rules import AUTO, RuleConfig
from trainlib.experiment.task import Task, training_data
from trainlib.tools.loss_curve import LRFinderResult, OnStep, RangeTest
from trainlib.tools.range_test import DEFAULT, lr_finder
from trainlib.training.files import write_text

CURVE_FILE = "lr_find.csv"
PICTURE_FILE = "lr_find.png"


def find_learning_rate(
    config: ExperimentConfig,
    task: Task,
    built: Models,
    on_step: OnStep | None = None,
    range_test: RangeTest = DEFAULT,
) -> LRFinderResult:
    """Run the range test of a configuration; the model is not changed.

    A batch of the test holds the examples of a whole update, accumulated gradients included.

    Args:
        config: the experiment; its learning rate, schedule and epochs are ignored.
        task: its data and loss.
        built: its model.
        on_step: called at each step, as by `lr_finder`.
        range_test: options of the test.
    """
    return lr_finder(
        built.trained,
        build_loss(config, task, built.from_logits),
        lambda rate: build_optimizer(config, rate),
        training_data(config, task),
        batch_size=config.batch_size * config.gradient_accumulation_steps,
        regularizer=build_regularizer(config),
        regularizer_mask=config.regularized_params or kernels,
        seed=config.seed,
        precision=config.precision,
        execution=config.execution,
        on_step=on_step,
        range_test=range_test,
    )


def is_rate_auto(config: ExperimentConfig) -> bool:
    """Return whether the learning rate is to be found by a range test."""
    return config.optimizer.hyperparameters.get("learning_rate") == AUTO


def with_learning_rate(config: ExperimentConfig, learning_rate: float) -> ExperimentConfig:
    """Return the configuration with another learning rate."""
    options = {**config.optimizer.hyperparameters, "learning_rate": learning_rate}
    return dataclasses.replace(config, optimizer=RuleConfig(config.optimizer.name, options))


def write_range_test(
    folder: Path, result: LRFinderResult, title: str, log: Callable[[str], Any]
) -> None:
    """Write the curve of a range test, and its picture.

    Args:
        folder: where to write.
        result: the test's result.
        title: title of the picture.
        log: called with a line where matplotlib, which draws the picture, is not installed.
    """
    rows = zip(result.rates, result.losses, result.smoothed, strict=True)
    lines = [f"{k},{','.join(str(float(x)) for x in row)}" for k, row in enumerate(rows)]
    write_text(folder / CURVE_FILE, "\n".join(["step,learning_rate,loss,smoothed", *lines]) + "\n")
    try:
        plots.save(plots.lr_find(result, title), folder / PICTURE_FILE)
    except ImportError as error:
        log(f"no {PICTURE_FILE}: {error}")


def read_range_test(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the learning rates, losses and smoothed losses that `write_range_test` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    file = folder / CURVE_FILE
    try:
        table = np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)
        _, rates, losses, smoothed = table.T
    except ValueError as error:
        raise ValueError(f"{file}: not the curve of a range test: {error}") from error
    return rates, losses, smoothed
