"""Recomputation of parts of a forward pass in the backward pass, instead of storing activations.

    y = f(x, w),   (dL/dx, dL/dw) = the gradient of f computed again from x and w

The second computation begins with the same values as the first: its dropout has the same masks. The
values that it assigns to variables are dropped, so that batch statistics are updated once.

This module imports Keras, as `variable_scope` does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import keras
import tensorflow as tf

from trainlib.core.tree import dense
from trainlib.core.types import Tensor
from trainlib.training.dependence import after
from trainlib.training.keras_private import (
    call_state,
    in_call_state,
    mask_of,
    set_mask,
    stateful_random_operation,
)
from trainlib.training.reentry import Context, entered_contexts
from trainlib.training.variable_scope import PartScope, VariableScope


class Recomputed:
    """A part of a forward pass that the backward pass computes again.

    A part inside of another one is not recomputed by itself.

    Args:
        function: function that computes the part; it takes any arguments and returns a structure of
            tensors.
        scope: the values of the variables in the pass.
        layers: layers whose variables the part reads.
    """

    def __init__(
        self, function: Callable[..., Any], scope: VariableScope, layers: Sequence[Any]
    ) -> None:
        self._function, self._scope = function, scope
        of_layers = {id(v) for layer in layers for v in layer.variables}
        self._trained = [v for v in scope.trained if id(v) in of_layers]

    def __call__(self, *args: Any, **options: Any) -> Any:
        if _nesting.depth:
            return self._function(*args, **options)
        call = _PartCall(self._function, self._scope, self._trained, (args, options))
        results: tuple[Tensor, ...] = ()
        if call.tensors:
            with _refused_if_random():
                compute = with_recomputed_gradient(call.compute, len(call.inputs))
                results = compute(*call.tensors)
        if not results:  # nothing has a gradient
            return self._function(*args, **options)
        return call.outputs(results)


@dataclasses.dataclass
class _FirstComputation:
    """Result of the first computation of a part.

    Attributes:
        leaves: the outputs as a flat list.
        structure: the outputs in their structure.
        scope: scope with the values that were assigned to variables.
    """

    leaves: list[Any]
    structure: Any
    scope: PartScope


class _PartCall:
    """A call of a part, which is computed in the forward pass and again in the backward pass.

    Both computations begin with the same values of all variables, in the same contexts.

    Args:
        function: function that computes the part.
        scope: the values of the variables in the pass.
        trained: the trained variables that the part reads.
        arguments: positional and keyword arguments of the function, `(args, options)`.

    Attributes:
        inputs: the tensors among the arguments that may have a gradient.
        tensors: the inputs, and the values of the trained variables.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        scope: VariableScope,
        trained: Sequence[Any],
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
    ) -> None:
        self._function, self._scope, self._trained = function, scope, trained
        self._arguments, self._leaves = arguments, keras.tree.flatten(arguments)
        self._given = scope.current()
        self._contexts = (*entered_contexts(), _current_call_state())
        self._first: _FirstComputation | None = None
        values = {id(variable): value for variable, value in self._given}
        self.inputs = [x for x in self._leaves if _is_floating(x)]
        self.tensors = [*self.inputs, *(values[id(v)] for v in trained)]

    def compute(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the floating outputs of the part and its penalties.

        Args:
            *tensors: tensors in the place of `self.tensors`.
        """
        count = len(self.inputs)
        weights = {id(v): w for v, w in zip(self._trained, tensors[count:], strict=True)}
        scope = PartScope(self._given, self._scope.trained, weights)
        with ExitStack() as held:
            for context in () if self._first is None else self._contexts:
                held.enter_context(context())
            held.enter_context(scope)
            held.enter_context(_within_part())
            args, options = self._with_inputs(tensors[:count])
            found = self._function(*args, **options)
        leaves = keras.tree.flatten(found)
        if self._first is None:
            self._first = _FirstComputation(leaves, found, scope)
        return (*filter(_is_floating, leaves), *scope.losses)

    def _with_inputs(self, inputs: Sequence[Tensor]) -> Any:
        """Return the arguments with other inputs, which have the masks of the given ones."""
        new = iter(inputs)
        leaves = [_with_mask(next(new), mask_of(x)) if _is_floating(x) else x for x in self._leaves]
        return keras.tree.pack_sequence_as(self._arguments, leaves)

    def outputs(self, results: Sequence[Tensor]) -> Any:
        """Return the outputs of the part.

        The values that the first computation assigned to variables, and its penalties, are added to
        the pass.

        Args:
            results: results of `compute`, as tensors with the gradient of the second computation.
        """
        first = self._first
        assert first is not None
        for update in first.scope.assigned():
            self._scope.add_update(update)
        new = iter(results)
        leaves = [_with_mask(next(new), mask_of(x)) if _is_floating(x) else x for x in first.leaves]
        for penalty in new:
            self._scope.add_loss(penalty)
        return keras.tree.pack_sequence_as(first.structure, leaves)


def with_recomputed_gradient(
    function: Callable[..., tuple[Tensor, ...]], delayed: int
) -> Callable[..., tuple[Tensor, ...]]:
    """Return a function whose gradient computes it again, after the gradients of its results.

    Args:
        function: function of floating tensors that returns a tuple of floating tensors.
        delayed: number of leading arguments that are passed to the second computation only after
            the gradients of the results, so that XLA does not merge the two computations.

    Differences:
        TensorFlow: `tf.recompute_grad` adds 0 to all arguments for that purpose, parameters
            included, and XLA removes the addition.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def call(*args: Tensor) -> tuple[tuple[Tensor, ...], Callable[..., list[Tensor | None]]]:
        def gradient(*upstream: Tensor) -> list[Tensor | None]:
            again = [*after(upstream[0], args[:delayed]), *args[delayed:]]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(again)
                results = function(*again)
            found = tape.gradient(results, again, list(upstream))
            return list(map(dense, found))

        return function(*args), gradient

    found: Callable[..., tuple[Tensor, ...]] = call
    return found


class _Nesting(threading.local):
    """Nesting depth of parts in this thread: each replica is traced in a thread."""

    depth: int = 0


_nesting = _Nesting()


@contextlib.contextmanager
def _within_part() -> Iterator[None]:
    """Context of the computation of a part."""
    _nesting.depth += 1
    try:
        yield
    finally:
        _nesting.depth -= 1


def _current_call_state() -> Context:
    """Return the context of Keras's current global state."""
    state = call_state()
    return lambda: in_call_state(state)


@contextlib.contextmanager
def _refused_if_random() -> Iterator[None]:
    """Raise `ValueError` if operations draw random numbers that a second computation would not."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    first = 0 if graph is None else len(graph.get_operations())
    yield
    if graph is not None and (name := stateful_random_operation(graph, first)):
        raise ValueError(
            f"gradient_checkpointing: a layer draws random numbers by the operation {name}, which "
            "draws others when it is recomputed: draw them by keras.random with a "
            "keras.random.SeedGenerator of the layer"
        )


def _is_floating(x: Any) -> bool:
    """Return whether a leaf is a tensor that may have a gradient."""
    return isinstance(x, tf.Tensor) and x.dtype.is_floating


def _with_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return a tensor with a mask of Keras."""
    if mask is not None:
        set_mask(x, mask)
    return x
