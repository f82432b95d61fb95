"""Checks of what a model computes from its batch, where each replica has a part of it.

The penalty of a batch is computed as the mean of the penalties of its parts. That is correct for a
mean over the examples; a sum over them would become smaller with each replica. State that is
computed from a part would differ between the replicas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.graph import depends_on, key_of, operands
from trainlib.core.types import Tensor, Tree
from trainlib.training.model_variables import SEED_STATE

_REDUCTIONS = ("Sum", "L2Loss", "Mean", "Max", "Min", "Prod", "EuclideanNorm")
"""Operations of TensorFlow that reduce axes."""


def check_state_of_part(new_state: Mapping[str, Tensor], x: Tree) -> None:
    """Raise `ValueError` if new state depends on the batch; seeds may.

    Args:
        new_state: the new state, by name.
        x: the inputs of the part.
    """
    inputs = [a for a in tf.nest.flatten(x) if tf.is_symbolic_tensor(a)]
    for name, value in new_state.items():
        symbolic = tf.is_symbolic_tensor(value)
        if symbolic and SEED_STATE not in name and depends_on([value], inputs):
            raise ValueError(
                f"{name}: the forward pass assigns this variable from its batch, but each replica "
                "has only a part of it: train with strategy='one_device'"
            )


def check_penalties(penalties: Sequence[Tensor], x: Tree) -> None:
    """Raise `ValueError` if a penalty depends on the batch by other than means over the examples.

    A mean that is written in another way may be refused, but no sum passes.

    Args:
        penalties: scalars of a graph.
        x: the inputs of the part, tensors of the graph of shape [rows, ...].
    """
    inputs = [a for a in tf.nest.flatten(x) if tf.is_symbolic_tensor(a)]
    rows = next((a.shape[0] for a in inputs if a.shape.rank), None)
    if rows is None:  # a prediction of any size
        return
    for penalty in penalties:
        if tf.is_symbolic_tensor(penalty) and not _is_of_means(penalty, inputs, rows):
            raise ValueError(
                "the model adds a penalty that is not a mean over its batch, but each replica has "
                "only a part of it: add the mean over the examples, by tf.reduce_mean (loss "
                "objects of Keras divide theirs by the number of replicas too), or train with "
                "strategy='one_device'"
            )


def _is_of_means(penalty: Tensor, inputs: Sequence[Tensor], rows: int) -> bool:
    """Return whether a penalty is computed from the inputs through means over the examples only."""
    ends = {id(x) for x in inputs}
    pending, seen = [penalty], set()
    while pending:
        x = pending.pop()
        if id(x) in ends:
            return False
        if key_of(x) not in seen and not _is_mean(x.op, rows):
            seen.add(key_of(x))
            pending += operands(x)
    return True


def _is_mean(op: Any, rows: int) -> bool:
    """Return whether an operation is a mean over the examples, or divides a sum by their number."""
    if op.type == "Mean":
        return _takes_examples(op, rows)
    if op.type not in ("RealDiv", "DivNoNan"):
        return False
    # Not a product with 1 / rows: the weight of a penalty may have the same value.
    number = _number(op.inputs[1])
    one = number is not None and np.size(number) == 1
    return one and _is_sum(op.inputs[0].op, rows, number)


def _is_sum(op: Any, rows: int, number: Any) -> bool:
    """Return whether an operation is a sum over as many examples or values, or made of such sums.

    Args:
        op: the operation.
        rows: number of examples.
        number: the number by which the result is divided.
    """
    if op.type in ("AddV2", "Sub"):
        return all(_is_sum(x.op, rows, number) for x in op.inputs)
    if op.type in ("Cast", "Identity", "Neg", "Mul"):
        varying = [x for x in op.inputs if tf.get_static_value(x) is None]
        return len(varying) == 1 and _is_sum(varying[0].op, rows, number)
    if op.type not in ("Sum", "L2Loss") or not _takes_examples(op, rows):
        return False
    sizes = (rows, op.inputs[0].shape.num_elements())
    return any(number == np.asarray(n, number.dtype) for n in sizes if n)


def _takes_examples(op: Any, rows: int) -> bool:
    """Return whether a reduction takes the axis of examples, the first one."""
    return _takes_first_axis(op) and _has_examples(op.inputs[0], rows)


def _takes_first_axis(op: Any) -> bool:
    """Return whether a reduction takes the first axis."""
    rank = op.inputs[0].shape.rank
    if not rank:
        return False
    axes = tf.get_static_value(op.inputs[1]) if len(op.inputs) > 1 else np.arange(rank)
    return axes is not None and any(axis in (0, -rank) for axis in np.ravel(axes))


def _has_examples(x: Tensor, rows: int) -> bool:
    """Return whether the first axis of a tensor is that of the examples, or that and further axes.

    An axis of features may have the same length, so the operations before are looked at: those on
    tensors of the same shape, back to the first other one.
    """
    pending, seen = [x], set()
    while pending:
        x = pending.pop()
        if not x.shape.rank or not x.shape[0] or x.shape[0] % rows or _moves_first_axis(x.op):
            return False
        if key_of(x) not in seen:
            seen.add(key_of(x))
            if x.op.type == "Reshape":
                pending.append(x.op.inputs[0])
            else:
                pending += [a for a in operands(x) if a.shape.as_list() == x.shape.as_list()]
    return True


def _moves_first_axis(op: Any) -> bool:
    """Return whether the first axis of the result of an operation is another one of its operand."""
    if op.type in _REDUCTIONS:
        return _takes_first_axis(op)
    if op.type == "MatMul":
        return bool(op.get_attr("transpose_a"))
    if op.type == "Transpose":  # of a matrix; that of sequences may undo an earlier one
        return bool(op.inputs[0].shape.rank == 2)
    if op.type == "Einsum":
        given, result = op.get_attr("equation").decode().split("->")
        return all(result[:1] != labels[:1] for labels in given.split(","))
    return "Segment" in str(op.type) or "Scatter" in str(op.type)


def _number(x: Tensor) -> Any:
    """Return the value of a constant, or of a number that is read from a known shape; or None."""
    value, op = tf.get_static_value(x), x.op
    if value is not None:
        return value
    if op.type in ("Cast", "Identity", "Squeeze", "Reshape"):
        return _number(op.inputs[0])
    if op.type in ("StridedSlice", "GatherV2"):
        shape, at = (tf.get_static_value(y) for y in op.inputs[:2])
        one = x.shape.rank == 0 and shape is not None and at is not None
        return shape[int(np.ravel(at)[0])] if one else None
    return None
