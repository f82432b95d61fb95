"""Custom functions, given as `module:name` instead of a name of the registry."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

import trainlib.models as models
import trainlib.registry as registry
from trainlib.augmentation.names import is_function
from trainlib.core.types import Optimizer, Schedule
from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import FUNCTIONS, SINGULAR
from trainlib.metrics import Metric
from trainlib.models.loading import keras_objects
from trainlib.training.keras_private import all_layers
from trainlib.user_code import (
    code_path_of,
    import_function,
    import_module,
    import_object,
    is_installed,
    is_spec,
    module_of,
    required_parameters,
)


def with_modules_of_model(config: ExperimentConfig) -> ExperimentConfig:
    """Return a configuration with the recorded modules of the run whose `model.keras` it uses."""
    path = Path(config.model.name)
    if not path.name.endswith(".keras") or not (path.parent / run_folder.CONFIG_FILE).is_file():
        return config
    of_run = run_folder.read_config(path.parent)
    folders = [x for x in (config.code_path, of_run.code_path) if x]
    return dataclasses.replace(
        config,
        imports=tuple(dict.fromkeys([*config.imports, *of_run.imports])),
        code_path=os.pathsep.join(folders) or None,
    )


def make(config: ExperimentConfig, kind: str, name: str, **options: Any) -> Any:
    """Make a function by name: call the registry's factory, or import the custom function.

    A custom class, or a custom function without required arguments, is called and must return the
    function.
    """
    if not is_spec(name):
        return FUNCTIONS[kind][name](**options)
    kind = SINGULAR.get(kind, kind)
    found = import_object(kind, name, config.code_path)
    if isinstance(found, Metric):
        return found
    found = import_function(kind, name, config.code_path)
    if not isinstance(found, type) and required_parameters(found) != []:
        return found
    made = found()
    if not callable(made) and not isinstance(made, Metric):
        raise ValueError(
            f"{kind} {name}: can be called without arguments, so that it must return the function "
            f"that is used, got {made!r}"
        )
    return made


def optimizer_factory(config: ExperimentConfig) -> Callable[..., Optimizer]:
    """Return the factory of the optimizer: the registry's, or a custom one.

    Raises:
        ValueError: the custom function does not exist.
    """
    name = config.optimizer.name
    if not is_spec(name):
        return registry.OPTIMIZERS[name]
    found = import_object("optimizer", name, config.code_path)
    is_made, takes = isinstance(found, Optimizer), takes_rate(config)
    function = None if is_made else import_function("optimizer", name, config.code_path)

    def factory(**options: Any) -> Optimizer:
        made = found if function is None else function(**options) if takes else function()
        if not isinstance(made, Optimizer):
            raise ValueError(
                f"optimizer {name}: must return a tl.Optimizer, got {type(made).__name__}; "
                "tl.interop.optimizer_from_keras converts one of Keras"
            )
        return made

    factory.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("learning_rate", inspect.Parameter.KEYWORD_ONLY)]
    )
    return factory


def takes_rate(config: ExperimentConfig) -> bool:
    """Return whether the factory of the optimizer has an argument for the learning rate."""
    name = config.optimizer.name
    if not is_spec(name):
        return True
    found = import_object("optimizer", name, config.code_path)
    if isinstance(found, Optimizer) or not callable(found):
        return False
    return "learning_rate" in inspect.signature(found).parameters


def default_rate(config: ExperimentConfig) -> float:
    """Return the default learning rate of the optimizer in its convention.

    Raises:
        ValueError: a custom factory has no default.
    """
    name = config.optimizer.name
    if not is_spec(name):
        convention = config.optimizer.hyperparameters.get("convention")
        known = registry.hyperparameters(registry.OPTIMIZERS[name], convention)
        return float(known["learning_rate"].default)
    if not takes_rate(config):
        return 0.0
    found = import_object("optimizer", name, config.code_path)
    default = inspect.signature(found).parameters["learning_rate"].default
    if not isinstance(default, (int, float)):
        raise ValueError(f"optimizer {name} has no default rate: give learning_rate")
    return float(default)


def user_schedule(config: ExperimentConfig, name: str, **arguments: Any) -> Schedule:
    """Return a custom schedule: a function `step -> learning rate`, or the result of a factory.

    Args:
        config: the experiment.
        name: `module:name` of the schedule or the factory.
        **arguments: arguments that a factory may take, by name.

    Raises:
        ValueError: the function does not exist.
    """
    found: Any = make(config, "schedule", name)
    names = inspect.signature(found).parameters
    given = {key: value for key, value in arguments.items() if key in names}
    made: Schedule = found(**given) if given else found
    return made


def follows_run_length(config: ExperimentConfig) -> bool:
    """Return whether the length of a schedule, which may be a custom one, depends on the epochs.

    Raises:
        ValueError: the custom function does not exist.
    """
    if config.schedule.follows_run_length:
        return True
    custom = [x.name for x in config.schedule.schedules if is_spec(x.name)]
    made = (make(config, "schedule", name) for name in custom)
    return any("total_steps" in inspect.signature(schedule).parameters for schedule in made)


def import_modules(config: ExperimentConfig) -> None:
    """Import the modules that the configuration names.

    Raises:
        ValueError: a module does not exist, or raises an error.
    """
    for name in config.imports:
        import_module(f"imports {name}", name, config.code_path)


def load_model(path: str, config: ExperimentConfig, safe_mode: bool) -> Any:
    """Load the model of a `.keras` file, with custom layers from the modules of a configuration.

    Args:
        path: path of the file.
        config: the configuration, which names the modules.
        safe_mode: whether to refuse a file that contains code.

    Raises:
        ValueError, FileNotFoundError: the file or a module does not exist, or the file has no
            model.
    """
    return models.load_model(path, safe_mode, custom_objects(config))


def custom_objects(config: ExperimentConfig) -> dict[str, Any]:
    """Return the objects in the modules of a configuration that a model may need, by name.

    Raises:
        ValueError: a module does not exist, or raises an error.
    """
    found: dict[str, Any] = {}
    for name in config.imports:
        found |= keras_objects(import_module(f"imports {name}", name, config.code_path))
    return found


def modules_used(config: ExperimentConfig, model: Any) -> tuple[tuple[str, ...], str | None]:
    """Return the custom modules that a run needs, and the folders in which they are.

    Args:
        config: the configuration of the run.
        model: Keras model of the run, whose layers may be of custom classes.
    """
    config = with_modules_of_model(config)
    names = [*config.imports, *map(module_of, _specs(config)), *_modules_of_layers(model)]
    modules = [import_module(f"imports {name}", name, config.code_path) for name in _unique(names)]
    return tuple(module.__name__ for module in modules), code_path_of(modules) or config.code_path


def _unique(names: list[str]) -> list[str]:
    return list(dict.fromkeys(name for name in names if not is_installed(name)))


def _specs(config: ExperimentConfig) -> Iterator[str]:
    """Yield the names `module:name` in a configuration."""
    chosen = [config.model, config.optimizer, config.loss, config.regularizer, config.constraint]
    functions = [*chosen, *config.metrics, *config.schedule.schedules]
    names = [config.dataset, *(x.name for x in functions if x is not None), *config.callbacks]
    if config.data.augment is not None and is_function(config.data.augment):
        names.append(config.data.augment)
    yield from (name for name in names if is_spec(name) and not name.endswith(".keras"))


def _modules_of_layers(model: Any) -> Iterator[str]:
    for layer in all_layers(model):
        module = type(layer).__module__
        if isinstance(layer, keras.Layer) and not module.startswith("keras."):
            yield module
