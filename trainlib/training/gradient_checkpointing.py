"""Gradient checkpointing of Keras models: the parts of a forward pass that are recomputed.

With `gradient_checkpointing=True` they are parts of the model's graphs of layers (`graph_parts`);
layers that were made within a `keras.RematScope` are recomputed in any case.
"""

from __future__ import annotations

import contextlib
import functools
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
from trainlib.training.reentry import reentered
from trainlib.training.variable_scope import VariableScope


class GradientCheckpointing:
    """The parts of a Keras model that the backward pass recomputes.

    Args:
        model: the model.
        by_parts: whether graphs of layers are recomputed in parts. Layers of a `keras.RematScope`
            are recomputed in any case. Default: False.

    Raises:
        ValueError: `by_parts` is set, and the model has no parts.
    """

    def __init__(self, model: Any, by_parts: bool = False) -> None:
        self._graphs = [(x, divide(x)) for x in graphs_within(model)] if by_parts else []
        self._scoped = [
            (layer, layer is not model and _can_be_recomputed(layer))
            for layer in all_layers(model)
            if is_rematerialized(layer)
        ]
        has_parts = any(part.recomputed for _, parts in self._graphs for part in parts)
        if by_parts and not has_parts and not any(recomputed for _, recomputed in self._scoped):
            raise ValueError(
                f"gradient_checkpointing: the model {model.name!r} has no part to recompute: it "
                "needs a graph of several layers (Sequential, Functional), or layers that are made "
                "in a keras.RematScope; leave gradient_checkpointing out"
            )

    @contextlib.contextmanager
    def within(self, scope: VariableScope, training: bool) -> Iterator[None]:
        """Context of a forward pass in which the parts are recomputed.

        Args:
            scope: the values of the variables in the pass.
            training: whether a backward pass follows; nothing is recomputed otherwise.
        """
        with contextlib.ExitStack() as held:
            for graph, parts in self._graphs if training else ():
                run = _GraphInParts(graph, parts, scope)
                held.enter_context(method_replaced(graph, RUN_OF_GRAPH, _replaced_by(run)))
            # Entered again when a part is recomputed: Keras's method would otherwise be called
            # there for the layers inside the part.
            held.enter_context(reentered(lambda: self._scoped_calls(scope, training)))
            yield

    @contextlib.contextmanager
    def _scoped_calls(self, scope: VariableScope, training: bool) -> Iterator[None]:
        """Context in which layers of a `keras.RematScope` are recomputed here, not by Keras."""
        with contextlib.ExitStack() as held:
            for layer, recomputed in self._scoped:
                make = _plain_call
                if training and recomputed:
                    make = functools.partial(_recomputed_call, scope, layer)
                held.enter_context(method_replaced(layer, CALL_IN_SCOPE, make))
            yield


def _can_be_recomputed(layer: Any) -> bool:
    """Return whether a layer can be recomputed by itself.

    Not a graph of layers, which is more than a part; nor an embedding, whose gradient is sparse;
    nor what makes probabilities, whose logits a loss looks for.
    """
    if isinstance(layer, keras.layers.Softmax) or graph_of_layers(layer) is not None:
        return False
    if getattr(getattr(layer, "activation", None), "__name__", "") in PROBABILITIES:
        return False
    return not has_embedding(layer)


def _replaced_by(method: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
    """Return the `make` of `method_replaced` for a method that does not call the one before."""
    return lambda _: method


def _plain_call(_: Any) -> Callable[..., Any]:
    """Return a method CALL_IN_SCOPE that returns the call of a layer as it is."""
    return lambda call, *args, **options: call


def _recomputed_call(scope: VariableScope, layer: Any, of_keras: Any) -> Callable[..., Any]:
    """Return a method CALL_IN_SCOPE that returns the call of a layer, recomputed.

    It is recomputed where the layer's `keras.RematScope` says so, which Keras's method decides. The
    call that this returns is not used: `tf.recompute_grad` takes no keyword arguments in a graph,
    draws other random numbers when it recomputes, and loses gradients with respect to variables in
    a stateless scope.
    """

    def method(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        is_asked_for = of_keras(call, *args, **options) is not call
        return Recomputed(call, scope, [layer]) if is_asked_for else call

    return method


class _GraphInParts:
    """The method RUN_OF_GRAPH of a graph of layers, which makes its calls part by part.

    Args:
        graph: the graph.
        parts: the parts of the graph, in order.
        scope: the values of the variables in the pass.
    """

    def __init__(self, graph: Any, parts: Sequence[GraphPart], scope: VariableScope) -> None:
        self._graph, self._parts, self._scope = graph, parts, scope

    def __call__(self, inputs: Any, operation_fn: Callable[[Any], Any]) -> Any:
        given = keras.tree.flatten(inputs)
        tensors = {id(x): y for x, y in zip(self._graph.inputs, given, strict=True)}
        for part in self._parts:
            run: Callable[[list[Any]], list[Any]] = functools.partial(_run, part, operation_fn)
            if part.recomputed:
                run = Recomputed(run, self._scope, part.layers)
            made = run([tensors[id(x)] for x in part.inputs])
            tensors |= {id(x): y for x, y in zip(part.outputs, made, strict=True)}
        return pack_outputs(self._graph, [tensors[id(x)] for x in self._graph.outputs])


def _run(part: GraphPart, operation_fn: Callable[[Any], Any], inputs: list[Any]) -> list[Any]:
    """Return the outputs of a part of a graph, given its inputs."""
    tensors = {id(x): y for x, y in zip(part.inputs, inputs, strict=True)}
    for call in part.calls:
        args, options = call.arguments.fill_in(tensors)
        made = keras.tree.flatten(operation_fn(call.operation)(*args, **options))
        tensors |= {id(x): y for x, y in zip(call.outputs, made, strict=True)}
    return [tensors[id(x)] for x in part.outputs]
