"""`constrain`, which makes a constraint on parameters a member of a chain."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from trainlib.core.tree import resolve_mask, widen
from trainlib.core.types import Optimizer, State, Tensor, Tree, apply_updates
from trainlib.transforms.chain import no_state
from trainlib.transforms.decay import Mask


def constrain(constraint: Callable[[Tensor], Tensor], mask: Mask = None) -> Optimizer:
    """Changes the updates so that the updated parameters keep to a constraint.

        u = c(w + u) - w

        chain(sgd(0.1), constrain(max_norm(2.0, "units"), kernels), ema(0.999))

    It stands after the optimizer, and before `ema`, which is to average what it leaves. Inside
    `accumulate` it acts at updates only; behind it, as in Keras, at every micro-batch.

    Args:
        constraint: c, a function of one parameter: `max_norm(2.0)`, `tf.nn.relu`.
        mask: the parameters it holds for; all of them by default. A structure of bools, a function
            of the path, a regular expression that must match the whole of a path, or `kernels`.
            A parameter without an update stays.

    Raises:
        TypeError: a constraint that is no function.
        ValueError, TypeError: from update, a mask of another structure or of something else than
            bools, or an expression that matches nothing.

    Differs from: Keras, where constraints belong to variables and act after their averages are
    taken, and under accumulation at every micro-batch. The parameter is w + (c(w + u) - w), which
    may round an ulp beside c(w + u); it is never below 0 where that is not.
    """
    if not callable(constraint):
        raise TypeError(f"constraint must be a function such as max_norm(), got {constraint!r}")

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
