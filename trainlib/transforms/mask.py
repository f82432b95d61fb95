"""Optimizers of some of the parameters: `masked`, `freeze`, and `partition` into groups.

The optimizer of a part gets that part as a dict by path, `{"encoder/dense/kernel": w, ...}`, and
has state for it alone. The paths are those in the complete parameters, so that masks by path, in
the part's optimizer too, do not depend on where it is used. The dict is a `Part`, which knows the
paths of the others: a regular expression that matches only them is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.tree import (
    Part,
    check_same_structure,
    complete_paths,
    is_empty,
    paths,
    resolve_mask,
)
from trainlib.core.types import (
    Optimizer,
    State,
    Tree,
    check_optimizer,
    forwarded_args,
    update_with,
)
from trainlib.transforms.decay import Mask

Labels: TypeAlias = Callable[[str], str] | Any
"""A label for each parameter: a structure of strings, or a function `path -> label`."""


def masked(optimizer: Optimizer, mask: Mask) -> Optimizer:
    """Apply a transform of gradients where a mask is True; other gradients pass through.

    For an optimizer that makes updates use `partition` or `freeze`: what passes through is a
    gradient, not an update.

    Args:
        optimizer: the transform of the parameters in the mask.
        mask: a structure of bools like the parameters, a function `path -> bool`, a regular
            expression for whole paths, or `kernels`.

    Returns:
        An `Optimizer` whose state is that of `optimizer`.

    Raises:
        ValueError: from `init` and `update`, a mask of another structure, or a regular expression
            that matches nothing.
        TypeError: `optimizer` is not an `Optimizer`; from `init` and `update`, a leaf of the mask
            is not a bool.

    Example:
        >>> tx = tl.masked(tl.clip_by_value(1.0), lambda path: path == "a")
        >>> grads = {"a": tf.constant(3.0), "b": tf.constant(3.0)}
        >>> updates, _ = tx.update(grads, tx.init(grads), grads)
        >>> {name: float(u) for name, u in updates.items()}
        {'a': 1.0, 'b': 3.0}
    """
    check_optimizer("optimizer of masked", optimizer)

    def init(params: Tree) -> State:
        return optimizer.init(_take(params, params, resolve_mask(mask, params)))

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
        taken = resolve_mask(mask, params)
        part, state = _update_part(optimizer, grads, state, params, taken, extra)
        return _put(part, grads, params, taken), state

    return Optimizer(init, update, forwarded_args(optimizer))


def freeze(optimizer: Optimizer, mask: Mask) -> Optimizer:
    """Update only the parameters where a mask is False; those where it is True are frozen.

    A frozen parameter has no moments, does not decay, does not count in a global norm, and has the
    update None.

    Args:
        optimizer: the optimizer of the other parameters.
        mask: the frozen parameters: a structure of bools, a function `path -> bool`, a regular
            expression for whole paths, or `kernels`.

    Returns:
        An `Optimizer` whose state is that of `optimizer`.

    Raises:
        ValueError: from `init` and `update`, a mask of another structure, or a regular expression
            that matches nothing.
        TypeError: `optimizer` is not an `Optimizer`; from `init` and `update`, a leaf of the mask
            is not a bool.

    Example:
        >>> tx = tl.freeze(tl.sgd(0.5), "embedding/.*")
        >>> params = {"embedding": {"table": tf.constant(1.0)}, "head": tf.constant(1.0)}
        >>> updates, _ = tx.update(params, tx.init(params), params)
        >>> updates["embedding"]["table"], float(updates["head"])
        (None, -0.5)

    Differences:
        Optax: `freeze` replaces updates by zeros: transforms before it still see the gradients and
            keep moments.
    """
    check_optimizer("optimizer of freeze", optimizer)

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
    """Update each parameter with the optimizer of its label.

    A group whose gradients are all None does not change.

    Args:
        optimizers: by label; None freezes the parameters with that label.
        labels: a structure of strings like the parameters, or a function `path -> label`.

    Returns:
        An `Optimizer` whose state is a dict of states by label.

    Raises:
        ValueError: there are no optimizers; from `init` and `update`, a label without an optimizer,
            a label that no parameter has, labels of another structure, or gradients that are all
            None.
        TypeError: one of the optimizers is neither an `Optimizer` nor None.

    Example:
        >>> tx = tl.partition({"body": tl.sgd(0.5), "head": tl.sgd(0.25), "embedding": None},
        ...                   lambda path: path.split("/")[0])
        >>> params = {name: tf.constant(1.0) for name in ("body", "embedding", "head")}
        >>> updates, _ = tx.update(params, tx.init(params), params)
        >>> [u if u is None else float(u) for u in updates.values()]
        [-0.5, None, -0.25]

    Differences:
        Keras: `MultiOptimizer` ignores a pattern that matches nothing.
    """
    if not optimizers:
        raise ValueError("partition needs at least one optimizer")
    for label, optimizer in optimizers.items():
        if optimizer is not None:
            check_optimizer(f"optimizer {label!r} of partition", optimizer)
    trained = {label: optimizer for label, optimizer in optimizers.items() if optimizer is not None}

    def groups(params: Tree) -> dict[str, Tree]:
        resolved = _resolve_labels(labels, params, optimizers)
        return {
            label: tf.nest.map_structure(lambda x, own=label: x == own, resolved)
            for label in trained
        }

    def init(params: Tree) -> State:
        masks = groups(params)
        return {
            label: optimizer.init(_take(params, params, masks[label]))
            for label, optimizer in trained.items()
        }

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
        if is_empty(grads) and tf.nest.flatten(grads):
            raise ValueError("every gradient is None: the loss does not depend on the parameters")
        updates, new_state = tf.nest.map_structure(lambda _: None, params), {}
        for label, mask in groups(params).items():
            part, new_state[label] = _update_part(
                trained[label], grads, state[label], params, mask, extra
            )
            updates = _put(part, updates, params, mask)
        return updates, new_state

    return Optimizer(init, update, forwarded_args(*trained.values()))


def _update_part(
    optimizer: Optimizer, grads: Tree, state: State, params: Tree, mask: Tree, extra: dict[str, Any]
) -> tuple[Part, State]:
    """Return the updates of a part by path, and its state, unchanged where it has no gradient."""
    check_same_structure("params", params, "grads", grads)
    part = _take(grads, params, mask)
    if is_empty(part) and not is_empty(grads):
        return part, state
    return update_with(optimizer, part, state, _take(params, params, mask), **extra)


def _take(tree: Tree, params: Tree, mask: Tree) -> Part:
    """Return the leaves of a tree where the mask is True, by the paths of the parameters."""
    leaves = zip(_paths(params), tf.nest.flatten(tree), tf.nest.flatten(mask), strict=True)
    return Part({path: x for path, x, taken in leaves if taken}, complete_paths(params))


def _put(part: Mapping[str, Any], tree: Tree, params: Tree, mask: Tree) -> Tree:
    """Return the tree with the part's leaves where the mask is True."""
    leaves = zip(_paths(params), tf.nest.flatten(tree), tf.nest.flatten(mask), strict=True)
    return tf.nest.pack_sequence_as(tree, [part[path] if taken else x for path, x, taken in leaves])


def _paths(params: Tree) -> list[str]:
    """Return the paths of the parameters, and raise `ValueError` if two are the same."""
    found: list[str] = tf.nest.flatten(paths(params))
    if len(set(found)) < len(found):
        twice = next(path for path in found if found.count(path) > 1)
        raise ValueError(f"two parameters have the path {twice!r}: rename one of them")
    return found


def _resolve_labels(labels: Labels, params: Tree, optimizers: Mapping[str, Any]) -> Tree:
    """Return the labels as a structure like the parameters, each known and each in use."""
    if callable(labels):
        resolved = tf.nest.map_structure(labels, paths(params))
    else:
        check_same_structure("params", params, "labels", labels)
        resolved = labels
    used = set()
    for path, label in zip(_paths(params), tf.nest.flatten(resolved), strict=True):
        check_choice(f"label of {path}", label, optimizers)
        used.add(label)
    idle = [label for label in optimizers if label not in used]
    if idle and used:
        raise ValueError(f"no parameter has the label {idle[0]!r}; those in use: {sorted(used)}")
    return resolved
