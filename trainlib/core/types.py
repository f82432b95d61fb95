"""The contract of the core: an optimizer is two pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.core.tree import check_same_structure, compute_dtype

Tensor: TypeAlias = Any
"""A `tf.Tensor` (or what converts to one); TensorFlow publishes no types."""
Tree: TypeAlias = Any
"""Any `tf.nest` structure of floating tensors: dicts, lists, tuples, NamedTuples, nested."""
State: TypeAlias = Any
"""An optimizer's state: a NamedTuple of tensors and trees; `()` where there is none."""
Schedule: TypeAlias = Callable[[Tensor], Tensor]
"""A pure function from the int64 number of updates made so far to a scalar rate."""
ScalarOrSchedule: TypeAlias = float | Tensor | Schedule


class Optimizer(NamedTuple):
    """A pair of pure functions; what Optax calls a gradient transformation.

    init:   `(params) -> state`
    update: `(grads, state, params) -> (updates, state)`, with updates to be *added* to the
            parameters by `apply_updates`.

    Both run eagerly, in a `tf.function`, under XLA and in a `tf.while_loop`. A `None` among the
    gradients leaves its parameter and that parameter's state as they are.
    """

    init: Callable[[Tree], State]
    update: Callable[[Tree, State, Tree], tuple[Tree, State]]


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """`w + u` for each parameter, in the parameter's dtype and shape.

    The sum is taken in float32 or wider; only the result is cast. `None` updates nothing.

    Raises:
        ValueError: updates whose structure or shapes are not those of the parameters.
    """
    check_same_structure("params", params, "updates", updates)

    def add(w: Tensor, u: Tensor) -> Tensor:
        w = tf.convert_to_tensor(w)
        if u is None:
            return w
        u = tf.convert_to_tensor(u)
        if not u.shape.is_compatible_with(w.shape):
            raise ValueError(f"got an update of shape {u.shape} for a parameter of {w.shape}")
        wide = compute_dtype(w.dtype)
        return tf.cast(tf.cast(w, wide) + tf.cast(u, wide), w.dtype)

    return tf.nest.map_structure(add, params, updates, check_types=False)


def rate_at(learning_rate: ScalarOrSchedule, step: Tensor) -> float | Tensor:
    """The learning rate of the update that follows `step` earlier ones."""
    return learning_rate(step) if callable(learning_rate) else learning_rate
