"""The types of the core: `Optimizer`, a pair of pure functions, and `apply_updates`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.core.tree import check_same_structure, compute_dtype

Tensor: TypeAlias = Any
"""A `tf.Tensor`, or what converts to one. TensorFlow has no type annotations."""
Tree: TypeAlias = Any
"""Any `tf.nest` structure of floating tensors: dicts, lists, tuples, NamedTuples, nested."""
State: TypeAlias = Any
"""The state of an optimizer: a NamedTuple of tensors and structures; `()` for no state."""
Schedule: TypeAlias = Callable[[Tensor], Tensor]
"""A pure function from the number of updates made so far, int64 [], to a learning rate."""
ScalarOrSchedule: TypeAlias = float | Tensor | Schedule
"""A number, a scalar tensor, or a schedule."""


EXTRA_ARGS = ("weight", "last", "is_finite")
"""The extra arguments of an update that `train_step` can pass."""


class Optimizer(NamedTuple):
    """An optimizer, or a transform of gradients, as two pure functions.

    Both run eagerly, in a `tf.function`, under XLA and in a `tf.while_loop`. A gradient of None
    leaves its parameter and that parameter's state as they are.

    Attributes:
        init: `(params) -> state`.
        update: `(grads, state, params) -> (updates, state)`. `apply_updates` adds the updates to
            the parameters.
        extra_args: the names of further keyword arguments of `update`. Default: none. `chain` and
            the wrappers declare those of their members, and pass them on. `train_step` passes
            "weight", the sum of the weights of the examples in the batch, a scalar; "last", whether
            the batch is the last of an epoch, a bool; and "is_finite", whether all gradients are
            finite, a bool. An optimizer that declares "is_finite" is also called for a last batch
            that is not finite, and must leave its gradients out.
        by_row: whether a row of a parameter without a gradient changes nothing in the update of the
            other rows, so that `lazy` can leave it out. Default: False. `chain` and
            `inject_hyperparams` pass it on.

    Example:
        >>> def sign(grads, state, params):
        ...     return tf.nest.map_structure(lambda g: -0.5 * tf.sign(g), grads), state
        >>> tx = tl.Optimizer(lambda params: (), sign)
        >>> params = {"w": tf.constant([1.0, 2.0])}
        >>> updates, state = tx.update({"w": tf.constant([3.0, -4.0])}, tx.init(params), params)
        >>> tl.apply_updates(params, updates)["w"].numpy().tolist()
        [0.5, 2.5]

    Differences:
        Optax: there are two types, `GradientTransformation` and `GradientTransformationExtraArgs`,
            and the update of the second must accept any extra argument; `params` may be omitted.
    """

    init: Callable[[Tree], State]
    update: Callable[..., tuple[Tree, State]]
    extra_args: tuple[str, ...] = ()
    by_row: bool = False


def update_with(
    optimizer: Optimizer, grads: Tree, state: State, params: Tree, **extra: Any
) -> tuple[Tree, State]:
    """Call the optimizer's update with those of the extra arguments that it declares."""
    declared = {name: extra[name] for name in optimizer.extra_args if name in extra}
    return optimizer.update(grads, state, params, **declared)


def forwarded_args(*optimizers: Optimizer) -> tuple[str, ...]:
    """Return the extra arguments that a wrapper of these optimizers declares.

    These are all that a member declares except "is_finite": other members would make an update
    with the gradients that are not finite.
    """
    names = [name for optimizer in optimizers for name in optimizer.extra_args]
    return tuple(name for name in dict.fromkeys(names) if name != "is_finite")


def check_optimizer(name: str, value: Any) -> None:
    """Raise `TypeError` unless a value is an `Optimizer`.

    Args:
        name: name of the argument, for the message.
        value: the argument.
    """
    if not isinstance(value, Optimizer):
        hint = ": call it" if callable(value) else ""
        raise TypeError(f"{name} must be an Optimizer such as tl.adam(), got {value!r}{hint}")


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """Add updates to parameters.

    Args:
        params: the parameters, any structure of floating tensors.
        updates: in the structure and the shapes of the parameters; None leaves a parameter as it
            is, and `tf.IndexedSlices` change their rows only.

    Returns:
        The new parameters, in the dtypes of the old ones. The sums are computed in float32 or wider
        and rounded once.

    Raises:
        ValueError: the structure or the shapes of the updates are not those of the parameters.

    Example:
        >>> params = {"b": tf.constant(1.0), "w": tf.constant([1.0, 2.0])}
        >>> new = tl.apply_updates(params, {"b": None, "w": tf.constant([0.5, -0.5])})
        >>> float(new["b"]), new["w"].numpy().tolist()
        (1.0, [1.5, 1.5])
    """
    check_same_structure("params", params, "updates", updates)

    def add(w: Tensor, u: Tensor) -> Tensor:
        w = tf.convert_to_tensor(w)
        if u is None:
            return w
        if isinstance(u, tf.IndexedSlices) and w.dtype == u.dtype:
            return tf.tensor_scatter_nd_add(w, u.indices[:, tf.newaxis], u.values)
        u = tf.convert_to_tensor(u)
        if not u.shape.is_compatible_with(w.shape):
            raise ValueError(f"got an update of shape {u.shape} for a parameter of shape {w.shape}")
        wide = compute_dtype(w.dtype)
        return tf.cast(tf.cast(w, wide) + tf.cast(u, wide), w.dtype)

    return tf.nest.map_structure(add, params, updates, check_types=False)


def rate_at(learning_rate: ScalarOrSchedule, step: Tensor) -> float | Tensor:
    """Return the learning rate of the update that follows `step` earlier ones."""
    return learning_rate(step) if callable(learning_rate) else learning_rate
