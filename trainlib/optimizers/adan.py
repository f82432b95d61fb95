"""Adan."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.adam import adam_hyperparameters
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def adan_update(
    g: Tensor, m: Tensor, v: Tensor, n: Tensor, g_last: Tensor, hp: Hyperparameters
) -> tuple[Any, ...]:
    """Apply Adan to one tensor (Xie et al. 2022, Algorithm 1, without its restarts)."""
    k = hp.beta_2 if hp.difference_weight == "beta_2" else 1 - hp.beta_2
    d = tf.where(hp.t > 1, g - g_last, tf.zeros_like(g))
    m = hp.beta_1 * m + (1 - hp.beta_1) * g
    v = hp.beta_2 * v + (1 - hp.beta_2) * d
    n = hp.beta_3 * n + (1 - hp.beta_3) * tf.square(g + k * d)
    if hp.start == "gradient":
        m = m_hat = tf.where(hp.t > 1, m, g)
        n = n_hat = tf.where(hp.t > 1, n, tf.square(g))
        v_hat = v
    else:
        m_hat = m / (1 - hp.beta_1**hp.t)
        v_hat = v / (1 - hp.beta_2**hp.t)
        n_hat = n / (1 - hp.beta_3**hp.t)
    u = -hp.eta * (m_hat + k * v_hat) / (tf.sqrt(n_hat + hp.eps_root) + hp.epsilon)
    if hp.weight_decay is not None:  # The proximal form; the others are outside this function.
        u = (u - hp.eta * hp.weight_decay * hp.w) / (1 + hp.eta * hp.weight_decay)
    return u, m, v, n, g


class AdanState(NamedTuple):
    """State of `adan`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        v: running means of the differences d; like the parameters, float32 or wider.
        n: running means of (g + k d)^2; like the parameters, float32 or wider.
        g: last gradients; like the parameters, float32 or wider.
    """

    step: Tensor
    m: Tree
    v: Tree
    n: Tree
    g: Tree


_OPTAX = {
    "eps_root": 1e-8,
    "difference_weight": "one_minus_beta_2",
    "start": "zero",
    "decay_form": "add",
}
_PAPER = {
    "eps_root": 0.0,
    "difference_weight": "beta_2",
    "start": "gradient",
    "decay_form": "proximal",
}


@conventions(optax=_OPTAX, paper=_PAPER)
@checked
def adan(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.98,
    beta_2: float = 0.92,
    beta_3: float = 0.99,
    epsilon: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    eps_root: float = BY_CONVENTION,
    difference_weight: str = BY_CONVENTION,
    start: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "paper",
) -> Optimizer:
    """Adan: means of the gradients, of their differences, and of the squares of both together.

        d   = g_t - g_(t-1),  0 at the first update
        k   = beta_2, or 1 - beta_2
        m_t = beta_1 m_(t-1) + (1 - beta_1) g_t
        v_t = beta_2 v_(t-1) + (1 - beta_2) d
        n_t = beta_3 n_(t-1) + (1 - beta_3) (g_t + k d)^2
        u   = -eta (m_hat + k v_hat) / (sqrt(n_hat + eps_root) + epsilon)
        w_t = (w_(t-1) + u) / (1 + eta weight_decay)

        zero        m_0 = v_0 = n_0 = 0;   m_hat = m_t / (1 - beta_1^t), and v_hat, n_hat likewise
        gradient    m_1 = g_1, v_1 = 0, n_1 = g_1^2;   m_hat = m_t, v_hat = v_t, n_hat = n_t

    The betas are decays, as in `adam`: the paper writes 1 - beta for each of them.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.98.
        beta_2: decay of the mean of differences, in [0, 1). Default: 0.92.
        beta_3: decay of the mean of squares, in [0, 1). Default: 0.99.
        epsilon: added to the root, at least 0. Default: 1e-8.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        eps_root: added inside the root, at least 0. Default: 1e-8 (optax), 0 (paper).
        difference_weight: k, "beta_2" or "one_minus_beta_2". Default: "one_minus_beta_2" (optax),
            "beta_2" (paper).
        start: how the means start, "zero" or "gradient". Default: "zero" (optax), "gradient"
            (paper).
        decay_form: "proximal", as above, or a form of `with_weight_decay`: "pre", "add", "add_abs"
            or "l2". Default: "add" (optax), "proximal" (paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax" or "paper". Default: "paper".

    Returns:
        An `Optimizer` with an `AdanState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adan(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8008 -1.8004]

    Differences:
        Optax: k is 0.08 where the authors' is 0.92, because the paper's 1 - beta_2 is written with
            a beta_2 that is already 1 minus the paper's.
        Paper: the authors' code is the paper's form with start "zero".

    References:
        Xie et al. 2022, "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
        Models".
    """
    form = None if decay_form == "proximal" else decay_form
    return from_update_rule(
        adan_update,
        AdanState,
        slots=dict.fromkeys("mvng", zeros_like),
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(
            beta_1,
            beta_2,
            epsilon,
            eps_root,
            beta_3=beta_3,
            difference_weight=difference_weight,
            start=start,
        ),
        weight_decay=WeightDecay(weight_decay, form, decay_mask),
    )
