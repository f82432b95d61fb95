"""`chain`, which composes transforms and optimizers."""

from __future__ import annotations

from typing import Any

from trainlib.core.types import Optimizer, State, Tree, forwarded_args, update_with


def chain(*optimizers: Optimizer) -> Optimizer:
    """Applies optimizers and transforms one after another, each to the updates of the one before.

        tx = chain(clip_by_global_norm(1.0), adam(1e-3))

    Its state is the tuple of their states.

    Raises:
        ValueError: no optimizers, or a state of another chain.
        TypeError: something that is not an `Optimizer`; a factory that was not called, say.
    """
    if not optimizers:
        raise ValueError("chain needs at least one optimizer or transform")
    for optimizer in optimizers:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"chain takes Optimizers, got {optimizer!r}")

    def init(params: Tree) -> State:
        return tuple(optimizer.init(params) for optimizer in optimizers)

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
        if len(state) != len(optimizers):
            raise ValueError(f"state of {len(state)} parts for a chain of {len(optimizers)}")
        new_state = []
        for optimizer, old in zip(optimizers, state, strict=True):
            grads, new = update_with(optimizer, grads, old, params, **extra)
            new_state.append(new)
        return grads, tuple(new_state)

    return Optimizer(init, update, forwarded_args(*optimizers))


def no_state(params: Tree) -> State:
    """The `init` of a transform that remembers nothing."""
    return ()
