"""LAMB."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.norms import global_norm
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.adam import adam_hyperparameters
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def lamb_update(g: Tensor, m: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply LAMB to one tensor (You et al. 2020, Algorithm 2)."""
    m = hp.beta_1 * m + (1 - hp.beta_1) * g
    v = hp.beta_2 * v + (1 - hp.beta_2) * tf.square(g)
    m_hat = m / (1 - hp.beta_1**hp.t)
    v_hat = v / (1 - hp.beta_2**hp.t)
    r = m_hat / (tf.sqrt(v_hat + hp.eps_root) + hp.epsilon)
    if hp.weight_decay is not None:
        r = r + hp.weight_decay * hp.w
    return -hp.eta * norm_ratio(hp.w, r) * r, m, v


def norm_ratio(w: Tensor, r: Tensor) -> Tensor:
    """Return ||w|| / ||r||, and 1 where one of them is 0."""
    w_norm, r_norm = global_norm(w), global_norm(r)
    return tf.where((w_norm > 0) & (r_norm > 0), w_norm / r_norm, tf.ones_like(w_norm))


class LambState(NamedTuple):
    """State of `lamb`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        v: running means of squared gradients; like the parameters, float32 or wider.
    """

    step: Tensor
    m: Tree
    v: Tree


_KERAS = {"epsilon": 1e-7, "decay_form": "pre"}
_OPTAX = {"epsilon": 1e-6, "decay_form": "in_ratio"}


@conventions(keras=_KERAS, optax=_OPTAX, paper=_OPTAX)
@checked
def lamb(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """LAMB: Adam with a step proportional to the norm of each tensor.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        v_t = beta_2 v_(t-1) + (1 - beta_2) g^2
        r   = (m_t / (1 - beta_1^t)) / (sqrt(v_t / (1 - beta_2^t) + eps_root) + epsilon)
        r   = r + weight_decay w_(t-1)                    with decay_form "in_ratio"
        w_t = w_(t-1) - eta ||w_(t-1)|| / ||r|| r

    with t = 1 at the first update. The ratio of norms is 1 where one of them is 0.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.9.
        beta_2: decay of the mean of squares, in [0, 1). Default: 0.999.
        epsilon: added to the root, at least 0. Default: 1e-7 (keras), 1e-6 (optax, paper).
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        eps_root: added inside the root, at least 0. Default: 0.
        decay_form: "in_ratio": the decay is part of r, and so of its norm; or, outside the ratio,
            "pre", "add", "add_abs" or "l2", see `with_weight_decay`. Default: "pre" (keras),
            "in_ratio" (optax, paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "optax" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with a `LambState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.lamb(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.6991 -1.6983]

    Differences:
        Paper: the ratio may have a bound on ||w||; no library has one.

    References:
        You et al. 2020, "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes".
    """
    form = None if decay_form == "in_ratio" else decay_form
    return from_update_rule(
        lamb_update,
        LambState,
        slots={"m": zeros_like, "v": zeros_like},
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(beta_1, beta_2, epsilon, eps_root),
        weight_decay=WeightDecay(weight_decay, form, decay_mask),
    )
