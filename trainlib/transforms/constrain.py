"""`constrain`, which applies a constraint on parameters as a member of a chain."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from trainlib.core.checks import check_not_class
from trainlib.core.tree import resolve_mask, widen
from trainlib.core.types import Optimizer, State, Tensor, Tree, apply_updates
from trainlib.transforms.chain import no_state
from trainlib.transforms.decay import Mask


def constrain(constraint: Callable[[Tensor], Tensor], mask: Mask = None) -> Optimizer:
    """Change the updates so that the updated parameters satisfy a constraint.

        u = c(w + u) - w

    Put it after the optimizer, and before `ema`, so that the constrained parameters are averaged:
    `chain(sgd(0.1), constrain(max_norm(2.0, "units"), kernels), ema(0.999))`. Inside `accumulate`
    it acts at updates only; after it, as in Keras, at every micro-batch. The updated parameter is
    w + (c(w + u) - w), which may differ from c(w + u) by an ulp; it is not negative unless c(w + u)
    is.

    Args:
        constraint: c, a function of one parameter, such as `max_norm(2.0)` or `tf.nn.relu`.
        mask: the parameters to constrain: a structure of bools, a function `path -> bool`, a
            regular expression for whole paths, `kernels`, or None for all. Default: None. A
            parameter whose update is None is not constrained.

    Returns:
        An `Optimizer` without state.

    Raises:
        TypeError: the constraint is not a function.
        ValueError: from `update`, a mask of another structure, or a regular expression that matches
            nothing.

    Example:
        >>> tx = tl.chain(tl.sgd(1.0), tl.constrain(tf.nn.relu))
        >>> w = tf.constant([1.0, 1.0])
        >>> updates, _ = tx.update(tf.constant([0.5, 3.0]), tx.init(w), w)
        >>> tl.apply_updates(w, updates).numpy().tolist()
        [0.5, 0.0]

    Differences:
        Keras: constraints belong to variables; they act after the moving average is taken, and
            under accumulation at every micro-batch.
    """
    check_not_class("constraint", "a function", constraint)
    if not callable(constraint):
        raise TypeError(
            f"constraint must be a function such as tl.max_norm(2.0), got {constraint!r}"
        )

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        def constrained(w: Tensor, u: Tensor, new: Tensor, held: bool) -> Tensor:
            return u if u is None or not held else widen(constraint(new)) - widen(w)

        updates = tf.nest.map_structure(
            constrained,
            params,
            grads,
            apply_updates(params, grads),
            resolve_mask(mask, params),
            check_types=False,
        )
        return updates, state

    return Optimizer(no_state, update)
