"""Build the model of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import keras

import trainlib.models as models
from trainlib.data import Examples
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.custom_model import with_outputs_of, wrapped
from trainlib.experiment.dataset_loading import VOCABULARY
from trainlib.experiment.functions import AUTO, FunctionConfig
from trainlib.experiment.model_signature import PLAIN_SIGNATURE, resolve_columns, shapes_of
from trainlib.experiment.scaling import scaling_layers
from trainlib.experiment.targets import INPUTS, takes_logits
from trainlib.experiment.task import Task
from trainlib.experiment.task_building import columns_of
from trainlib.experiment.training_data import steps_per_epoch
from trainlib.experiment.transfer import TransferPlan, freeze_layers, plan_for
from trainlib.experiment.user_functions import load_model, with_modules_of_model
from trainlib.interop.parameters import load_parameters
from trainlib.models.transfer import with_new_head
from trainlib.training.keras_settings import check_data_format
from trainlib.training.paths import printable
from trainlib.training.trainable import parts_of


class Models(NamedTuple):
    """A model in two forms, which share their variables.

    Attributes:
        full: the model that is saved.
        trained: the model whose outputs the loss takes.
        from_logits: whether `trained` ends in logits, and `full` in probabilities; None: inferred
            from the last layer.
        plan: the layers that are frozen, and when they are unfrozen. Default: no layer is frozen.
    """

    full: Any
    trained: Any
    from_logits: bool | None
    plan: TransferPlan = TransferPlan()


def build_models(config: ExperimentConfig, task: Task) -> Models:
    """Return the model of a configuration, with its initial parameters and frozen layers.

    Layers that scale the input are added unless the model has them. If the loss takes
    probabilities, the model ends in probabilities.

    Raises:
        ValueError, OSError: the model cannot be built or loaded, does not suit the data, or its
            parameters differ from those in the file `parameters`.
    """
    built, head = _all_trained(config, task)
    if config.parameters is not None:
        try:
            load_parameters(built.full, config.parameters)
        except ImportError as error:
            raise ValueError(str(error)) from None
    before = freeze_layers(config, built.full, head)
    return built._replace(plan=plan_for(config, built.trained, before))


def _all_trained(config: ExperimentConfig, task: Task) -> tuple[Models, str]:
    """Return the model, before layers are frozen, and the name of its new head, "" for none."""
    check_data_format()
    keras.utils.set_random_seed(config.seed)
    name = config.model.name
    layers: Any = scaling_layers(task) if config.data.preprocess == AUTO else []
    if name in models.MODELS:
        if config.from_logits is not None:
            raise ValueError(
                f"from_logits is for your own models; {name} always suits loss {task.loss}: leave "
                "it out"
            )
        if task.heads:
            raise ValueError(
                f"model {name} predicts one array y, but {task.dataset.name} has "
                f"{', '.join(f'y_{output}' for output in task.heads)}: give your own model, as "
                "module:function"
            )
        full = build_named(config, task, layers)
        return as_seen_by_loss(full, task), ""
    head = ""
    if name.endswith(".keras"):
        custom = load_model(name, with_modules_of_model(config), config.safe_mode)
        if config.transfer.replaces_head:
            custom, head = _with_new_head(config, task, custom)
    else:
        units = {output: head.units for output, head in task.heads.items()}
        custom = models.from_function(name, task.shapes, units or task.outputs, config.code_path)
    full = wrapped(config, task, custom, layers)
    return as_seen_by_loss(full, task, config.from_logits), head


def build_named(config: ExperimentConfig, task: Task, layers: Any = ()) -> Any:
    """Build a model of `tl.models.MODELS`, with hyperparameters that depend on the data.

    Args:
        config: the experiment.
        task: data of the experiment, with its loss and targets.
        layers: layers that scale the input. Default: none.

    Raises:
        ValueError: the model does not suit the data, or a hyperparameter is out of its range.
    """
    shape = shapes_of(PLAIN_SIGNATURE, task.train.x)
    options = resolve_columns(config.model, shape, columns_of(task.dataset))
    options |= _vocabulary(config, task)
    make = models.MODELS[config.model.name]
    return make(shape, task.outputs, task.target.activation, layers, **options)


def _with_new_head(config: ExperimentConfig, task: Task, model: Any) -> tuple[Any, str]:
    """Return a saved model with a new head for the targets of a task, and the name of the head."""
    if task.heads or task.target.form == INPUTS:
        raise ValueError("replace_head is for one array of targets y: leave it out")
    activation, cut_at = task.target.activation, config.transfer.cut_at
    changed = with_new_head(model, task.outputs, activation, cut_at=cut_at, seed=config.seed)
    return changed, list(parts_of(changed))[-1].name


def _vocabulary(config: ExperimentConfig, task: Task) -> dict[str, int]:
    """Return the hyperparameter "vocabulary" of a model for sequences; {} for other data.

    Raises:
        ValueError: the data hold an integer that is not in the configured vocabulary.
    """
    words = task.dataset.vocabulary
    if not words:
        return {}
    given = config.model.hyperparameters.get(VOCABULARY, words)
    if given < words:
        raise ValueError(
            f"vocabulary is {given}, but {task.dataset.name} holds the integer {words - 1}: give "
            f"at least {words}"
        )
    return {VOCABULARY: given}


def with_vocabulary(config: ExperimentConfig, task: Task) -> FunctionConfig:
    """Return the model of a configuration, with the vocabulary of the data."""
    chosen = config.model
    found = _vocabulary(config, task) if chosen.name in models.MODELS else {}
    return FunctionConfig(chosen.name, {**chosen.hyperparameters, **found}) if found else chosen


def as_seen_by_loss(full: Any, task: Task, from_logits: bool | None = None) -> Models:
    """Return a model and its part before the probabilities, if the loss can be computed of logits.

    Args:
        full: the model.
        task: the loss, and the activation of its predictions.
        from_logits: False if the outputs are declared to be probabilities. Default: None.
    """
    trained = None
    if takes_logits(task.loss) and not task.heads:
        trained = models.logits_model(full, task.target.activation)
    if trained is not None:
        return Models(full, trained, True)
    return Models(full, full, False if from_logits is False else None)


def matched_task(task: Task, built: Models) -> Task:
    """Return a task with the names of the model's outputs, and an autoencoder's scaled targets.

    Args:
        task: the task; the targets of an autoencoder are its inputs, not yet scaled.
        built: the model.
    """
    task = task._replace(signature=with_outputs_of(built.full, task.signature))
    if task.target.form != INPUTS:
        return task

    def scaled(part: Examples | None) -> Any:
        return part and part._replace(y=models.reconstruction_targets(built.full, part.x))

    train, validation, test = map(scaled, (task.train, task.validation, task.test))
    return task._replace(train=train, validation=validation, test=test)


def describe(config: ExperimentConfig, task: Task, built: Models) -> str:
    """Return one line of text about the data, the model and the optimizer."""
    names = {"train": "training"}
    sizes = [f"{x.size:,} {names.get(name, name)}" for name, x in task.parts().items()]
    if task.is_streamed:
        sizes.insert(0, f"{steps_per_epoch(config, task):,} training batches")
    average = config.weight_average.text
    return (
        f"{printable(task.dataset.name)}: {', '.join(sizes)} examples; "
        f"{printable(Path(config.model.name).name)}: "
        f"{built.full.count_params():,} parameters; {config.optimizer.name}"
        f"{average and f'; evaluated: average of the parameters, {average}'}"
    )
