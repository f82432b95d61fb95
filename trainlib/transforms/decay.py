"""Weight decay: around an optimizer, in each of the forms of the libraries, and as a transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from trainlib.core.checks import check_choice, check_number
from trainlib.core.tree import is_empty, is_zero, leafwise, overlay, prune, resolve_mask
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.chain import no_state

DECAY_FORMS = ("pre", "add", "add_abs", "l2")

Mask: TypeAlias = Callable[[str], bool] | Any
"""A selection of parameters: a structure of bools, a function of the path, or None for all."""


def with_weight_decay(
    optimizer: Optimizer,
    learning_rate: ScalarOrSchedule,
    weight_decay: float,
    decay_form: str = "pre",
    decay_mask: Mask = None,
) -> Optimizer:
    """Return an optimizer with weight decay.

        pre       w = w - eta lambda w, then the update at this w
        add       u = u - eta lambda w
        add_abs   u = u - lambda w
        l2        g = g + lambda w, then the update with this g

    with u the update of the optimizer. For plain gradient descent "pre", "add" and "l2" are the
    same. "pre" and "add" differ for optimizers that read w; "l2" differs from both for those whose
    state depends on the gradients.

    Args:
        optimizer: an optimizer whose state has a `step`.
        learning_rate: eta, the learning rate of the optimizer.
        weight_decay: lambda, at least 0; 0 returns the optimizer unchanged.
        decay_form: "pre", "add", "add_abs" or "l2". Default: "pre".
        decay_mask: the parameters that decay: a structure of bools or a function of the path. A
            parameter whose gradient is None does not decay. Default: None, all parameters.

    Returns:
        An `Optimizer` with the state of the given one.

    Raises:
        ValueError: a weight_decay below 0, or an unknown decay_form.
        TypeError: a weight_decay that is not a number.

    Example:
        >>> from trainlib.transforms import with_weight_decay
        >>> tx = with_weight_decay(tl.sgd(0.5), 0.5, weight_decay=0.25)
        >>> w = tf.constant([1.0, -2.0])
        >>> tx.update(tf.zeros([2]), tx.init(w), w)[0].numpy().tolist()
        [-0.125, 0.25]

    Differences:
        Keras: all optimizers have "pre".
        PyTorch: AdamW has "pre", the other optimizers "l2".
        Optax: adamw has "add", adafactor "add_abs".

    References:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
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
        decays = _each(_decay_leaf, decaying, params, eta=eta, weight_decay=weight_decay)
        at = _sum(params, decays) if decay_form == "pre" else params
        updates, state = optimizer.update(grads, state, at)
        return _sum(updates, decays), state

    return Optimizer(
        optimizer.init, l2 if decay_form == "l2" else decoupled, by_row=optimizer.by_row
    )


def add_decayed_weights(weight_decay: float, mask: Mask = None) -> Optimizer:
    """Add the weights, multiplied by a coefficient, to the gradients or to the updates.

        g = g + lambda w

    Before an optimizer it is the gradient of the penalty lambda/2 w^2, the form "l2" of
    `with_weight_decay`. After one and before `scale(-eta)` it is decoupled weight decay.

    Args:
        weight_decay: lambda, at least 0.
        mask: the parameters that decay: a structure of bools or a function of the path. A parameter
            whose gradient is None does not decay. Default: None, all parameters.

    Returns:
        An `Optimizer` without a state.

    Raises:
        ValueError, TypeError: a weight_decay that is not a number of at least 0.

    Example:
        >>> tx = tl.chain(tl.add_decayed_weights(0.5), tl.sgd(0.25))
        >>> w = tf.constant([1.0, -2.0])
        >>> tx.update(tf.zeros([2]), tx.init(w), w)[0].numpy().tolist()
        [-0.125, 0.25]
    """
    check_number("weight_decay", weight_decay, at_least=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        decaying = prune(grads, resolve_mask(mask, params))
        penalized = _each(_l2_leaf, decaying, params, weight_decay=weight_decay)
        return overlay(penalized, grads), state

    return Optimizer(no_state, update)


def _l2_leaf(g: Tensor, *, w: Tensor, weight_decay: Tensor) -> tuple[Tensor]:
    """Return g + lambda w."""
    return (g + weight_decay * w,)


def _decay_leaf(g: Tensor, *, w: Tensor, eta: Tensor, weight_decay: Tensor) -> tuple[Tensor]:
    """Return -eta lambda w."""
    return (-eta * weight_decay * w,)


def _sum_leaf(d: Tensor, *, w: Tensor) -> tuple[Tensor]:
    """Return w + d."""
    return (w + d,)


def _sum(tree: Tree, decays: Tree) -> Tree:
    """Return the tree plus the decays in their dtype; the tree's leaf where the decay is None."""
    return overlay(_each(_sum_leaf, decays, tree), tree)


def _each(function: Any, decaying: Tree, params: Tree, **scalars: Any) -> Tree:
    """Return the function's result where a parameter decays, None elsewhere."""
    if is_empty(decaying):
        return decaying
    return leafwise(function, decaying, params=params, **scalars)[0]
