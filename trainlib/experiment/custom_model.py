"""Custom models in an experiment: checks, and the layers that are added around a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

import trainlib.models as models
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.heads import Head
from trainlib.experiment.model_signature import Shapes
from trainlib.experiment.targets import INPUTS
from trainlib.experiment.task import Task
from trainlib.models.layers import chain
from trainlib.models.signature import ModelSignature
from trainlib.training.keras_private import all_layers, inputs_of_calls, outputs_of
from trainlib.training.model_ending import PROBABILITIES, ends_in_logits, final_activation
from trainlib.training.output_names import OutputOf, names_of_outputs
from trainlib.training.paths import shown


def wrapped(
    config: ExperimentConfig, task: Task, custom: Any, layers: list[Any] | dict[str, list[Any]]
) -> Any:
    """Return a custom model with layers that scale its inputs, and with final activations.

    A model with several inputs or outputs takes and returns dicts by name.

    Args:
        config: the experiment.
        task: data of the experiment, with its loss and targets.
        custom: the custom Keras model.
        layers: layers that scale the input, or a dict of them by input; ignored if the model has
            such layers.

    Raises:
        ValueError: the model does not suit the data.
    """
    outputs = names_of_outputs(custom)
    one_output = outputs is None or (len(outputs.names) == 1 and outputs.by_order)
    saved = config.model.name.endswith(".keras")
    check_shapes(custom, task, ": replace_head gives it a new one" if saved else "")
    if isinstance(layers, dict) or isinstance(task.shapes, dict) or task.heads or not one_output:
        return _by_name(config, task, custom, layers)
    before = [] if models.has_preprocessing(custom) or _takes_integers(custom) else layers
    activation = _activation_to_add(config, task.head(), custom)
    if not before and activation is None:
        return custom
    x = keras.Input(task.train.x.shape[1:], name="input")
    (y,) = keras.tree.flatten(chain(x, [*before, custom]))  # it may be a list of one output
    if activation is not None:
        y = keras.layers.Activation(activation, name="probabilities")(y)
    return keras.Model(x, y, name="scaled" if before else custom.name)


def _by_name(
    config: ExperimentConfig, task: Task, custom: Any, layers: list[Any] | dict[str, list[Any]]
) -> Any:
    """Return a custom model with several inputs or outputs as one that takes and returns dicts."""
    given = _inputs_by_name(custom, task.shapes)
    looked_up = _looked_up(custom)
    inputs, seen = {}, {}
    for name, tensor in given.items():
        inputs[name] = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        before = layers.get(name, []) if isinstance(layers, dict) else layers
        plain = _scales(custom) or id(tensor) in looked_up or "int" in tensor.dtype
        seen[id(tensor)] = chain(inputs[name], [] if plain else before)
    y = custom(keras.tree.map_structure(lambda tensor: seen[id(tensor)], _input_structure(custom)))
    x: Any = inputs if isinstance(task.shapes, dict) else next(iter(inputs.values()))
    names = names_of_outputs(custom)
    assert names is not None
    outputs = {}
    labels = tuple(task.heads) if len(task.heads) == len(names.names) == 1 else names.names
    for position, (name, output) in enumerate(zip(labels, tf.nest.flatten(y), strict=True)):
        head, activation = task.head(name), None
        if head.target.activation in models.LOGITS_ACTIVATIONS:
            activation = _activation_to_add(config, head, OutputOf(custom, position))
        after = [] if activation is None else [_activation(activation, name)]
        outputs[name] = chain(output, after)
    one = len(outputs) == 1 and names.by_order and not task.heads
    return keras.Model(x, next(iter(outputs.values())) if one else outputs, name=custom.name)


def _activation(kind: str, output: str) -> Any:
    """Return the layer that turns the logits of an output into probabilities."""
    return keras.layers.Activation(kind, name=f"{output}_probabilities")


def _inputs_by_name(model: Any, shapes: Shapes) -> dict[str, Any]:
    """Return the input tensors of a model by the names of the inputs in the data.

    Raises:
        ValueError: the names of the model and of the data differ.
    """
    found = input_tensors(model)
    if not isinstance(shapes, dict) or len(found) == len(shapes) == 1:
        name = next(iter(shapes)) if isinstance(shapes, dict) else "input"
        (tensor,) = found.values()
        return {name: tensor}
    return {name: found[name] for name in shapes}


def input_tensors(model: Any) -> dict[str, Any]:
    """Return the inputs of a model by name: keys of a dict, or names of the input layers."""
    given = _input_structure(model)
    if isinstance(given, Mapping):
        return dict(given)
    return {tensor.name: tensor for tensor in keras.tree.flatten(given)}


def _input_structure(model: Any) -> Any:
    """Return the inputs of a model in the structure in which it takes them."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _looked_up(model: Any) -> set[int]:
    """Return the ids of the tensors of a graph of layers that embeddings may take as indices.

    They are found in nested graphs too; of another layer with an embedding inside all its inputs
    count.
    """
    found: set[int] = set()
    for layer in model.layers:
        if not any(isinstance(x, keras.layers.Embedding) for x in all_layers(layer)):
            continue
        inputs = getattr(layer, "inputs", None) if isinstance(layer, keras.Model) else None
        inside = _looked_up(layer) if inputs else set()
        for given in inputs_of_calls(layer):
            taken = given
            if inputs:
                taken = [x for x, own in zip(given, inputs, strict=False) if id(own) in inside]
            found |= set(map(id, taken))
    return found


def _scales(model: Any) -> bool:
    """Return whether a model scales its inputs; embeddings of some inputs do not scale the rest."""
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return any(isinstance(layer, kinds) for layer in all_layers(model)) and (
        models.has_preprocessing(model)
    )


def _takes_integers(model: Any) -> bool:
    """Return whether the input of a model is declared as integers."""
    return "int" in model.inputs[0].dtype


def _activation_to_add(config: ExperimentConfig, head: Head, custom: Any) -> str | None:
    """Return the activation to add to a custom model that ends in logits; None for none.

    Raises:
        ValueError: `from_logits` contradicts the model or the loss.
    """
    activation, ending = head.target.activation, final_activation(custom)
    if activation not in models.LOGITS_ACTIVATIONS:
        if config.from_logits is not None:
            raise ValueError(
                f"from_logits is for losses of logits or probabilities, which {head.loss} is not"
            )
        return None
    if config.from_logits and ending in PROBABILITIES:
        raise ValueError(f"from_logits is true, but the model ends in a {ending}: leave it out")
    are_logits = ends_in_logits(ending, activation)
    return activation if config.from_logits or (config.from_logits is None and are_logits) else None


def check_input(model: Any, shapes: Shapes, source: str) -> None:
    """Raise `ValueError` unless a model takes examples of a shape.

    Args:
        model: a Keras model.
        shapes: shape of one example, or those of several inputs by their names.
        source: name of the data, for the message.
    """
    source = shown(source)
    if not getattr(model, "inputs", None):
        raise ValueError("the model must begin with keras.Input for each of its inputs")
    found = {name: tuple(x.shape[1:]) for name, x in input_tensors(model).items()}
    if isinstance(shapes, dict) and len(found) > 1:
        fit = set(shapes) == set(found) and all(
            _fits(found[name], shape) for name, shape in shapes.items()
        )
        if not fit:
            raise ValueError(
                f"the model has the inputs {_listed(found)}; {source} has {_listed(shapes)}"
            )
        return
    if len(found) > 1:
        raise ValueError(
            f"the model has the inputs {_listed(found)}, but {source} has one of shape {shapes}: "
            "name arrays x_NAME, or give the columns of a table by input_columns"
        )
    (expected,) = found.values()
    if isinstance(shapes, dict) and len(shapes) > 1:
        raise ValueError(f"the model has one input, but {source} has {_listed(shapes)}")
    shape = next(iter(shapes.values())) if isinstance(shapes, dict) else shapes
    if not _fits(expected, shape):
        raise ValueError(
            f"the model takes examples of shape {expected}; those of {source} have shape {shape}"
        )


def _fits(expected: Sequence[int | None], shape: Sequence[int]) -> bool:
    """Return whether a shape matches the expected one, where None matches any length."""
    return len(expected) == len(shape) and all(
        a in (None, b) for a, b in zip(expected, shape, strict=True)
    )


def _listed(shapes: Mapping[str, Sequence[int | None]]) -> str:
    """Return the names and shapes of inputs as text."""
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())


def check_shapes(model: Any, task: Task, hint: str = "") -> None:
    """Raise `ValueError` unless the outputs of a model suit the targets.

    Args:
        model: the model.
        task: the data.
        hint: end of the message about an output of another shape. Default: "".
    """
    check_input(model, task.shapes, task.dataset.name)
    names = names_of_outputs(model)
    if names is None:
        raise ValueError("the model must be a graph of layers that begins with keras.Input")
    several = len(names.names) > 1 or not names.by_order
    if task.heads and (set(names.names) != set(task.heads) and len(task.heads) + several > 1):
        raise ValueError(
            f"the model has the outputs {', '.join(names.names)}; {task.dataset.name} has "
            f"{', '.join(f'y_{name}' for name in task.heads)}"
        )
    for name, output in zip(names.names, tf.nest.flatten(outputs_of(model)), strict=True):
        head, shape = task.head(name), tuple(output.shape[1:])
        expected = task.train.x.shape[1:] if head.target.form == INPUTS else (head.units,)
        if shape != expected:
            which = f"output {name!r}" if several else "output"
            raise ValueError(
                f"the model's {which} for an example has shape {shape}; {head.loss} on "
                f"{task.dataset.name} needs {expected}{hint}"
            )


def with_outputs_of(model: Any, signature: ModelSignature) -> ModelSignature:
    """Return the signature of the data, with the names of the model's outputs."""
    outputs = outputs_of(model)
    if isinstance(outputs, Mapping):
        return signature._replace(outputs=tuple(outputs))
    return signature
