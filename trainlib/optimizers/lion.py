"""Lion."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def lion_update(g: Tensor, m: Tensor, hp: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Apply Lion to one tensor (Chen et al. 2023, Algorithm 2)."""
    u = -hp.eta * tf.sign(hp.beta_1 * m + (1 - hp.beta_1) * g)
    m = hp.beta_2 * m + (1 - hp.beta_2) * g
    return u, m


class LionState(NamedTuple):
    """State of `lion`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
    """

    step: Tensor
    m: Tree


@conventions(
    keras={"weight_decay": 0.0, "decay_form": "pre"},
    optax={"weight_decay": 0.001, "decay_form": "add"},
    paper={"weight_decay": 0.0, "decay_form": "add"},
)
@checked
def lion(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    *,
    weight_decay: float = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Lion: steps by the sign of a mean of gradients.

        w_t = w_(t-1) - eta sign(beta_1 m_(t-1) + (1 - beta_1) g)
        m_t = beta_2 m_(t-1) + (1 - beta_2) g

    with m_0 = 0 and sign(0) = 0.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        beta_1: weight of the mean in the update, in [0, 1]. Default: 0.9.
        beta_2: decay of the mean of gradients, in [0, 1). Default: 0.99.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0 (keras, paper), 0.001
            (optax).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            "pre" and "add" are the same up to rounding. Default: "pre" (keras), "add" (optax,
            paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "optax" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with a `LionState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.lion(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8 -1.8]

    Differences:
        Keras: a beta_1 of 0 is not allowed.

    References:
        Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms".
    """
    return from_update_rule(
        lion_update,
        LionState,
        slots={"m": zeros_like},
        learning_rate=learning_rate,
        hyperparameters={
            "beta_1": beta_1,
            "beta_2": beta_2,
        },
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )
