"""The learning-rate range test of a configuration."""

from __future__ import annotations

import dataclasses

from trainlib.core.tree import kernels
from trainlib.experiment.augmentation import build_augmentation
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, FunctionConfig
from trainlib.experiment.model_building import Models
from trainlib.experiment.model_signature import loss_weights_of
from trainlib.experiment.objective_building import build_losses, build_regularizer
from trainlib.experiment.optimization import build_optimizer
from trainlib.experiment.task import Task
from trainlib.experiment.training_data import training_arrays
from trainlib.tools.loss_curve import LRFinderResult, OnStep, RangeTest
from trainlib.tools.range_test import DEFAULT, lr_finder


def find_learning_rate(
    config: ExperimentConfig,
    task: Task,
    built: Models,
    on_step: OnStep | None = None,
    range_test: RangeTest = DEFAULT,
) -> LRFinderResult:
    """Run the learning-rate range test of a configuration; the model is not changed.

    With gradient accumulation, a batch of the test has the examples of one update.

    Args:
        config: the experiment; its learning rate, schedule and epochs are ignored.
        task: data of the experiment, with its loss.
        built: the model, as built by `build_models`.
        on_step: function called after each step, as for `lr_finder`. Default: None.
        range_test: options of the test. Default: `RangeTest()`.
    """
    return lr_finder(
        built.trained,
        build_losses(config, task, built.from_logits),
        lambda rate: build_optimizer(config, rate, rules=built.plan.rules),
        training_arrays(config, task),
        batch_size=config.batch_size * config.gradient_accumulation_steps,
        loss_weights=loss_weights_of(config, task.signature),
        regularizer=build_regularizer(config),
        regularizer_mask=config.regularized_params or kernels,
        seed=config.seed,
        precision=config.precision,
        execution=config.execution,
        gradient_checkpointing=config.gradient_checkpointing,
        augment=build_augmentation(config, task),
        on_step=on_step,
        range_test=range_test,
    )


def is_rate_auto(config: ExperimentConfig) -> bool:
    """Return whether the learning rate is "auto", found by a range test."""
    return config.optimizer.hyperparameters.get("learning_rate") == AUTO


def with_learning_rate(config: ExperimentConfig, learning_rate: float) -> ExperimentConfig:
    """Return the configuration with another learning rate."""
    options = {**config.optimizer.hyperparameters, "learning_rate": learning_rate}
    return dataclasses.replace(config, optimizer=FunctionConfig(config.optimizer.name, options))
