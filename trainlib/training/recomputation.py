"""Parts of a forward pass that the backward pass computes again instead of keeping them.

    y = f(x, w),   (dL/dx, dL/dw) = the gradient of f computed again from x and w

The second computation begins with the values that the first was given: its dropout has the same
masks, and what it assigns to variables is dropped, so that batch statistics are updated once.

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

from trainlib.core.types import Tensor
from trainlib.step.in_place import after
from trainlib.training.keras_private import (
    call_state,
    in_call_state,
    mask_of,
    set_mask,
    stateful_random_operation,
)
from trainlib.training.reentry import Context, entered_contexts
from trainlib.training.variable_scope import PartScope, VariableScope


class _Nesting(threading.local):
    """How many parts this thread is within: each replica is traced in a thread."""

    depth: int = 0


_nesting = _Nesting()


@dataclasses.dataclass
class _First:
    """What the first computation of a part returned, whose gradient is taken by the second.

    Attributes:
        outputs: its outputs, flat.
        structure: its outputs.
        scope: with what it assigned.
    """

    outputs: list[Any]
    structure: Any
    scope: PartScope


class Recomputed:
    """A part of a forward pass that the backward pass computes again.

    Within it no further part is recomputed by itself.

    Args:
        function: computes the part: any arguments, a structure of tensors as a result.
        scope: the variables of the pass.
        layers: layers whose variables the part reads.
    """

    def __init__(
        self, function: Callable[..., Any], scope: VariableScope, layers: Sequence[Any]
    ) -> None:
        self._function, self._scope = function, scope
        own = {id(v): v for layer in layers for v in layer.variables}
        self._own = [v for v in scope.trained if id(v) in own]

    def __call__(self, *args: Any, **options: Any) -> Any:
        if _nesting.depth:
            return self._function(*args, **options)
        given = self._scope.current()
        values = {id(v): x for v, x in given}
        leaves = keras.tree.flatten((args, options))
        moving = [i for i, x in enumerate(leaves) if _is_floating(x)]
        contexts = (*entered_contexts(), _kept_call_state())
        first: list[_First] = []

        def compute(*tensors: Tensor) -> tuple[Tensor, ...]:
            weights = tensors[len(moving) :]
            arguments = {id(v): w for v, w in zip(self._own, weights, strict=True)}
            filled = list(leaves)
            for i, x in zip(moving, tensors, strict=False):
                filled[i] = _with_mask(x, mask_of(leaves[i]))
            scope = PartScope(given, self._scope.trained, arguments)
            with ExitStack() as held:
                for context in contexts if first else ():
                    held.enter_context(context())
                held.enter_context(scope)
                held.enter_context(_inside())
                given_args, given_options = keras.tree.pack_sequence_as((args, options), filled)
                found = self._function(*given_args, **given_options)
            flat = keras.tree.flatten(found)
            if not first:
                first.append(_First(flat, found, scope))
            return (*filter(_is_floating, flat), *scope.losses)

        tensors = [*(leaves[i] for i in moving), *(values[id(v)] for v in self._own)]
        with _refused_if_random():
            results = with_recomputed_gradient(compute, len(moving))(*tensors) if tensors else ()
        if not results:  # nothing that has a gradient
            return self._function(*args, **options)
        return self._outputs(first[0], list(results))

    def _outputs(self, first: _First, results: list[Tensor]) -> Any:
        """Return the outputs, with what was assigned and added to the loss in the outer scope."""
        for update in first.scope.assigned():
            self._scope.add_update(update)
        found = [
            _with_mask(results.pop(0), mask_of(x)) if _is_floating(x) else x for x in first.outputs
        ]
        for penalty in results:
            self._scope.add_loss(penalty)
        return keras.tree.pack_sequence_as(first.structure, found)


def with_recomputed_gradient(
    function: Callable[..., tuple[Tensor, ...]], delayed: int
) -> Callable[..., tuple[Tensor, ...]]:
    """Return a function whose gradient computes it again, after the gradients of its results.

    Args:
        function: of floating tensors, with a tuple of floating tensors as its result.
        delayed: number of its first arguments that are not known to the second computation before
            these gradients are, so that XLA does not merge the two computations.

    Differences:
        TensorFlow: `tf.recompute_grad` adds 0 to all arguments, the parameters too, and XLA leaves
            that out.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def call(*args: Tensor) -> tuple[tuple[Tensor, ...], Callable[..., list[Tensor | None]]]:
        def gradient(*upstream: Tensor) -> list[Tensor | None]:
            again = [*after(upstream[:1], list(args[:delayed])), *args[delayed:]]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(again)
                results = function(*again)
            found = tape.gradient(results, again, list(upstream))
            return [None if g is None else tf.convert_to_tensor(g) for g in found]

        return function(*args), gradient

    found: Callable[..., tuple[Tensor, ...]] = call
    return found


def _is_floating(x: Any) -> bool:
    """Return whether a leaf is a tensor that may have a gradient."""
    return isinstance(x, tf.Tensor) and x.dtype.is_floating


def _with_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return a tensor with a mask of Keras."""
    if mask is not None:
        set_mask(x, mask)
    return x


def _kept_call_state() -> Context:
    """Return the context of what Keras holds now."""
    state = call_state()
    return lambda: in_call_state(state)


@contextlib.contextmanager
def _inside() -> Iterator[None]:
    """Context of the computation of a part."""
    _nesting.depth += 1
    try:
        yield
    finally:
        _nesting.depth -= 1


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
