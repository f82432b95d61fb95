"""Transforms of gradients, and `chain`, which composes them with an optimizer."""

from __future__ import annotations

import tensorflow as tf

from trainlib.base import Optimizer, State, Tensor, Tree
from trainlib.checks import check_number
from trainlib.tree import global_norm, leafwise, scalar


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

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        if len(state) != len(optimizers):
            raise ValueError(f"state of {len(state)} parts for a chain of {len(optimizers)}")
        new_state = []
        for optimizer, old in zip(optimizers, state, strict=True):
            grads, new = optimizer.update(grads, old, params)
            new_state.append(new)
        return grads, tuple(new_state)

    return Optimizer(init, update)


def clip_by_value_rule(g: Tensor, *, clipvalue: Tensor) -> tuple[Tensor]:
    """g = min(max(g, -clipvalue), clipvalue)."""
    return (tf.clip_by_value(g, -clipvalue, clipvalue),)


def clip_by_norm_rule(g: Tensor, *, norm: Tensor, clipnorm: Tensor) -> tuple[Tensor]:
    """g = g clipnorm / max(|g|, clipnorm); all NaN where the norm |g| is not finite."""
    not_finite_as_nan = norm - norm
    return (g * (clipnorm / tf.maximum(norm, clipnorm) + not_finite_as_nan),)


def clip_by_value(clipvalue: float) -> Optimizer:
    """Clips every element of the gradients to [-clipvalue, clipvalue]; NaN stays NaN.

    Args:
        clipvalue: the largest magnitude of an element of the gradients, above 0.

    Raises:
        ValueError: a clipvalue that is not above 0.
    """
    check_number("clipvalue", clipvalue, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(clip_by_value_rule, grads, clipvalue=clipvalue)[0], state

    return Optimizer(_no_state, update)


def clip_by_norm(clipnorm: float) -> Optimizer:
    """Scales each gradient tensor whose Euclidean norm is above clipnorm down to that norm.

        g = g clipnorm / max(|g|, clipnorm)

    A zero gradient stays zero. A norm that is not finite makes the whole tensor NaN, so that it
    is seen; Keras turns the finite elements of such a tensor to 0.

    Args:
        clipnorm: the largest norm of each gradient tensor, above 0.

    Raises:
        ValueError: a clipnorm that is not above 0 (which would switch clipping off in Keras).
    """
    check_number("clipnorm", clipnorm, above=0)

    def rule(g: Tensor) -> tuple[Tensor]:
        return clip_by_norm_rule(g, norm=global_norm(g), clipnorm=scalar(clipnorm, g))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(rule, grads)[0], state

    return Optimizer(_no_state, update)


def clip_by_global_norm(global_clipnorm: float) -> Optimizer:
    """Scales all gradients by one factor, so that their norm together is at most global_clipnorm.

        g = g global_clipnorm / max(n, global_clipnorm),  n = sqrt(sum of |g|^2 over all tensors)

    A norm that is not finite makes every gradient NaN, so that the step is seen to be bad.

    Args:
        global_clipnorm: the largest norm of all gradients together, above 0.

    Raises:
        ValueError: a global_clipnorm that is not above 0.

    Differs from: PyTorch, which adds 1e-6 to the norm.

    Reference: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural
    networks".
    """
    check_number("global_clipnorm", global_clipnorm, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        norm = global_norm(grads)
        return leafwise(clip_by_norm_rule, grads, norm=norm, clipnorm=global_clipnorm)[0], state

    return Optimizer(_no_state, update)


def _no_state(params: Tree) -> State:
    return ()
