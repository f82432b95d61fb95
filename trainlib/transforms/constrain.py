"""`constrain`, which makes a constraint on parameters a member of a chain."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from trainlib.base import Optimizer, State, Tensor, Tree, apply_updates
from trainlib.transforms.chain import no_state
from trainlib.transforms.decay import Mask
from trainlib.tree import resolve_mask, widen


def constrain(constraint: Callable[[Tensor], Tensor], mask: Mask = None) -> Optimizer:
    """Changes the updates so that the updated parameters keep to a constraint.

        u = c(w + u) - w

    It stands after the optimizer, and before `ema`, which is to average what it leaves.

    Args:
        constraint: c, a function of one parameter: `max_norm(2.0)`, `tf.nn.relu`.
        mask: the parameters it holds for; all of them by default. One without an update stays.

    Differs from: Keras, where constraints belong to variables and act after their averages are
    taken, and under accumulation at every micro-batch.
    """

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
