"""FTRL-Proximal."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import full_like, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree, rate_at
from trainlib.optimizers.base import (
    Hyperparameters,
    WeightDecay,
    checked,
    from_update_rule,
    full,
    map_update_rule,
)
from trainlib.transforms.decay import Mask


def ftrl_update(g: Tensor, n: Tensor, z: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply FTRL-Proximal to one tensor (McMahan et al. 2013, Algorithm 1)."""
    n_before, n = n, n + tf.square(g)
    sigma = (n**hp.p - n_before**hp.p) / hp.eta
    z = z + g + 2 * hp.shrinkage * hp.w - sigma * hp.w
    q = (hp.beta + n**hp.p) / hp.eta + hp.lambda_2
    return (tf.clip_by_value(z, -hp.lambda_1, hp.lambda_1) - z) / q - hp.w, n, z


def consistent_leaf(w: Tensor, n: Tensor, hp: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Return the z whose solution is w, z = -q w - lambda_1 sign(w)."""
    q = (hp.beta + n**hp.p) / hp.eta + hp.lambda_2
    return -q * w - hp.lambda_1 * tf.sign(w), n


class FtrlState(NamedTuple):
    """State of `ftrl`.

    Attributes:
        step: number of updates made; int64, shape [].
        n: sums of squared gradients; like the parameters, float32 or wider.
        z: linear terms; like the parameters, float32 or wider.
    """

    step: Tensor
    n: Tree
    z: Tree


_KERAS = {
    "initial_accumulator_value": 0.1,
    "beta": 0.0,
    "half_l2": False,
    "decay_form": "pre",
}
_PAPER = {"initial_accumulator_value": 0.0, "beta": 1.0, "half_l2": True, "decay_form": "l2"}


@conventions(keras=_KERAS, paper=_PAPER)
@checked
def ftrl(
    learning_rate: ScalarOrSchedule = 0.001,
    learning_rate_power: float = -0.5,
    initial_accumulator_value: float = BY_CONVENTION,
    l1_regularization_strength: float = 0.0,
    l2_regularization_strength: float = 0.0,
    l2_shrinkage_regularization_strength: float = 0.0,
    beta: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    half_l2: bool = BY_CONVENTION,
    z_init: str = "zero",
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """FTRL-Proximal: follow the regularized leader, whose L1 penalty makes weights exactly 0.

        n_t     = n_(t-1) + g^2,  n_0 = initial_accumulator_value
        sigma_t = (n_t^p - n_(t-1)^p) / eta
        z_t     = z_(t-1) + g + 2 shrinkage w_(t-1) - sigma_t w_(t-1)
        q_t     = (beta + n_t^p) / eta + lambda_2
        w_t     = (clip(z_t, -lambda_1, lambda_1) - z_t) / q_t

    with p = -learning_rate_power. w_t is a function of z_t and n_t alone: the weights before the
    first update matter only as far as z_0 depends on them.

    Args:
        learning_rate: eta, above 0: a number, a scalar tensor or a schedule. Default: 0.001.
        learning_rate_power: -p, at most 0; 0 keeps the learning rate from falling. Default: -0.5.
        initial_accumulator_value: n_0, at least 0. With n_0, beta and lambda_2 all 0, a gradient of
            0 at the first update gives 0/0. Default: 0.1 (keras), 0 (paper).
        l1_regularization_strength: lambda_1, at least 0; weights with abs(z) below it are 0.
            Default: 0.
        l2_regularization_strength: at least 0; lambda_2 is twice it, or with half_l2 the strength
            itself. Default: 0.
        l2_shrinkage_regularization_strength: shrinkage, at least 0; a penalty in the gradient that
            is left out of n. Default: 0.
        beta: at least 0. Default: 0 (keras), 1 (paper).
        weight_decay: coefficient of the weight decay, at least 0. A decay outside the update may
            move weights that the update sets to 0 by a rounding error. Default: 0.
        half_l2: whether the penalty is strength / 2 times w^2, as in the paper. Default: False
            (keras), True (paper).
        z_init: z_0: "zero" discards the initial weights, so that the first update puts w near 0;
            "consistent" takes the z_0 whose solution they are. Default: "zero".
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "l2" (paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with an `FtrlState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.ftrl(0.1, z_init="consistent")
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8347 -1.8315]

    References:
        McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches".
    """
    scalars = {
        "p": -learning_rate_power,
        "lambda_1": l1_regularization_strength,
        "lambda_2": (1 if half_l2 else 2) * l2_regularization_strength,
        "beta": beta,
    }

    def consistent(params: Tree) -> Tree:
        n = full_like(params, initial_accumulator_value)
        eta = rate_at(learning_rate, tf.zeros([], tf.int64))
        return map_update_rule(
            consistent_leaf, params, n, params=params, scalars=scalars | {"eta": eta}
        )[0]

    return from_update_rule(
        ftrl_update,
        FtrlState,
        slots={
            "n": full(initial_accumulator_value),
            "z": consistent if z_init == "consistent" else zeros_like,
        },
        learning_rate=learning_rate,
        hyperparameters=scalars | {"shrinkage": l2_shrinkage_regularization_strength},
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )
