"""Gradient checkpointing of Keras models: which parts of a forward pass are recomputed.

Of graphs of layers, nested ones too, the parts of `graph_parts`; and the layers that were made
within a `keras.RematScope`, as it says, in any model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from trainlib.training.graph_parts import GraphPart, divide, graphs_within, has_embedding
from trainlib.training.keras_private import (
    CALL_IN_SCOPE,
    RUN_OF_GRAPH,
    all_layers,
    graph_of_layers,
    is_rematerialized,
    pack_outputs,
)
from trainlib.training.layer_calls import method_replaced
from trainlib.training.model_ending import PROBABILITIES
from trainlib.training.recomputation import Recomputed
from trainlib.training.variable_scope import VariableScope


class GradientCheckpointing:
    """The parts of a Keras model that are recomputed in the backward pass.

    Args:
        model: the model.
        by_parts: whether graphs of layers are divided; otherwise only layers of a
            `keras.RematScope` are recomputed. Default: False.

    Raises:
        ValueError: parts are asked for, and the model has none.
    """

    def __init__(self, model: Any, by_parts: bool = False) -> None:
        scoped = [layer for layer in all_layers(model) if is_rematerialized(layer)]
        self._layers = [x for x in scoped if x is not model and _may_be(x)]
        self._whole = [x for x in scoped if x is model or not _may_be(x)]
        self._parts = [(x, divide(x)) for x in graphs_within(model)] if by_parts else []
        recomputed = any(part.recomputed for _, parts in self._parts for part in parts)
        if by_parts and not recomputed and not self._layers:
            raise ValueError(
                f"gradient_checkpointing: the model {model.name!r} has no part to recompute: it "
                "needs a graph of several layers (Sequential, Functional), or layers that are made "
                "in a keras.RematScope; leave gradient_checkpointing out"
            )

    @contextlib.contextmanager
    def within(self, scope: VariableScope, training: bool) -> Iterator[None]:
        """Context of a forward pass whose parts are recomputed, if it is one of training.

        Args:
            scope: the variables of the pass.
            training: whether a backward pass follows.
        """
        with contextlib.ExitStack() as held:
            for graph, parts in self._parts if training else ():
                run = _in_place_of_any(_Run(graph, parts, scope))
                held.enter_context(method_replaced(graph, RUN_OF_GRAPH, run))
            for layer in (*self._layers, *self._whole):
                recomputed = training and layer in self._layers
                make = _recomputed_in(scope, layer) if recomputed else _as_it_is
                held.enter_context(method_replaced(layer, CALL_IN_SCOPE, make))
            yield


def _may_be(layer: Any) -> bool:
    """Return whether a layer can be recomputed by itself.

    Not a graph of layers, which is more than a part; nor an embedding, whose gradient is sparse;
    nor what makes probabilities, whose logits a loss looks for.
    """
    if isinstance(layer, keras.layers.Softmax) or graph_of_layers(layer) is not None:
        return False
    if getattr(getattr(layer, "activation", None), "__name__", "") in PROBABILITIES:
        return False
    return not has_embedding(layer)


def _in_place_of_any(method: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
    """Return what makes a method, whatever the one before was."""
    return lambda _: method


def _as_it_is(_: Any) -> Callable[..., Any]:
    """Return a method that returns the call of a layer."""
    return lambda call, *args, **options: call


def _recomputed_in(scope: VariableScope, layer: Any) -> Callable[..., Any]:
    """Return what makes a method that returns the call of a layer, recomputed if Keras's would be.

    Keras's method wraps the call in `tf.recompute_grad`, which takes no keyword arguments in a
    graph, draws other random numbers when it recomputes, and loses gradients with respect to
    variables in a stateless scope.
    """

    def make(of_keras: Callable[..., Any]) -> Callable[..., Any]:
        def method(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
            is_asked_for = of_keras(call, *args, **options) is not call
            return Recomputed(call, scope, [layer]) if is_asked_for else call

        return method

    return make


class _Run:
    """Makes the calls of a graph of layers, part by part.

    Args:
        graph: the graph.
        parts: its parts.
        scope: the variables of the pass.
    """

    def __init__(self, graph: Any, parts: Sequence[GraphPart], scope: VariableScope) -> None:
        self._graph, self._parts, self._scope = graph, parts, scope

    def __call__(self, inputs: Any, operation_fn: Callable[[Any], Any]) -> Any:
        given = keras.tree.flatten(inputs)
        tensors = {id(x): y for x, y in zip(self._graph.inputs, given, strict=True)}
        for part in self._parts:
            values = [tensors[id(x)] for x in part.inputs]
            run = _calls_of(part, operation_fn)
            if part.recomputed:
                run = Recomputed(run, self._scope, part.layers)
            tensors |= {id(x): y for x, y in zip(part.outputs, run(values), strict=True)}
        return pack_outputs(self._graph, [tensors[id(x)] for x in self._graph.outputs])


def _calls_of(
    part: GraphPart, operation_fn: Callable[[Any], Any]
) -> Callable[[list[Any]], list[Any]]:
    """Return the calls of a part as a function of its inputs."""

    def run(values: list[Any]) -> list[Any]:
        tensors = {id(x): y for x, y in zip(part.inputs, values, strict=True)}
        for call in part.calls:
            args, options = call.arguments.fill_in(tensors)
            made = keras.tree.flatten(operation_fn(call.operation)(*args, **options))
            tensors |= {id(x): y for x, y in zip(call.outputs, made, strict=True)}
        return [tensors[id(x)] for x in part.outputs]

    return run
