"""A trainer's context: its model as a function, its devices, its programs and its state."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from trainlib.core.types import Optimizer
from trainlib.step.mixed_targets import takes_mixed_targets
from trainlib.step.state import StepConfig
from trainlib.training.augmentation import Augmenter, as_augmentation
from trainlib.training.averages import takes_statistics
from trainlib.training.batch_statistics import moving_statistics
from trainlib.training.context import TrainingContext
from trainlib.training.devices import OneDevice
from trainlib.training.execution import default_execution, steps_to_compile
from trainlib.training.functional_model import (
    FunctionalModel,
    as_functional_model,
    built_precision,
)
from trainlib.training.model_link import ModelLink, stateful_layer
from trainlib.training.model_variables import constraints_of
from trainlib.training.nonfinite import HALTING, UNGUARDED
from trainlib.training.objectives import Objective
from trainlib.training.options import TrainerSettings
from trainlib.training.programs import Programs, state_before_first_step
from trainlib.training.replicas import devices_for
from trainlib.training.resolve import restrict_regularizer
from trainlib.training.results import ResultsReader
from trainlib.training.strategies import get_strategy, is_multi_worker


def assemble(
    model: Any,
    objective: Objective,
    optimizer: Optimizer,
    settings: TrainerSettings,
    *,
    strategy: str,
    precision: str | None,
    execution: str,
    seed: int,
) -> TrainingContext:
    """Return the context of a trainer, with the state before the first step on the devices.

    Args:
        model: a Keras model or a `FunctionalModel`.
        objective: its loss and its metrics.
        optimizer: the optimizer.
        settings: the options of the trainer.
        strategy: as for `Trainer`.
        precision: as for `Trainer`.
        execution: as for `Trainer`.
        seed: as for `Trainer`.

    Raises:
        TypeError, ValueError: as `Trainer`.
    """
    distribution = get_strategy(strategy, settings.replicas)
    on_one_device = distribution is None
    shared = settings.shared
    if shared is not None and not on_one_device:
        raise ValueError(f"shared programs are for one device, got strategy {strategy!r}")
    pure = as_functional_model(
        model,
        seed,
        precision,
        synchronized=not on_one_device,
        open_numbers=shared is not None,
        gradient_checkpointing=settings.gradient_checkpointing,
    )
    is_keras, fixed = not isinstance(model, FunctionalModel), execution != "auto"
    policy = precision or built_precision(model)
    config = _step_config(pure, objective, optimizer, policy, settings)
    momenta = moving_statistics(model) if is_keras and settings.average is not None else {}
    if is_keras:
        config = dataclasses.replace(
            config, constraints=constraints_of(model), averaged_state=tuple(momenta)
        )
    augmentation = as_augmentation(settings.augment)
    if augmentation is not None and augmentation.mix is not None:
        config = takes_mixed_targets(config)
    devices = devices_for(distribution, model, objective.loss)
    halts = settings.nonfinite in HALTING
    if shared is None:
        programs = Programs.for_model(devices, config, pure, seed, halts, is_keras)
    else:
        devices = OneDevice(open_rows=is_keras and stateful_layer(model) is None)
        state = state_before_first_step(config, pure, seed)
        programs = shared.take(state, lambda: Programs(devices, config, state, halts, is_keras))
    return TrainingContext(
        programs,
        distribution,
        shared.execution
        if shared is not None and shared.execution is not None
        else default_execution(execution, model, precision if fixed else policy)
        if on_one_device
        else default_execution(execution, None),
        ResultsReader(programs, settings.report, settings.nonfinite in ("skip", "roll_back")),
        fixed_execution=fixed,
        # Workers could measure differently and disagree.
        untuned=not fixed and policy != "mixed_float16" and not is_multi_worker(distribution),
        # Programs that are shared are compiled once for many runs.
        min_xla_steps=0 if shared is not None else steps_to_compile(model),
        model=ModelLink(model, programs.variables) if is_keras else None,
        stateful=stateful_layer(model),
        augmenter=None if augmentation is None else Augmenter(augmentation, devices.local_rows),
        momenta=momenta if takes_statistics(programs.variables.average) else {},
        rebuild=functools.partial(
            assemble,
            model,
            objective,
            optimizer,
            dataclasses.replace(settings, shared=None),
            strategy=strategy,
            precision=precision,
            execution=execution,
            seed=seed,
        ),
        recomputes=settings.gradient_checkpointing,
    )


def _step_config(
    model: FunctionalModel,
    objective: Objective,
    optimizer: Optimizer,
    precision: str | None,
    settings: TrainerSettings,
) -> StepConfig:
    """Return the configuration of a training step of the model."""
    return StepConfig(
        model.apply_fn,
        objective.loss,
        optimizer,
        metrics=objective.metrics,
        regularizer=restrict_regularizer(
            settings.regularizer, settings.regularizer_mask, model.params
        ),
        loss_scale=settings.loss_scale_for(precision),
        finite_guard=settings.nonfinite not in UNGUARDED,
        norms=settings.norms,
        average=settings.average,
    )
