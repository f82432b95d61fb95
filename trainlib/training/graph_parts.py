"""The division of a graph of layers into parts that are recomputed in the backward pass.

Between two parts, the tensors that later layers read are stored. The division minimizes

    values stored between the parts + values within the largest part

as computed from the shapes of the layers' inputs and outputs. For n equal layers in a row, each
part has about sqrt(n) layers.

References:
    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras

from trainlib.training.keras_private import (
    all_layers,
    calls_of,
    direct_layers,
    graph_of_layers,
)

_MAX_PARTS = 64
"""Largest number of parts for which a division is searched."""


class GraphPart(NamedTuple):
    """Successive calls of a graph of layers.

    Attributes:
        calls: the calls, in the order of the graph.
        inputs: symbolic tensors that calls of this part read and calls before it made.
        outputs: symbolic tensors that calls of this part make and calls after it read.
        recomputed: whether the backward pass computes the calls again.
    """

    calls: Sequence[Any]
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    recomputed: bool

    @property
    def layers(self) -> list[Any]:
        """The layers that are called."""
        found = {id(call.operation): call.operation for call in self.calls}
        return [x for x in found.values() if isinstance(x, keras.layers.Layer)]


def divide(graph: Any) -> list[GraphPart]:
    """Return the parts of a graph of layers, in order.

    Not recomputed are the last part, with which the backward pass begins; the parts that make
    outputs of the graph, because losses read the logits before a softmax; graphs within the graph,
    which are divided separately; and embeddings, whose gradients are sparse.

    Args:
        graph: graph of layers, from `keras_private.graph_of_layers`.
    """
    calls = calls_of(graph)
    alone = [_is_own_part(call.operation) for call in calls]
    ends = _best_ends([_values(call) for call in calls], _kept_values(graph, calls), alone)
    outputs = _made_for_outputs(graph, calls)
    parts = []
    for start, end in itertools.pairwise([0, *ends]):
        inside = calls[start:end]
        makes_outputs = any(id(x) in outputs for call in inside for x in call.outputs)
        recomputed = not (makes_outputs or alone[start] or end == len(calls))
        parts.append(GraphPart(inside, *_inputs_and_outputs(graph, calls, start, end), recomputed))
    return parts


def _made_for_outputs(graph: Any, calls: Sequence[Any]) -> set[int]:
    """Return the ids of the outputs, and of the tensors that are passed on as outputs unchanged."""
    found = {id(x) for x in graph.outputs}
    for call in reversed(calls):
        if _changes_nothing(call.operation) and any(id(x) in found for x in call.outputs):
            found |= {id(x) for x in call.input_tensors}
    return found


def _changes_nothing(operation: Any) -> bool:
    """Return whether a call changes no value of its input, but for a cast to another dtype."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is keras.activations.linear
    return type(operation).__name__ in ("Identity", "Cast")


def graphs_within(layer: Any) -> list[Any]:
    """Return the graphs of layers that a layer, or a model, calls: its own, and those inside.

    Graphs within wrappers and cells of Keras, which call them many times, are left out.
    """
    graph = graph_of_layers(layer)
    inner: list[Any] = []
    if graph is not None:
        inner = [call.operation for call in calls_of(graph)]
    elif not type(layer).__module__.startswith("keras."):
        inner = direct_layers(layer)
    found = [] if graph is None else [graph]
    for x in inner:
        if isinstance(x, keras.layers.Layer):
            found += graphs_within(x)
    return list({id(x): x for x in found}.values())


def _is_own_part(operation: Any) -> bool:
    """Return whether a call is a part by itself, which is not recomputed."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    return has_embedding(operation) or bool(graphs_within(operation))


def has_embedding(layer: Any) -> bool:
    """Return whether a layer has an embedding, whose gradient is sparse."""
    return any(isinstance(x, keras.layers.Embedding) for x in all_layers(layer))


def _size(x: Any) -> int:
    """Return the number of values of a symbolic tensor in an example; 1 for an axis without one."""
    return math.prod(n or 1 for n in x.shape)


def _values(call: Any) -> int:
    """Return the number of values that a call reads and makes."""
    return sum(_size(x) for x in (*call.input_tensors, *call.outputs))


def _kept_values(graph: Any, calls: Sequence[Any]) -> list[int]:
    """Return for each position between calls the number of values that are kept there.

    Entry i counts those that calls before call i make, and call i or later ones read.
    """
    last = {id(x): i for i, call in enumerate(calls) for x in call.input_tensors}
    last |= {id(x): len(calls) for x in graph.outputs}
    change = [0] * (len(calls) + 2)
    for i, call in enumerate(calls):
        for x in call.outputs:
            if last.get(id(x), i) > i:
                change[i + 1] += _size(x)
                change[last[id(x)] + 1] -= _size(x)
    return list(itertools.accumulate(change))[: len(calls) + 1]


def _best_ends(values: Sequence[int], kept: Sequence[int], alone: Sequence[bool]) -> list[int]:
    """Return after how many calls each part ends, in the division that needs the fewest values.

    Args:
        values: for each call, the number of values that it reads and makes.
        kept: for each position between calls, the number of values kept there (`_kept_values`).
        alone: for each call, whether it is a part by itself.
    """
    total = sum(values)
    found = []
    for count in range(1, min(len(values), _MAX_PARTS) + 1):
        ends = _ends_of_bounded(values, kept, alone, -(-total // count))
        parts = itertools.pairwise([0, *ends])
        largest = max(sum(values[a:b]) for a, b in parts)
        found.append((sum(kept[end] for end in ends[:-1]) + largest, len(ends), ends))
    return min(found)[-1] if found else []


def _ends_of_bounded(
    values: Sequence[int], kept: Sequence[int], alone: Sequence[bool], bound: int
) -> list[int]:
    """Return the ends of parts of bounded size between which the fewest values are kept.

    A part of one call may be larger than the bound.
    """
    costs, starts = [0], [0]
    for end in range(1, len(values) + 1):
        reachable = list(_starts(values, alone, bound, end))
        start = min(reachable, key=lambda i: costs[i])
        costs.append(costs[start] + kept[end])
        starts.append(start)
    ends, end = [], len(values)
    while end:
        ends.append(end)
        end = starts[end]
    return ends[::-1]


def _starts(values: Sequence[int], alone: Sequence[bool], bound: int, end: int) -> Iterator[int]:
    """Yield the indices of the calls with which a part that ends before call `end` may begin."""
    size = 0
    for start in range(end - 1, -1, -1):
        size += values[start]
        joined = end - start > 1
        if joined and (size > bound or alone[start] or alone[end - 1]):
            return
        yield start


def _inputs_and_outputs(
    graph: Any, calls: Sequence[Any], start: int, end: int
) -> tuple[list[Any], list[Any]]:
    """Return the tensors that the calls from `start` to `end` read of others, and make for them."""
    made = {id(x): x for call in calls[start:end] for x in call.outputs}
    read = {id(x): x for call in calls[start:end] for x in call.input_tensors}
    others = (*calls[:start], *calls[end:])
    wanted = {id(x) for call in others for x in call.input_tensors} | {id(x) for x in graph.outputs}
    inputs = [x for key, x in read.items() if key not in made]
    return inputs, [x for key, x in made.items() if key in wanted]
