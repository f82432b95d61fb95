"""Check that a model fits into memory, before it is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

import trainlib.models as models
import trainlib.registry as registry
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import takes
from trainlib.experiment.model_building import build_named
from trainlib.experiment.task import Task
from trainlib.training.keras_private import forget_uninitialized_variables
from trainlib.training.memory import free_memory
from trainlib.user_code import is_spec

LARGE = 2000
"""Width or number of filters from which a model's parameters are counted before it is built."""


def check_memory(config: ExperimentConfig, task: Task) -> None:
    """Check that parameters, gradients and optimizer state of a model by name fit into memory.

    Args:
        config: the experiment.
        task: data of the experiment, with its loss and targets.

    Raises:
        ValueError: they need more than the free memory.
    """
    options = config.model.hyperparameters
    largest = _largest(options)
    if config.model.name not in models.MODELS or largest is None:
        return
    count = _count_parameters(config, task)
    size = 8 if config.precision == "float64" else 4
    needed = size * count * (2 + _slots(config)) * (config.replicas or 1)
    free = free_memory()
    if free is not None and needed > free:
        raise ValueError(
            f"{largest}={_written(options[largest])}: model {config.model.name} has {count:.3g} "
            f"parameters, which need {needed / 2**30:,.1f} GiB with their gradients and the state "
            f"of {config.optimizer.name}, but {free / 2**30:,.1f} GiB are free: make it smaller"
        )


def _largest(options: Mapping[str, Any]) -> str | None:
    """Return the name of the hyperparameter that makes a model large, or None."""
    sizes = {
        name: max(x if isinstance(x, tuple) else (x,), default=0)
        for name, x in options.items()
        if isinstance(x, (int, tuple)) and not isinstance(x, bool) and name != "vocabulary"
    }
    if "filters" in sizes or "depth" in sizes:  # each block has twice the filters of the last
        filters = sizes.get("filters", 32)
        sizes["depth"] = filters << min(sizes.get("depth", 0), 60)
    name = max(sizes, key=lambda name: sizes[name], default="")
    return name if name in options and sizes[name] >= LARGE else None


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _count_parameters(config: ExperimentConfig, task: Task) -> int:
    """Return the number of parameters of a model, without allocating them."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = build_named(config, task)
    finally:
        forget_uninitialized_variables()
    return sum(math.prod(variable.shape) for variable in model.variables)


def _slots(config: ExperimentConfig) -> int:
    """Return the number of slots of an optimizer for each element of a matrix."""
    if is_spec(config.optimizer.name):
        return 0
    rate = takes("optimizer", config.optimizer.name).get("learning_rate")
    given = {h: x for h, x in config.optimizer.hyperparameters.items() if h != "learning_rate"}
    factory = registry.OPTIMIZERS[config.optimizer.name]
    state = factory(**given, **({"learning_rate": 0.01} if rate else {})).init(
        {"kernel": tf.zeros([4, 4])}
    )
    return sum(int(tf.size(x)) == 16 for x in tf.nest.flatten(state))
