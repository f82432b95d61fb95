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


EXTRA_ARGS = ("weight", "last", "is_finite")
"""The extra arguments of an update that `train_step` has to offer."""


class Optimizer(NamedTuple):
    """An optimizer, or a transform of gradients, as two pure functions.

    Both run eagerly, in a `tf.function`, under XLA and in a `tf.while_loop`. A gradient of None
    leaves its parameter and that parameter's state as they are.

    Attributes:
        init: `(params) -> state`.
        update: `(grads, state, params) -> (updates, state)`. `apply_updates` adds the updates to
            the parameters.
        extra_args: the names of the keyword arguments that `update` takes beside these three.
            Default none. `train_step` passes those that are declared here, and so do `chain` and
            the wrappers: "weight", the sum of the weights of the batch's examples, a scalar;
            "last", whether the batch is the last of an epoch, a bool; "is_finite", whether all
            gradients are finite, a bool: who declares it is also called for a last batch that is
            not finite, and must leave its gradients out.

    Example:
        >>> def sign(grads, state, params):
        ...     return tf.nest.map_structure(lambda g: -0.1 * tf.sign(g), grads), state
        >>> tx = tl.Optimizer(lambda params: (), sign)
        >>> params = {"w": tf.constant([1.0, 2.0])}
        >>> updates, state = tx.update({"w": tf.constant([3.0, -4.0])}, tx.init(params), params)
        >>> np.round(tl.apply_updates(params, updates)["w"].numpy(), 6).tolist()
        [0.9, 2.1]

    Differences:
        Optax has a type for each: `GradientTransformation`, and `GradientTransformationExtraArgs`,
        which must take any extra argument. Its `params` may be left out.
    """

    init: Callable[[Tree], State]
    update: Callable[..., tuple[Tree, State]]
    extra_args: tuple[str, ...] = ()


def update_with(
    optimizer: Optimizer, grads: Tree, state: State, params: Tree, **extra: Any
) -> tuple[Tree, State]:
    """Call the optimizer's update with those of the extra arguments that it declares."""
    declared = {name: extra[name] for name in optimizer.extra_args if name in extra}
    return optimizer.update(grads, state, params, **declared)


def forwarded_args(*optimizers: Optimizer) -> tuple[str, ...]:
    """Return the extra arguments that an optimizer around these ones declares.

    These are all that one of them declares but "is_finite", since the others among them would take
    a step at gradients that are not finite.
    """
    names = [name for optimizer in optimizers for name in optimizer.extra_args]
    return tuple(name for name in dict.fromkeys(names) if name != "is_finite")


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
