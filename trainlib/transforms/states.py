"""States of optimizers: selection between two without a branch, and search in nested ones.

Selection is a `tf.where` over every tensor. A `tf.cond` would do no less work under XLA, and
replicas could wait for each other at a collective in one of its branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.types import State, Tensor, Tree


def no_change(u: Tensor) -> Tensor:
    """Return an update like u that keeps the bits of any w: -0.0, since -0.0 + 0.0 is 0.0."""
    # By negation: TensorFlow's cache of constants takes -0.0 for 0.0.
    return -tf.zeros_like(u)


def select(condition: Tensor, new: State, old: State) -> State:
    """Return the new state if the condition, a scalar bool, is true, else the old one."""
    if isinstance(condition, np.bool_):
        return new if condition else old

    def choose(x: Tensor, y: Tensor) -> Tensor:
        return None if x is None else tf.where(condition, x, y)

    return tf.nest.map_structure(choose, new, old, check_types=False)


def updates_if(condition: Tensor, updates: Tree) -> Tree:
    """Return the updates if the condition is true, else updates that change no bit."""

    def choose(u: Tensor) -> Tensor:
        return None if u is None else tf.where(condition, u, no_change(u))

    return tf.nest.map_structure(choose, updates)


def find_states(state: State, kind: type) -> Iterator[Any]:
    """Yield the states of a type in one of chains, partitions and wrappers, inner ones first."""
    children: Iterable[Any] = state.values() if isinstance(state, Mapping) else ()
    for child in state if isinstance(state, tuple) else children:
        yield from find_states(child, kind)
    if isinstance(state, kind):
        yield state


def has_state(state: State, kind: type) -> bool:
    """Return whether a state is, or contains, one of a type."""
    return next(find_states(state, kind), None) is not None


def map_states(change: Callable[[Any], Any], state: State, kind: type) -> State:
    """Return a state with `change` applied to those of a type in it, inner ones first."""
    if not has_state(state, kind):
        return state  # with the types of its structures
    if isinstance(state, Mapping):
        state = {key: map_states(change, child, kind) for key, child in state.items()}
    elif isinstance(state, tuple):
        children = [map_states(change, child, kind) for child in state]
        state = type(state)(*children) if hasattr(state, "_fields") else tuple(children)
    return change(state) if isinstance(state, kind) else state
