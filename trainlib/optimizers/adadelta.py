"""Adadelta."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def adadelta_update(g: Tensor, a: Tensor, d: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply Adadelta to one tensor (Zeiler 2012, Algorithm 1)."""
    a = hp.rho * a + (1 - hp.rho) * tf.square(g)
    delta = -tf.sqrt(d + hp.epsilon) / tf.sqrt(a + hp.epsilon) * g
    d = hp.rho * d + (1 - hp.rho) * tf.square(delta)
    return hp.eta * delta, a, d


class AdadeltaState(NamedTuple):
    """State of `adadelta`.

    Attributes:
        step: number of updates made; int64, shape [].
        a: running means of squared gradients; like the parameters, float32 or wider.
        d: running means of delta^2; like the parameters, float32 or wider.
    """

    step: Tensor
    a: Tree
    d: Tree


_KERAS = {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7, "decay_form": "pre"}
_OPTAX = {"learning_rate": 0.001, "rho": 0.9, "epsilon": 1e-6, "decay_form": "l2"}
_TORCH = _OPTAX | {"learning_rate": 1.0}
_PAPER = _TORCH | {"rho": 0.95}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER)
@checked
def adadelta(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    rho: float = BY_CONVENTION,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Adadelta: steps in the units of the parameters, from running means of squares.

        a_t     = rho a_(t-1) + (1 - rho) g^2
        delta_t = -sqrt(d_(t-1) + epsilon) / sqrt(a_t + epsilon) g
        d_t     = rho d_(t-1) + (1 - rho) delta_t^2
        w_t     = w_(t-1) + eta delta_t

    with a_0 = d_0 = 0.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001
            (keras, optax), 1 (torch, paper).
        rho: decay of the running means, in [0, 1). Default: 0.95 (keras, paper), 0.9 (torch,
            optax).
        epsilon: added inside both roots, above 0; it determines the size of the first steps.
            Default: 1e-7 (keras), 1e-6 (the others).
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "l2" (the others).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with an `AdadeltaState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adadelta(1.0)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.9972 -1.9972]

    Differences:
        Optax: a learning rate is required; the default of the convention "optax" is that of Keras.
        Paper: there is no eta.

    References:
        Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method".
    """
    return from_update_rule(
        adadelta_update,
        AdadeltaState,
        slots={"a": zeros_like, "d": zeros_like},
        learning_rate=learning_rate,
        hyperparameters={"rho": rho, "epsilon": epsilon},
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )
