"""A trainer's context: its model as a function, its devices, its programs and its state."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from trainlib.core.types import Optimizer
from trainlib.step.mixed_targets import takes_mixed_targets
from trainlib.step.state import StepConfig
from trainlib.training.augmentation import Augmentation, Augmenter, as_augmentation
from trainlib.training.averages import takes_statistics
from trainlib.training.batch_statistics import moving_statistics
from trainlib.training.context import TrainingContext
from trainlib.training.devices import OneDevice
from trainlib.training.execution import check_xla_is_safe, default_execution, steps_to_compile
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


class TrainerArguments(NamedTuple):
    """The arguments of a `Trainer`; its docstring describes them.

    Attributes:
        model: a Keras model or a `FunctionalModel`.
        objective: the loss and the metrics.
        optimizer: the optimizer.
        settings: the options of the trainer.
        strategy: name of the strategy: "one_device", "mirrored", "multi_worker" or "auto".
        precision: name of the precision policy; None for that of the model.
        execution: how steps are executed: "auto", "graph", "xla" or "xla_update".
        seed: seed of the order of examples and of dropout.
    """

    model: Any
    objective: Objective
    optimizer: Optimizer
    settings: TrainerSettings
    strategy: str
    precision: str | None
    execution: str
    seed: int

    @property
    def is_keras(self) -> bool:
        """Whether the model is one of Keras."""
        return not isinstance(self.model, FunctionalModel)

    @property
    def fixed_execution(self) -> bool:
        """Whether the user chose the execution."""
        return self.execution != "auto"

    @property
    def computed_precision(self) -> str | None:
        """The precision that was chosen, or the mixed one that the model was built in; or None."""
        return self.precision or built_precision(self.model)


def assemble(given: TrainerArguments) -> TrainingContext:
    """Return the context of a trainer, with the state before the first step on the devices.

    Raises:
        TypeError, ValueError: as `Trainer`.
    """
    model, settings = given.model, given.settings
    strategy = get_strategy(given.strategy, settings.replicas)
    if settings.shared is not None and strategy is not None:
        raise ValueError(f"shared programs are for one device, got strategy {given.strategy!r}")
    augmentation = as_augmentation(settings.augment)
    averages = given.is_keras and settings.average is not None
    momenta = moving_statistics(model) if averages else {}
    pure = as_functional_model(
        model,
        given.seed,
        given.precision,
        synchronized=strategy is not None,
        open_numbers=settings.shared is not None,
        gradient_checkpointing=settings.gradient_checkpointing,
    )
    config = _step_config(given, pure, tuple(momenta), augmentation)
    programs = _programs(given, config, pure, strategy)
    measures = given.computed_precision != "mixed_float16"  # a graph may be very slow
    return TrainingContext(
        programs,
        strategy,
        _execution(given, strategy),
        ResultsReader(programs, settings.report, settings.nonfinite in ("skip", "roll_back")),
        fixed_execution=given.fixed_execution,
        # Workers could measure differently and disagree.
        untuned=not given.fixed_execution and not is_multi_worker(strategy),
        measures=measures,
        # Programs that are shared are compiled once for many runs.
        min_xla_steps=steps_to_compile(model) if measures and settings.shared is None else 0,
        model=ModelLink(model, programs.variables) if given.is_keras else None,
        stateful=stateful_layer(model),
        augmenter=None
        if augmentation is None
        else Augmenter(augmentation, programs.devices.local_rows),
        momenta=momenta if takes_statistics(programs.variables.average) else {},
        rebuild=functools.partial(
            assemble, given._replace(settings=dataclasses.replace(settings, shared=None))
        ),
        recomputes=settings.gradient_checkpointing,
    )


def _step_config(
    given: TrainerArguments,
    pure: FunctionalModel,
    averaged_state: Sequence[str],
    augmentation: Augmentation | None,
) -> StepConfig:
    """Return the configuration of a training step of the model.

    Args:
        given: the arguments of the trainer.
        pure: the model as a function.
        averaged_state: keys of the model state that are averaged with the parameters.
        augmentation: the augmentation of the training examples; None for none.
    """
    settings = given.settings
    config = StepConfig(
        pure.apply_fn,
        given.objective.loss,
        given.optimizer,
        metrics=given.objective.metrics,
        regularizer=restrict_regularizer(
            settings.regularizer, settings.regularizer_mask, pure.params
        ),
        loss_scale=settings.loss_scale_for(given.computed_precision),
        finite_guard=settings.nonfinite not in UNGUARDED,
        norms=settings.norms,
        constraints=constraints_of(given.model) if given.is_keras else {},
        average=settings.average,
        averaged_state=averaged_state,
    )
    mixes = augmentation is not None and augmentation.mix is not None
    return takes_mixed_targets(config) if mixes else config


def _programs(
    given: TrainerArguments, config: StepConfig, pure: FunctionalModel, strategy: Any
) -> Programs:
    """Return the programs of a trainer, or the shared ones, with the state before the first step.

    Args:
        given: the arguments of the trainer.
        config: configuration of the step.
        pure: the model as a function.
        strategy: the `tf.distribute.Strategy`; None for one device.
    """
    shared = given.settings.shared
    state = state_before_first_step(config, pure, given.seed)
    if shared is None:
        devices = devices_for(strategy, given.model, given.objective.loss)
    else:
        # For short runs XLA compiles nothing but the loop of training steps on whole batches.
        is_short = given.is_keras and stateful_layer(given.model) is None
        devices = OneDevice(open_rows=is_short, compiles_last_batch=not is_short)

    def make() -> Programs:
        return Programs(
            devices,
            config,
            state,
            halts=given.settings.nonfinite in HALTING,
            keeps_inference_state=given.is_keras,
        )

    return make() if shared is None else shared.take(state, make)


def _execution(given: TrainerArguments, strategy: Any) -> str:
    """Return how the steps of a trainer are executed, before anything is measured."""
    if strategy is not None:
        check_xla_is_safe(given.execution, given.model)
        return default_execution(given.execution, None)
    precision = given.precision if given.fixed_execution else given.computed_precision
    return default_execution(given.execution, given.model, precision)
