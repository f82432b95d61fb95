"""Parts of the parameters: `masked`, `partition` into groups, and `freeze`.

An optimizer of a part is given that part as a dict by path, `{"encoder/dense/kernel": w, ...}`,
and keeps state for it alone. The paths are those of the whole, so that masks by path, also those
inside the part's own optimizer, read the same wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.tree import check_same_structure, is_empty, paths, resolve_mask
from trainlib.core.types import Optimizer, State, Tree, forwarded_args, update_with
from trainlib.transforms.checks import check_optimizer
from trainlib.transforms.decay import Mask

Labels: TypeAlias = Callable[[str], str] | Any
"""A label for each parameter: a structure of strings, or a function of a parameter's path."""


def masked(optimizer: Optimizer, mask: Mask) -> Optimizer:
    """The optimizer where the mask is True; elsewhere the gradient passes on unchanged.

        chain(masked(clip_by_norm(1.0), lambda path: path.startswith("encoder/")), adam())

    For a transform of gradients among others. What passes through an optimizer is not an update:
    for one that steps, use `partition` or `freeze`.

    Args:
        optimizer: of the parameters that the mask takes; its state is the whole state.
        mask: a structure of bools like the parameters, or a function of a parameter's path.

    Raises:
        ValueError, TypeError: a mask of another structure, or of something else than bools.
    """
    check_optimizer(optimizer, "masked")

    def init(params: Tree) -> State:
        return optimizer.init(_take(params, params, resolve_mask(mask, params)))

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
        taken = resolve_mask(mask, params)
        part, state = _update_part(optimizer, grads, state, params, taken, extra)
        return _put(part, grads, params, taken), state

    return Optimizer(init, update, forwarded_args(optimizer))


def freeze(optimizer: Optimizer, mask: Mask) -> Optimizer:
    """The optimizer on the parameters that are not frozen; those where the mask is True stay.

        freeze(chain(clip_by_global_norm(1.0), adam()), lambda path: path.startswith("embedding/"))

    A frozen parameter has no moments, does not decay, does not count in a global norm, and has
    None for its update.

    Args:
        optimizer: of the other parameters; its state is the whole state.
        mask: the frozen ones: a structure of bools like the parameters, or a function of the path.

    Raises:
        ValueError, TypeError: a mask of another structure, or of something else than bools.

    Differs from: Optax, whose `freeze` puts zeros in the place of updates: what comes before it
    still sees the gradients and keeps moments.
    """
    check_optimizer(optimizer, "freeze")

    def free(params: Tree) -> Tree:
        return tf.nest.map_structure(lambda frozen: not frozen, resolve_mask(mask, params))

    def init(params: Tree) -> State:
        return optimizer.init(_take(params, params, free(params)))

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
        taken = free(params)
        part, state = _update_part(optimizer, grads, state, params, taken, extra)
        none = tf.nest.map_structure(lambda _: None, params)
        return _put(part, none, params, taken), state

    return Optimizer(init, update, forwarded_args(optimizer))


def partition(optimizers: Mapping[str, Optimizer | None], labels: Labels) -> Optimizer:
    """Parameter groups: each parameter is updated by the optimizer of its label.

        partition({"body": adam(1e-3), "head": sgd(0.1), "embedding": None},
                  lambda path: path.split("/")[0])

    Its state is a dict of their states by label. A group all of whose gradients are None is left
    as it is.

    Args:
        optimizers: by label; None freezes the parameters of that label.
        labels: a structure of strings like the parameters, or a function of a parameter's path.

    Raises:
        ValueError: a label without an optimizer, a label that no parameter has, labels of another
            structure, or gradients that are all None.
        TypeError: something that is not an `Optimizer`.

    Differs from: Keras's `MultiOptimizer`, which says nothing of a pattern that matches nothing.
    """
    if not optimizers:
        raise ValueError("partition needs at least one optimizer")
    for optimizer in optimizers.values():
        if optimizer is not None:
            check_optimizer(optimizer, "partition")
    moving = {label: optimizer for label, optimizer in optimizers.items() if optimizer is not None}

    def groups(params: Tree) -> dict[str, Tree]:
        resolved = _resolve_labels(labels, params, optimizers)
        return {
            label: tf.nest.map_structure(lambda x, own=label: x == own, resolved)
            for label in moving
        }

    def init(params: Tree) -> State:
        masks = groups(params)
        return {
            label: optimizer.init(_take(params, params, masks[label]))
            for label, optimizer in moving.items()
        }

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
        if is_empty(grads) and tf.nest.flatten(grads):
            raise ValueError("every gradient is None: the loss does not depend on the parameters")
        updates, new_state = tf.nest.map_structure(lambda _: None, params), {}
        for label, mask in groups(params).items():
            part, new_state[label] = _update_part(
                moving[label], grads, state[label], params, mask, extra
            )
            updates = _put(part, updates, params, mask)
        return updates, new_state

    return Optimizer(init, update, forwarded_args(*moving.values()))


def _update_part(
    optimizer: Optimizer, grads: Tree, state: State, params: Tree, mask: Tree, extra: dict[str, Any]
) -> tuple[dict[str, Any], State]:
    """The updates of a part by path, and its new state; all as it was where it has no gradient."""
    check_same_structure("params", params, "grads", grads)
    part = _take(grads, params, mask)
    if is_empty(part) and not is_empty(grads):
        return part, state
    return update_with(optimizer, part, state, _take(params, params, mask), **extra)


def _take(tree: Tree, params: Tree, mask: Tree) -> dict[str, Any]:
    """The leaves of a tree where the mask is True, by the paths of the parameters."""
    leaves = zip(_names(params), tf.nest.flatten(tree), tf.nest.flatten(mask), strict=True)
    return {path: x for path, x, taken in leaves if taken}


def _put(part: Mapping[str, Any], tree: Tree, params: Tree, mask: Tree) -> Tree:
    """The tree with the part's leaves where the mask is True."""
    leaves = zip(_names(params), tf.nest.flatten(tree), tf.nest.flatten(mask), strict=True)
    return tf.nest.pack_sequence_as(tree, [part[path] if own else x for path, x, own in leaves])


def _names(params: Tree) -> list[str]:
    """The paths of the parameters; two that are the same could not be told apart."""
    names: list[str] = tf.nest.flatten(paths(params))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two parameters have the path {twice!r}")
    return names


def _resolve_labels(labels: Labels, params: Tree, optimizers: Mapping[str, Any]) -> Tree:
    """The labels as a structure like the parameters, each with an optimizer and each in use."""
    if callable(labels):
        resolved = tf.nest.map_structure(labels, paths(params))
    else:
        check_same_structure("params", params, "labels", labels)
        resolved = labels
    used = set()
    for path, label in zip(_names(params), tf.nest.flatten(resolved), strict=True):
        check_choice(f"label of {path}", label, optimizers)
        used.add(label)
    idle = [label for label in optimizers if label not in used]
    if idle:
        raise ValueError(f"no parameter has the label {idle[0]!r}; those in use: {sorted(used)}")
    return resolved
