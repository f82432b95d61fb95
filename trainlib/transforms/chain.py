"""`chain`, which composes transforms and optimizers."""

from __future__ import annotations

from typing import Any

from trainlib.core.types import (
    Optimizer,
    State,
    Tree,
    check_optimizer,
    forwarded_args,
    update_with,
)


def chain(*optimizers: Optimizer) -> Optimizer:
    """Apply transforms and optimizers in order, each to the updates of the one before.

    Args:
        optimizers: the members, at least one.

    Returns:
        An `Optimizer` whose state is the tuple of the members' states.

    Raises:
        ValueError: there are no members; from `update`, a state of another chain.
        TypeError: a member is not an `Optimizer`, such as a factory that was not called.

    Example:
        >>> tx = tl.chain(tl.clip_by_global_norm(2.5), tl.sgd(0.5))
        >>> w = tf.constant([0.0, 0.0])
        >>> updates, state = tx.update(tf.constant([3.0, 4.0]), tx.init(w), w)
        >>> updates.numpy().tolist()
        [-0.75, -1.0]
    """
    if not optimizers:
        raise ValueError("chain needs at least one optimizer or transform")
    for optimizer in optimizers:
        check_optimizer("a member of chain", optimizer)

    def init(params: Tree) -> State:
        return tuple(optimizer.init(params) for optimizer in optimizers)

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
        if len(state) != len(optimizers):
            raise ValueError(
                f"a chain of {len(optimizers)} members needs a state with a part for each, got "
                f"{len(state)} parts"
            )
        new_state = []
        for optimizer, old in zip(optimizers, state, strict=True):
            grads, new = update_with(optimizer, grads, old, params, **extra)
            new_state.append(new)
        return grads, tuple(new_state)

    return Optimizer(
        init,
        update,
        forwarded_args(*optimizers),
        all(optimizer.by_row for optimizer in optimizers),
    )


def no_state(params: Tree) -> State:
    """Return the empty state of a transform without one; its `init`."""
    return ()
