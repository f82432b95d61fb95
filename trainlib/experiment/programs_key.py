"""The key of compiled programs: experiments with the same key share them.

The key is text of all settings on which the programs depend. A setting is part of it unless it is
listed here.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import trainlib.models as models
import trainlib.registry as registry
from trainlib.experiment.average_config import SWA
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import FunctionConfig, floating
from trainlib.experiment.model_building import Models
from trainlib.experiment.model_signature import PLAIN_SIGNATURE, shapes_of
from trainlib.experiment.optimization import (
    can_hold_hyperparameters,
    is_rate_in_state,
    is_tabulated,
)
from trainlib.experiment.schedule_building import table_length
from trainlib.experiment.task import Task
from trainlib.experiment.training_data import steps_per_epoch
from trainlib.training.automatic_names import has_numbered_names
from trainlib.training.layer_numbers import architecture
from trainlib.transforms.factory_arguments import is_injected
from trainlib.user_code import is_spec

IN_DATA = ("dataset", "data")
"""Settings of the data: programs depend only on the shapes and types of the data, which are in the
key."""
IN_MODEL = ("model", "transfer", "from_logits", "safe_mode", "parameters")
"""Settings of the model; the key has the layers of the model instead.

An experiment that freezes layers, or has rates by depth, shares no programs.
"""
OF_THE_RUN = (
    *("epochs", "seed", "monitors", "callbacks", "validation_ratio", "calibrate"),
    *("report", "checkpoints", "tensorboard", "worker_timeout", "ensemble", "pretrain"),
)
"""Settings that take effect between the calls of programs, or are values in the training state."""
WITH_VALUES = ("optimizer", "schedule", "clipping", "regularizer", "norms")
"""Settings whose numbers are values in the training state; the key has the other parts of them."""
NOT_IN_KEY = frozenset((*IN_DATA, *IN_MODEL, *OF_THE_RUN, *WITH_VALUES))


def programs_key(config: ExperimentConfig, task: Task, built: Models) -> str | None:
    """Return the key of a trainer's compiled programs.

    Args:
        config: the experiment; its learning rate is not "auto".
        task: data of the experiment, with its loss and targets.
        built: the model, as built by `build_models`.

    Returns:
        The key; None if the programs cannot be shared, because the data are streamed, or the model
        has custom layers or layers with automatically numbered names.
    """
    found = architecture(built.trained)
    if found is None or task.is_streamed:
        return None
    if config.model.name not in models.MODELS and has_numbered_names(built.trained):
        return None
    steps = steps_per_epoch(config, task)
    settings = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in NOT_IN_KEY
    }
    parts = {
        "architecture": found,
        "from_logits": built.from_logits,
        "augment": config.data.augment,
        "task": (task.loss, task.target, task.outputs, task.metrics, task.signature, task.heads),
        "examples": tuple(shapes_of(PLAIN_SIGNATURE, array) for array in task.train),
        "regularizer": _without_numbers("regularizer", config.regularizer),
        "norms": config.reports_norms,
        **_optimization(config, steps),
        "average": config.weight_average.kind == SWA and (config.epochs, steps),
    }
    return repr((settings, parts))


def _optimization(config: ExperimentConfig, steps: int) -> dict[str, Any]:
    """Return the part of the key about the optimizer."""
    of_rate: Any = "in the state"
    if not is_rate_in_state(config):
        of_rate = ("table", table_length(config, steps))
    if not is_tabulated(config):
        of_rate = (config.schedule, config.epochs, steps, config.optimizer)
    if not can_hold_hyperparameters(config):
        return {"optimizer": config.optimizer, "rate": of_rate, "clipping": config.clipping}
    return {
        "optimizer": _without_held(config.optimizer, registry.OPTIMIZERS),
        "clipping": config.clipping and _without_held(config.clipping, registry.CLIPPING),
        "rate": of_rate,
    }


def _without_held(chosen: FunctionConfig, factories: Any) -> Any:
    """Return a function without the hyperparameters that are values in the optimizer's state."""
    if is_spec(chosen.name):
        return chosen.name, sorted(chosen.hyperparameters)
    factory = factories[chosen.name]
    return chosen.name, {
        name: "a value" if is_injected(factory, name, value) else value
        for name, value in chosen.hyperparameters.items()
        if name != "learning_rate"  # it is always in the state, whether it is given or not
    }


def _without_numbers(kind: str, chosen: FunctionConfig | None) -> Any:
    """Return a function without the hyperparameters that are variables of the programs."""
    if chosen is None:
        return None
    numbers = dict.fromkeys(floating(kind, chosen), "a value")
    return chosen.name, {**chosen.hyperparameters, **numbers}
