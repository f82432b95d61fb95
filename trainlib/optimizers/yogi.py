"""Yogi."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.adam import adam_hyperparameters, adam_step
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule, full
from trainlib.transforms.decay import Mask


def yogi_update(g: Tensor, m: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply Yogi to one tensor (Zaheer et al. 2018, Algorithm 2)."""
    m = hp.beta_1 * m + (1 - hp.beta_1) * g
    v = v - (1 - hp.beta_2) * tf.sign(v - tf.square(g)) * tf.square(g)
    return adam_step(m, v, hp), m, v


class YogiState(NamedTuple):
    """State of `yogi`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        v: running estimates of squared gradients; like the parameters, float32 or wider.
    """

    step: Tensor
    m: Tree
    v: Tree


_OPTAX = {
    "learning_rate": 0.001,
    "initial_accumulator_value": 1e-6,
    "initial_mean_value": 1e-6,
    "bias_form": "corrected",
}
_PAPER = {
    "learning_rate": 0.01,
    "initial_accumulator_value": 0.0,
    "initial_mean_value": 0.0,
    "bias_form": "none",
}


@conventions(optax=_OPTAX, paper=_PAPER)
@checked
def yogi(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-3,
    *,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = BY_CONVENTION,
    initial_mean_value: float = BY_CONVENTION,
    eps_root: float = 0.0,
    bias_form: str = BY_CONVENTION,
    decay_form: str = "add",
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Yogi: Adam whose mean of squares changes by a bounded amount at each step.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        v_t = v_(t-1) - (1 - beta_2) sign(v_(t-1) - g^2) g^2

    with the step of `adam` from m_t and v_t, in its form "corrected", "none" or "folded".

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001
            (optax), 0.01 (paper).
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.9.
        beta_2: 1 - beta_2 bounds the relative change of v_t, in [0, 1). Default: 0.999.
        epsilon: added to the root, at least 0. Default: 0.001.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        initial_accumulator_value: v_0, at least 0. Default: 1e-6 (optax), 0 (paper).
        initial_mean_value: m_0. Default: 1e-6 (optax), 0 (paper).
        eps_root: added inside the root, at least 0. Default: 0.
        bias_form: where the bias of the means is corrected: "folded", "corrected" or "none"; see
            `adam`. Default: "corrected" (optax), "none" (paper).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "add".
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with a `YogiState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.yogi(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8006 -1.8002]

    Differences:
        Optax: m starts at v_0 too, which moves parameters whose gradients are 0. The convention
            "optax" does the same; initial_mean_value=0 does not.
        Paper: the experiments start v_0 at a mean of squared gradients.

    References:
        Zaheer et al. 2018, "Adaptive Methods for Nonconvex Optimization".
    """
    return from_update_rule(
        yogi_update,
        YogiState,
        slots={"m": full(initial_mean_value), "v": full(initial_accumulator_value)},
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(
            beta_1, beta_2, epsilon, eps_root, bias_form=bias_form
        ),
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )
