"""Penalties that a model computes from its batch, where each replica has a part of it.

The penalty of a batch is computed as the mean of the penalties of its parts. That is correct for a
mean over the examples; a sum over them would become smaller with each replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.graph import depends_on, key_of, operands
from trainlib.core.types import Tensor

_OF_SIZES = ("Cast", "Identity", "StridedSlice", "GatherV2", "Squeeze", "Reshape", "Prod")
"""Operations between the shape of a tensor and the number of its rows."""
_REDUCTIONS = ("Sum", "L2Loss", "Max", "Min", "Prod", "EuclideanNorm")
"""Operations of TensorFlow that reduce axes by other than a mean."""


def check_penalties(penalties: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
    """Raise `ValueError` if a penalty reduces the examples of the inputs by other than a mean.

    Args:
        penalties: scalars of a graph.
        inputs: tensors of the graph, of shape [rows, ...].
    """
    rows = next((x.shape[0] for x in inputs if x.shape.rank), None)
    for penalty in penalties:
        if rows is None or not tf.is_symbolic_tensor(penalty) or not depends_on([penalty], inputs):
            continue
        if _reduces(penalty, inputs, rows):
            raise ValueError(
                "the model adds a penalty that sums over its batch, but each replica has only a "
                "part of it: add the mean over the examples, by tf.reduce_mean, or train with "
                "strategy='one_device'"
            )


def _reduces(penalty: Tensor, inputs: Sequence[Tensor], rows: int) -> bool:
    """Return whether the axis of examples is reduced by other than a mean on the way to a penalty.

    A sum that is divided by the number of examples is a mean.
    """
    pending, seen = [penalty], set()
    while pending:
        x = pending.pop()
        op = x.op
        if key_of(x) in seen or op.type == "Mean" and _takes_rows(op, rows):
            continue
        seen.add(key_of(x))
        if op.type in _REDUCTIONS and _takes_rows(op, rows) and depends_on([x], inputs):
            return True
        if not _divides_by(op, rows):
            pending += operands(x)
    return False


def _takes_rows(op: Any, rows: int) -> bool:
    """Return whether a reduction takes the first axis of a tensor with a row for each example."""
    x = op.inputs[0]
    if x.shape.rank is None or x.shape.rank == 0 or x.shape[0] != rows:
        return False
    axes = tf.get_static_value(op.inputs[1]) if len(op.inputs) > 1 else np.arange(x.shape.rank)
    return axes is not None and any(axis in (0, -x.shape.rank) for axis in np.ravel(axes))


def _divides_by(op: Any, rows: int) -> bool:
    """Return whether an operation divides by the number of rows, or by a multiple of it."""
    if op.type not in ("RealDiv", "Div", "DivNoNan", "Mul"):
        return False
    for x in op.inputs if op.type == "Mul" else op.inputs[1:]:
        value = tf.get_static_value(x)
        if value is None and op.type != "Mul" and _is_size(x):
            return True
        if value is not None and np.size(value) == 1 and value.item() != 0:
            number = (1 / value.item() if op.type == "Mul" else value.item()) / rows
            if number > 0.5 and abs(number - round(number)) < 1e-4:
                return rows > 1
    return False


def _is_size(x: Tensor) -> bool:
    """Return whether a number is read from the shape of a tensor."""
    while x.op.type in _OF_SIZES:
        x = x.op.inputs[0]
    known = x.op.type == "Const" and x.dtype.is_integer and x.shape.rank == 1  # a known shape
    return known or x.op.type in ("Shape", "Size")
