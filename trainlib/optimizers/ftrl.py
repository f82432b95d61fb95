"""Ftrl: follow the regularized leader, whose L1 penalty makes weights exactly 0.

    n_t     = n_(t-1) + g^2
    sigma_t = (n_t^p - n_(t-1)^p) / eta
    z_t     = z_(t-1) + g + 2 shrinkage w_(t-1) - sigma_t w_(t-1)
    q_t     = (beta + n_t^p) / eta + lambda_2
    w_t     = (clip(z_t, -lambda_1, lambda_1) - z_t) / q_t

p = -learning_rate_power. w_t is a function of z_t and n_t alone: the weights before the first
update count only as far as z_0 knows them.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import full_like, leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.decay import Mask, with_weight_decay

Z_INITS = ("zero", "consistent")


def ftrl_rule(
    g: Tensor,
    n: Tensor,
    z: Tensor,
    *,
    w: Tensor,
    learning_rate: Tensor,
    p: Tensor,
    lambda_1: Tensor,
    lambda_2: Tensor,
    shrinkage: Tensor,
    beta: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """FTRL-Proximal (McMahan et al. 2013, Algorithm 1)."""
    n_before, n = n, n + tf.square(g)
    sigma = (n**p - n_before**p) / learning_rate
    z = z + g + 2 * shrinkage * w - sigma * w
    q = (beta + n**p) / learning_rate + lambda_2
    return (tf.clip_by_value(z, -lambda_1, lambda_1) - z) / q - w, n, z


def consistent_rule(
    w: Tensor,
    n: Tensor,
    *,
    learning_rate: Tensor,
    p: Tensor,
    lambda_1: Tensor,
    lambda_2: Tensor,
    beta: Tensor,
) -> tuple[Tensor, Tensor]:
    """The z of which w is the solution: z = -q w - lambda_1 sign(w)."""
    q = (beta + n**p) / learning_rate + lambda_2
    return -q * w - lambda_1 * tf.sign(w), n


class FtrlState(NamedTuple):
    """step: updates made, int64 []. n: sums of squared gradients. z: the linear terms.

    n and z are like the parameters.
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
    """Ftrl: follow the regularized leader.

        n_t     = n_(t-1) + g^2,  n_0 = initial_accumulator_value
        sigma_t = (n_t^p - n_(t-1)^p) / eta
        z_t     = z_(t-1) + g + 2 shrinkage w_(t-1) - sigma_t w_(t-1)
        q_t     = (beta + n_t^p) / eta + lambda_2
        w_t     = (clip(z_t, -lambda_1, lambda_1) - z_t) / q_t

    Args:
        learning_rate: eta; a number above 0, a scalar tensor, or a schedule.
        learning_rate_power: -p, at most 0; 0 keeps the rate from falling.
        initial_accumulator_value: n_0, at least 0. With n_0, beta and lambda_2 all 0, a gradient
            of 0 at the first update gives 0/0.
        l1_regularization_strength: lambda_1, at least 0; weights with abs(z) below it are 0.
        l2_regularization_strength: at least 0; lambda_2 is twice it, or it with half_l2.
        l2_shrinkage_regularization_strength: shrinkage, at least 0; a penalty in the gradient
            that n does not see.
        beta: at least 0.
        weight_decay: at least 0. A decay beside the rule may leave weights that it sets to 0 off
            it by a rounding error.
        half_l2: whether the penalty is strength / 2 times w^2, as in the paper.
        z_init: z_0. "zero" forgets the weights at the start: the first update puts w near 0,
            wherever it was. "consistent" takes the z_0 of which they are the solution.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (n_0 = 0.1, beta 0), "paper" (n_0 = 0, beta 1, half_l2, decay l2).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody, under the convention of that name.

    Reference: McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches".
    """
    if not callable(learning_rate):
        check_number("learning_rate", learning_rate, above=0)
    check_number("learning_rate_power", learning_rate_power, at_most=0)
    check_number("initial_accumulator_value", initial_accumulator_value, at_least=0)
    check_number("l1_regularization_strength", l1_regularization_strength, at_least=0)
    check_number("l2_regularization_strength", l2_regularization_strength, at_least=0)
    check_number(
        "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength, at_least=0
    )
    check_number("beta", beta, at_least=0)
    check_choice("z_init", z_init, Z_INITS)
    scalars = {
        "p": -learning_rate_power,
        "lambda_1": l1_regularization_strength,
        "lambda_2": (1 if half_l2 else 2) * l2_regularization_strength,
        "beta": beta,
    }

    def init(params: Tree) -> FtrlState:
        step = tf.zeros([], tf.int64)
        n = full_like(params, initial_accumulator_value)
        if z_init == "zero":
            return FtrlState(step, n, zeros_like(params))
        eta = rate_at(learning_rate, step)
        z, n = leafwise(consistent_rule, params, n, learning_rate=eta, **scalars)
        return FtrlState(step, n, z)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, FtrlState]:
        updates, n, z = leafwise(
            ftrl_rule,
            grads,
            state.n,
            state.z,
            params=params,
            learning_rate=rate_at(learning_rate, state.step),
            shrinkage=l2_shrinkage_regularization_strength,
            **scalars,
        )
        return updates, FtrlState(state.step + 1, n, z)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )
