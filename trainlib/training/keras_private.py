"""The private names of Keras and TensorFlow that training uses.

Every private name that the library reads is in this module, once, with the reason. If a release
drops one, `tests/training/test_keras_private.py` fails and names it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from trainlib.core.types import Tensor

_CALL_STATE = ("autocast_scope", "current_call_ctx")
"""Names of Keras's global state during a layer's call: dtype of variables, arguments of calls."""
_NESTING = ("While", "If", "Case", "StatefulPartitionedCall")
"""Operations whose functions may assign variables."""
_RANDOM = frozenset(
    {
        *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
        *("ParameterizedTruncatedNormal", "RandomGamma", "RandomPoissonV2", "RandomShuffle"),
        *("Multinomial", "StatefulUniform", "StatefulUniformFullInt", "StatefulUniformInt"),
        *("StatefulStandardNormalV2", "StatefulTruncatedNormal", "StatefulRandomBinomial"),
        *("NonDeterministicInts", "PyFunc", "EagerPyFunc"),
    }
)
"""Operations that return something else each time they are run."""


def forget_uninitialized_variables() -> None:
    """Drop the variables that a `StatelessScope` has left without values.

    Keras would initialize them at the end of the next such scope.
    """
    from keras.src.backend.common.global_state import set_global_attribute

    set_global_attribute("uninitialized_variables", [])


class TracedCall:
    """Call of a traced function with tensors of its signature, which it does not check.

    The check takes longer than a small function. Gradients are not recorded through the call.

    Args:
        traced: a `ConcreteFunction`.

    Attributes:
        graph: graph of the function.
    """

    def __init__(self, traced: Any) -> None:
        self.graph = traced.graph
        self._traced, self._inner = traced, traced.inference_fn
        self._captured = list(traced.captured_inputs)

    def __call__(self, *args: Any) -> Any:
        tensors = tf.nest.flatten(args, expand_composites=True)
        return self._inner.call_preflattened([*tensors, *self._captured])


def all_layers(model: Any) -> list[Any]:
    """Return a model, its layers and those inside of them: of nested models and of wrappers.

    `model.layers` has the outer ones only.
    """
    return list(model._flatten_layers())


def direct_layers(layer: Any) -> list[Any]:
    """Return the direct sublayers of a layer, without layers nested in them."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def own_parameters(layer: Any) -> list[Any]:
    """Return the variables of a layer itself that were made to be trained, frozen or not.

    `layer.trainable_variables` leaves out frozen ones, and has those of inner layers too.
    """
    return list(layer._trainable_variables)


def metrics_of(layer: Any) -> list[Any]:
    """Return the metrics that a layer itself keeps.

    `layer.metrics` has those of inner layers too.
    """
    return list(layer._metrics)


def attributes_of(layer: Any) -> list[Any]:
    """Return the values of a layer's attributes, without the metrics that it keeps."""
    return [value for name, value in vars(layer).items() if name != "_metrics"]


def outputs_of(model: Any) -> Any:
    """Return the symbolic outputs of a graph of layers in the structure that its call returns.

    The public `model.outputs` is a flat list.
    """
    structure = getattr(model, "_outputs_struct", None)
    return model.outputs[0] if structure is None else structure  # None for a `Sequential`


def source_of(output: Any) -> tuple[Any, int, int]:
    """Return the layer that made a symbolic tensor, the index of its call, and that of the output.

    Keras has no public name for the graph of layers.
    """
    layer, node, index = output._keras_history
    return layer, node, index


def inputs_of_call(layer: Any, node: int) -> list[Any]:
    """Return the symbolic tensors that a call of a layer was given, by the index of the call.

    `layer.input` is that of the only call.
    """
    return inputs_of_calls(layer)[node]


def inputs_of_calls(layer: Any) -> list[list[Any]]:
    """Return the symbolic tensors that each call of a layer was given."""
    return [list(node.input_tensors) for node in layer._inbound_nodes]


def called_again(layer: Any, node: int, by: Any) -> Any:
    """Return the symbolic result of another layer for the arguments of a call of a layer."""
    arguments = layer._inbound_nodes[node].arguments
    return by(*arguments.args, **arguments.kwargs)


def mask_of(x: Any) -> Tensor | None:
    """Return the mask that layers and losses of Keras keep with a tensor; None if there is none.

    Keras passes masks to layers, but tensors that a model returns have them in this attribute.
    """
    return getattr(x, "_keras_mask", None)


def set_mask(x: Any, mask: Tensor | None) -> None:
    """Keep a mask with a tensor, where losses of Keras look for it."""
    x._keras_mask = mask


def logits_of(x: Any) -> Tensor | None:
    """Return the logits that an activation of Keras keeps with its probabilities, or None.

    The cross-entropies of Keras read them; there is no public name.
    """
    return getattr(x, "_keras_logits", None)


def preprocesses_inputs(layer: Any) -> bool:
    """Return whether a layer is one of Keras's that scale, encode or augment inputs.

    They have no common public class.
    """
    return any("layers.preprocessing." in kind.__module__ for kind in type(layer).__mro__)


def moments_method(layer: Any) -> Any:
    """Return the method by which a batch normalization takes its statistics; None if it has none.

    There is no public place between the statistics and their use.
    """
    method = getattr(layer, "_moments", None)
    return method if callable(method) else None


def has_replaced_moments(layer: Any) -> bool:
    """Return whether `replace_moments` was called for a layer."""
    return "_moments" in vars(layer)


def replace_moments(layer: Any, method: Any) -> None:
    """Let a batch normalization take its statistics by another method."""
    object.__setattr__(layer, "_moments", method)


def moments_axes(layer: Any) -> list[int]:
    """Return the axes over which a batch normalization takes its statistics: all but its own."""
    return list(layer._reduction_axes)


def has_its_variables(metric: Any) -> bool:
    """Return whether a metric has all its variables, which some make when they see predictions.

    `metric.variables` of one that is not built may lack some of them.
    """
    return bool(getattr(metric, "_built", True) and metric.variables)


def output_shape_of(layer: Any) -> Any:
    """Return the argument `output_shape` of a `Lambda`.

    The configuration of a `Lambda` holds it, but not its function where that cannot be serialized.
    """
    return layer._output_shape


def assigns_variables(graph: Any, first: int) -> bool:
    """Return whether operations of a graph, from a position on, assign a resource variable.

    TensorFlow lists the variables that a function reads, but not those that it assigns.
    """
    types = _operation_types(graph, first)
    return any(kind.startswith(("Assign", "ResourceScatter")) for kind in types)


def stateful_random_operation(graph: Any, first: int) -> str | None:
    """Return the type of an operation of a graph, from a position on, that draws other numbers
    each time it is run; None if there is none.
    """
    return next((kind for kind in _operation_types(graph, first) if kind in _RANDOM), None)


def _operation_types(graph: Any, first: int) -> list[str]:
    """Return the types of the operations of a graph, from a position on, and of their functions."""
    types = [operation.type for operation in graph.get_operations()[first:]]
    if any(kind in _NESTING for kind in types):
        functions = graph.as_graph_def().library.function
        types += [node.op for function in functions for node in function.node_def]
    return types


def graph_of_layers(model: Any) -> Any | None:
    """Return the graph of layers that a model runs through; None for one that has only a `call`.

    That of a `Sequential` is another model.
    """
    graph = getattr(model, "_functional", model)
    return graph if hasattr(graph, "_nodes_by_depth") else None


def calls_of(graph: Any) -> list[Any]:
    """Return the calls of layers and operations in a graph, in the order in which Keras makes them.

    A call has the attributes `operation`, `arguments`, `input_tensors` and `outputs`.
    """
    by_depth = graph._nodes_by_depth
    calls = (call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth])
    return [call for call in calls if call.operation is not None and not call.is_input]


RUN_OF_GRAPH = "_run_through_graph"
"""The method of a graph that makes its calls: `(inputs, operation_fn) -> outputs`.

Operations are called by what `operation_fn` makes of them.
"""
CALL_IN_SCOPE = "rematerialized_call"
"""The method of a layer that returns its call as its `keras.RematScope` says, given the call."""


def pack_outputs(graph: Any, outputs: list[Any]) -> Any:
    """Return the outputs of a graph in the structure that its call returns."""
    import keras

    return keras.tree.pack_sequence_as(graph._outputs_struct, outputs)


def is_rematerialized(layer: Any) -> bool:
    """Return whether a layer was made within a `keras.RematScope` that may apply to it."""
    scope = getattr(layer, "_remat_mode", None)
    return scope is not None and scope.mode is not None


def copy_rematerialization(layer: Any, new: Any) -> None:
    """Let a layer be rematerialized as another is, whose configuration does not say it."""
    new._remat_mode = layer._remat_mode


def call_state() -> dict[str, Any]:
    """Return Keras's global state during the current call of a layer."""
    from keras.src.backend.common.global_state import get_global_attribute

    return {name: get_global_attribute(name) for name in _CALL_STATE}


@contextlib.contextmanager
def in_call_state(state: dict[str, Any]) -> Iterator[None]:
    """Context with Keras's global state of an earlier call."""
    from keras.src.backend.common.global_state import set_global_attribute

    before = call_state()
    for name, value in state.items():
        set_global_attribute(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            set_global_attribute(name, value)
