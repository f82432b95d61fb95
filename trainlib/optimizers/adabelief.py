"""AdaBelief."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.adam import adam_hyperparameters
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.optimizers.nadam import nesterov_mean
from trainlib.transforms.decay import Mask


def adabelief_update(g: Tensor, m: Tensor, s: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply AdaBelief to one tensor (Zhuang et al. 2020, Algorithm 2)."""
    m = hp.beta_1 * m + (1 - hp.beta_1) * g
    s = hp.beta_2 * s + (1 - hp.beta_2) * tf.square(g - m) + hp.eps_root
    power = hp.beta_1**hp.t
    if hp.nesterov:
        m_hat = nesterov_mean(g, m, hp.beta_1, hp.beta_1, power)
    else:
        m_hat = m / (1 - power)
    s_hat = s / (1 - hp.beta_2**hp.t)
    return -hp.eta * m_hat / (tf.sqrt(s_hat) + hp.epsilon), m, s


class AdabeliefState(NamedTuple):
    """State of `adabelief`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        s: running means of (g - m)^2; like the parameters, float32 or wider.
    """

    step: Tensor
    m: Tree
    s: Tree


@conventions(
    optax={"epsilon": 1e-16, "eps_root": 1e-16},
    paper={"epsilon": 1e-8, "eps_root": 1e-8},
)
@checked
def adabelief(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    eps_root: float = BY_CONVENTION,
    decay_form: str = "add",
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """AdaBelief: Adam with the squared deviation of the gradient from its mean.

        m_t   = beta_1 m_(t-1) + (1 - beta_1) g
        s_t   = beta_2 s_(t-1) + (1 - beta_2) (g - m_t)^2 + eps_root
        m_hat = m_t / (1 - beta_1^t)
        s_hat = s_t / (1 - beta_2^t)
        w_t   = w_(t-1) - eta m_hat / (sqrt(s_hat) + epsilon)

    with t = 1 at the first update. Unlike that of `adam`, eps_root stays in s_t, where it
    accumulates to eps_root / (1 - beta_2).

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.9.
        beta_2: decay of the mean of squared deviations, in [0, 1). Default: 0.999.
        epsilon: added to the root, at least 0. Default: 1e-16 (optax), 1e-8 (paper).
        nesterov: whether m_hat is Nesterov's mean with a constant momentum, as in `nadam`. Default:
            False.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        eps_root: added to s_t at every update, at least 0. Default: 1e-16 (optax), 1e-8 (paper).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "add".
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with an `AdabeliefState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adabelief(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.7727 -1.7723]

    Differences:
        Paper: there is one epsilon for both.

    References:
        Zhuang et al. 2020, "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
        Gradients".
    """
    return from_update_rule(
        adabelief_update,
        AdabeliefState,
        slots={"m": zeros_like, "s": zeros_like},
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(beta_1, beta_2, epsilon, eps_root, nesterov=nesterov),
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )
