"""AdaGrad."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule, full
from trainlib.transforms.decay import Mask


def adagrad_update(g: Tensor, s: Tensor, hp: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Apply AdaGrad to one tensor (Duchi, Hazan and Singer 2011)."""
    s = s + tf.square(g)
    eta = hp.eta / (1 + (hp.t - 1) * hp.lr_decay)
    u = -eta * g / root(s, hp.epsilon, hp.epsilon_place)
    if hp.zero_guard:
        u = tf.where(s > 0, u, tf.zeros_like(u))
    return u, s


def root(s: Tensor, epsilon: Tensor, epsilon_place: str) -> Tensor:
    """Return sqrt(s + epsilon), or sqrt(s) + epsilon with epsilon "outside" the root."""
    return tf.sqrt(s + epsilon) if epsilon_place == "inside" else tf.sqrt(s) + epsilon


class AdagradState(NamedTuple):
    """State of `adagrad`.

    Attributes:
        step: number of updates made; int64, shape [].
        s: sums of squared gradients; like the parameters, float32 or wider.
    """

    step: Tensor
    s: Tree


_KERAS = {
    "learning_rate": 0.001,
    "initial_accumulator_value": 0.1,
    "epsilon": 1e-7,
    "epsilon_place": "inside",
    "zero_guard": False,
    "decay_form": "pre",
}
_OPTAX = _KERAS | {"zero_guard": True, "decay_form": "l2"}
_PAPER = _KERAS | {
    "initial_accumulator_value": 0.0,
    "epsilon_place": "outside",
    "decay_form": "l2",
}
_TORCH = _PAPER | {"learning_rate": 0.01, "epsilon": 1e-10}
_TEXTBOOK = _PAPER | {"epsilon": 1e-10, "epsilon_place": "inside"}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER, textbook=_TEXTBOOK)
@checked
def adagrad(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    initial_accumulator_value: float = BY_CONVENTION,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    epsilon_place: str = BY_CONVENTION,
    lr_decay: float = 0.0,
    zero_guard: bool = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """AdaGrad: a step divided by the root of the sum of all squared gradients.

        s_t   = s_(t-1) + g^2,  s_0 = initial_accumulator_value
        eta_t = eta / (1 + (t - 1) lr_decay)
        inside     w_t = w_(t-1) - eta_t g / sqrt(s_t + epsilon)
        outside    w_t = w_(t-1) - eta_t g / (sqrt(s_t) + epsilon)

    with t = 1 at the first update.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001,
            0.01 (torch).
        initial_accumulator_value: s_0, at least 0. Default: 0.1 (keras, optax), 0 (the others).
        epsilon: at least 0. With an epsilon of 0 and no zero_guard the update is 0/0 where s_t is
            0. Default: 1e-7 (keras, optax, paper), 1e-10 (torch, textbook).
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        epsilon_place: "inside" or "outside" the root. Default: "inside" (keras, optax, textbook),
            "outside" (torch, paper).
        lr_decay: decay of the learning rate with the number of updates, besides a schedule; at
            least 0. Default: 0.
        zero_guard: whether the update is 0 where s_t is 0. Default: True (optax), False (the
            others).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "l2" (the others).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax", "paper" or "textbook". Default: "keras".

    Returns:
        An `Optimizer` with an `AdagradState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adagrad(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8347 -1.8315]

    Differences:
        Paper: no value is given for epsilon, its delta.

    References:
        Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods for Online Learning and
        Stochastic Optimization".
    """
    return from_update_rule(
        adagrad_update,
        AdagradState,
        slots={"s": full(initial_accumulator_value)},
        learning_rate=learning_rate,
        hyperparameters={
            "epsilon": epsilon,
            "epsilon_place": epsilon_place,
            "lr_decay": lr_decay,
            "zero_guard": zero_guard,
        },
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )._replace(by_row=True)
