"""The averages of the parameters in the state of an optimizer: those of `ema` and `swa`."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from trainlib.core.tree import leaves_by_path, paths
from trainlib.core.types import State, Tensor, Tree
from trainlib.transforms.ema import EmaState
from trainlib.transforms.states import find_states
from trainlib.transforms.swa import SwaState


def averages_in(state: State) -> Iterator[EmaState | SwaState]:
    """Yield the states of `ema` and `swa` in a state."""
    for kind in (EmaState, SwaState):
        yield from find_states(state, kind)


def averaged_params(state: State, params: Tree) -> Tree:
    """Return the averaged parameters, in the dtypes and the structure of the parameters.

    A parameter without an average, such as a frozen one, is returned unchanged.

    Args:
        state: the state of `ema` or `swa`, or one that contains it: of a chain, a wrapper, a
            partition.
        params: the parameters that belong to the state.

    Returns:
        The averages, for evaluation.

    Raises:
        ValueError: the state contains no average, or two of one parameter.

    Example:
        >>> tx = tl.chain(tl.sgd(1.0), tl.ema(0.5))
        >>> w = tf.constant(4.0)
        >>> float(tl.averaged_params(tx.init(w), w))
        4.0
    """
    averages: dict[str, Tensor] = {}
    for found in averages_in(state):
        for path, a in leaves_by_path(found.average):
            if path in averages:
                raise ValueError(f"the state has two averages of {path!r}: pass the state of one")
            averages[path] = a
    if not averages:
        raise ValueError("the state has no average: put tl.ema() or tl.swa() last in the chain")

    def average(path: str, w: Tensor) -> Tensor:
        w = tf.convert_to_tensor(w)
        return tf.cast(averages[path], w.dtype) if path in averages else w

    return tf.nest.map_structure(average, paths(params), params)
