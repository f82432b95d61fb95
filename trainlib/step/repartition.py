"""A training state for other trained parameters, as after a layer was unfrozen.

Parameters and model state are dicts by path: the parameters hold the trained tensors, the model
state all others. A tensor that moves from one to the other keeps its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tree
from trainlib.step.state import TrainState


def joined_weights(params: Tree, model_state: Tree) -> Any:
    """Return parameters and model state as one dict by path.

    Unless they are two dicts without a common key, they are returned as a pair.
    """
    parts = params, model_state
    if all(isinstance(x, Mapping) for x in parts) and not set(params) & set(model_state):
        return {**params, **model_state}
    return parts


def split_weights(weights: Any, state: Any) -> tuple[Tree, Tree]:
    """Return joined weights as parameters and model state.

    Args:
        weights: result of `joined_weights`.
        state: object with `params` and `model_state`, such as a `TrainState`; their keys say which
            of the weights are parameters.
    """
    if not isinstance(weights, Mapping):
        return weights[0], weights[1]
    return {k: weights[k] for k in state.params}, {k: weights[k] for k in state.model_state}


def with_weights_of(new: TrainState, old: TrainState) -> TrainState:
    """Return a state with the parameters and the model state of another, by path."""
    params, model_state = split_weights({**old.params, **old.model_state}, new)
    return new._replace(params=params, model_state=model_state)


def carried_over(new: TrainState, old: TrainState) -> TrainState:
    """Return a new training state that continues from an old one.

    The moments of parameters that were trained before continue; those of the others are new, and so
    are the counts of optimizers that have a state for these alone, as groups of `param_rules` do.
    The finite guard forgets which tensor was not finite, which it knows by its position.

    Args:
        new: state before the first step, for the parameters that are trained from now on.
        old: state of the training so far.

    Returns:
        The new state, with the tensors of the old state wherever both have a tensor of the same
        path, shape and dtype.
    """
    before = dict(leaves_by_path(old))

    def kept(path: str, x: Any) -> Any:
        found = before.get(path)
        same = found is not None and (found.shape, found.dtype) == (x.shape, x.dtype)
        return found if same else x

    leaves = [kept(path, x) for path, x in leaves_by_path(with_weights_of(new, old))]
    state: TrainState = tf.nest.pack_sequence_as(new, leaves)
    if state.finite_guard == ():
        return state
    # The index counts the parameters that were trained before.
    none = new.finite_guard.nonfinite_index
    return state._replace(finite_guard=state.finite_guard._replace(nonfinite_index=none))
