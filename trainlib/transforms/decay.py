"""Weight decay: the places in a step where libraries put it.

    pre       w = w - eta lambda w, then the rule at this w      Keras; PyTorch's AdamW
    add       u = u - eta lambda w                               Optax's adamw
    add_abs   u = u - lambda w                                   Optax's adafactor
    l2        g = g + lambda w, then the rule with this g        PyTorch's other optimizers

eta: learning rate; lambda: weight_decay; u: update. For plain gradient descent pre, add and l2
are one. pre and add part where the rule reads w; l2 parts from both where it has a memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from trainlib.core.checks import check_choice, check_number
from trainlib.core.tree import is_empty, is_zero, leafwise, overlay, prune, resolve_mask
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.chain import no_state

DECAY_FORMS = ("pre", "add", "add_abs", "l2")

Mask: TypeAlias = Callable[[str], bool] | Any
"""Some of the parameters: a structure of bools, a function of a parameter's path, None for all."""


def with_weight_decay(
    optimizer: Optimizer,
    learning_rate: ScalarOrSchedule,
    weight_decay: float,
    decay_form: str = "pre",
    decay_mask: Mask = None,
) -> Optimizer:
    """The optimizer with weight decay in the place that `decay_form` names.

    Args:
        optimizer: whose state has a `step`.
        learning_rate: eta, as the optimizer's.
        weight_decay: lambda, at least 0; 0 returns the optimizer as it is.
        decay_form: "pre", "add", "add_abs" or "l2".
        decay_mask: the parameters that decay; all of them by default. One whose gradient is None
            does not.
    """
    check_number("weight_decay", weight_decay, at_least=0)
    check_choice("decay_form", decay_form, DECAY_FORMS)
    if is_zero(weight_decay):
        return optimizer

    def l2(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        penalized, _ = add_decayed_weights(weight_decay, decay_mask).update(grads, (), params)
        return optimizer.update(penalized, state, params)

    def decoupled(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        eta = 1.0 if decay_form == "add_abs" else rate_at(learning_rate, state.step)
        decaying = prune(grads, resolve_mask(decay_mask, params))
        decays = _each(_decay_rule, decaying, params, eta=eta, weight_decay=weight_decay)
        at = _sum(params, decays) if decay_form == "pre" else params
        updates, state = optimizer.update(grads, state, at)
        return _sum(updates, decays), state

    return Optimizer(optimizer.init, l2 if decay_form == "l2" else decoupled)


def add_decayed_weights(weight_decay: float, mask: Mask = None) -> Optimizer:
    """Adds a share of the weights to the gradients, or to the updates.

        g = g + lambda w

    Before an optimizer it is the gradient of the penalty lambda/2 w^2, the "l2" of
    `with_weight_decay`.
    After one and before `scale(-eta)` it is decoupled.

    Args:
        weight_decay: lambda, at least 0.
        mask: the parameters that decay; all of them by default. One whose gradient is None does
            not.

    Raises:
        ValueError, TypeError: a weight_decay that is not a number of at least 0.
    """
    check_number("weight_decay", weight_decay, at_least=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        decaying = prune(grads, resolve_mask(mask, params))
        penalized = _each(_l2_rule, decaying, params, weight_decay=weight_decay)
        return overlay(penalized, grads), state

    return Optimizer(no_state, update)


def _l2_rule(g: Tensor, *, w: Tensor, weight_decay: Tensor) -> tuple[Tensor]:
    """g = g + lambda w."""
    return (g + weight_decay * w,)


def _decay_rule(g: Tensor, *, w: Tensor, eta: Tensor, weight_decay: Tensor) -> tuple[Tensor]:
    """u = -eta lambda w."""
    return (-eta * weight_decay * w,)


def _sum_rule(d: Tensor, *, w: Tensor) -> tuple[Tensor]:
    return (w + d,)


def _sum(tree: Tree, decays: Tree) -> Tree:
    """The tree plus the decays, in their dtype; the tree's leaf where the decay is None."""
    return overlay(_each(_sum_rule, decays, tree), tree)


def _each(rule: Any, decaying: Tree, params: Tree, **scalars: Any) -> Tree:
    """The rule where a parameter decays, None elsewhere."""
    if is_empty(decaying):
        return decaying
    return leafwise(rule, decaying, params=params, **scalars)[0]
