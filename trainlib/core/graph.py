"""The tensors from which a symbolic tensor is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainlib.core.types import Tensor


def operands(x: Tensor) -> list[Tensor]:
    """Return the tensors from which the operation of a symbolic tensor computes it.

    An `IdentityN`, which `tf.custom_gradient` makes of the results and the arguments of a function,
    computes each of its outputs from one input.
    """
    return [x.op.inputs[x.value_index]] if x.op.type == "IdentityN" else list(x.op.inputs)


def key_of(x: Tensor) -> Any:
    """Return a key that is the same for tensors that are computed from the same tensors."""
    return x.ref() if x.op.type == "IdentityN" else id(x.op)


def depends_on(tensors: Sequence[Tensor], sources: Sequence[Tensor]) -> bool:
    """Return whether any of the symbolic tensors is computed from any of the sources."""
    ends = {id(x) for x in sources}
    pending, seen = list(tensors), set()
    while pending:
        x = pending.pop()
        if id(x) in ends:
            return True
        if key_of(x) not in seen:
            seen.add(key_of(x))
            pending += operands(x)
    return False
