"""RAdam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree
from trainlib.optimizers.adam import adam_hyperparameters
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.optimizers.nadam import nesterov_mean
from trainlib.transforms.decay import Mask


def radam_update(g: Tensor, m: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply RAdam to one tensor (Liu et al. 2020, Algorithm 2).

    hp.r is r_t, or 0 where the step is not rectified.
    """
    m = hp.beta_1 * m + (1 - hp.beta_1) * g
    v = hp.beta_2 * v + (1 - hp.beta_2) * tf.square(g)
    P = hp.beta_1**hp.t
    c_2 = 1 - hp.beta_2**hp.t
    m_hat = nesterov_mean(g, m, hp.beta_1, hp.beta_1, P) if hp.nesterov else m / (1 - P)
    if hp.bias_form == "folded":
        l_t = tf.sqrt(c_2) / (tf.sqrt(v + hp.eps_root) + hp.epsilon)
    else:
        l_t = 1 / (tf.sqrt(v / c_2 + hp.eps_root) + hp.epsilon)
    return -hp.eta * tf.where(hp.r > 0, hp.r * m_hat * l_t, m_hat), m, v


def rectification(state: State, hp: Hyperparameters) -> Mapping[str, Tensor]:
    """Return r_t, which is above 0; 0 where the step is not rectified.

    In float64: rho_t is a small difference of large numbers, which float32 misses by several
    percent.
    """
    rho_inf = 2 / (1 - hp.beta_2) - 1
    rho = rho_inf - 2 * hp.t * hp.beta_2**hp.t / (1 - hp.beta_2**hp.t)
    square = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    return {"r": tf.sqrt(tf.where(rho > hp.threshold, square, tf.zeros_like(square)))}


class RadamState(NamedTuple):
    """State of `radam`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        v: running means of squared gradients; like the parameters, float32 or wider.
    """

    step: Tensor
    m: Tree
    v: Tree


_OPTAX = {
    "epsilon": 1e-8,
    "threshold": 5.0,
    "bias_form": "corrected",
    "decay_form": "add",
}
_TORCH = _OPTAX | {"bias_form": "folded", "decay_form": "l2"}
_PAPER = _OPTAX | {"threshold": 4.0, "bias_form": "folded"}


@conventions(torch=_TORCH, optax=_OPTAX, paper=_PAPER)
@checked
def radam(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    threshold: float = BY_CONVENTION,
    bias_form: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Rectified Adam: Adam whose step is corrected while v_t averages few gradients.

        m_t     = beta_1 m_(t-1) + (1 - beta_1) g
        v_t     = beta_2 v_(t-1) + (1 - beta_2) g^2
        c_1     = 1 - beta_1^t,  c_2 = 1 - beta_2^t
        rho_inf = 2 / (1 - beta_2) - 1
        rho_t   = rho_inf - 2 t beta_2^t / c_2
        r_t     = sqrt((rho_t - 4) (rho_t - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho_t))

        folded      l_t = sqrt(c_2) / (sqrt(v_t + eps_root) + epsilon)
        corrected   l_t = 1 / (sqrt(v_t / c_2 + eps_root) + epsilon)

        w_t = w_(t-1) - eta r_t m_t / c_1 l_t    where rho_t > threshold
        w_t = w_(t-1) - eta m_t / c_1            elsewhere

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.9.
        beta_2: decay of the mean of squares, in [0, 1). At most 0.6, no step is rectified. Default:
            0.999.
        epsilon: added to the root, at least 0. Default: 1e-8.
        nesterov: whether to replace m_t / c_1 by the m_hat of `nadam` with a constant momentum.
            Default: False.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        eps_root: added inside the root, at least 0. Default: 0.
        threshold: the rho_t above which steps are rectified, at least 4. Default: 5 (torch, optax),
            4 (paper).
        bias_form: where the bias of v_t is corrected: "folded" or "corrected". Default: "folded"
            (torch, paper), "corrected" (optax).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "l2" (torch), "add" (optax, paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "torch", "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with a `RadamState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.radam(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.6211 -1.2421]

    Differences:
        Optax: the step is rectified where rho_t equals the threshold.
        Paper: there is no epsilon.

    References:
        Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond".
    """
    return from_update_rule(
        radam_update,
        RadamState,
        slots={"m": zeros_like, "v": zeros_like},
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(beta_1, beta_2, epsilon, eps_root)
        | {
            "threshold": threshold,
            "bias_form": bias_form,
            "nesterov": nesterov,
        },
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
        prepare=rectification,
    )
