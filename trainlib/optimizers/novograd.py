"""NovoGrad."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.adam import adam_hyperparameters
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def novograd_update(g: Tensor, m: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply NovoGrad to one tensor (Ginsburg et al. 2019, Algorithm 1)."""
    square = tf.reduce_sum(tf.square(g))
    v = tf.where(hp.t > 1, hp.beta_2 * v + (1 - hp.beta_2) * square, square)
    direction = g / (tf.sqrt(v + hp.eps_root) + hp.epsilon)
    if hp.weight_decay is not None:
        direction += hp.weight_decay * hp.w
    m = hp.beta_1 * m + direction
    return -hp.eta * m, m, v


class NovogradState(NamedTuple):
    """State of `novograd`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: momenta; like the parameters, float32 or wider.
        v: running means of |g|^2; a scalar for each parameter, float32 or wider.
    """

    step: Tensor
    m: Tree
    v: Tree


@conventions(
    optax={"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.25, "epsilon": 1e-6},
    paper={"learning_rate": 0.01, "beta_1": 0.95, "beta_2": 0.98, "epsilon": 1e-8},
)
@checked
def novograd(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_1: float = BY_CONVENTION,
    beta_2: float = BY_CONVENTION,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """NovoGrad: momentum of gradients that are divided by a running mean of their norm.

        v_t = beta_2 v_(t-1) + (1 - beta_2) |g|^2,  v_1 = |g|^2
        m_t = beta_1 m_(t-1) + g / (sqrt(v_t + eps_root) + epsilon) + weight_decay w_(t-1)
        w_t = w_(t-1) - eta m_t

    with m_0 = 0, and |g|^2 the sum of squares of the whole tensor: v_t is a scalar.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001
            (optax), 0.01 (paper).
        beta_1: decay of the momentum, in [0, 1); m_t is a sum, not a mean. Default: 0.9 (optax),
            0.95 (paper).
        beta_2: decay of the mean of squared norms, in [0, 1). Default: 0.25 (optax), 0.98 (paper).
        epsilon: added to the root, at least 0. Default: 1e-6 (optax), 1e-8 (paper).
        weight_decay: coefficient of the weight decay in the momentum, at least 0. Default: 0.
        eps_root: added inside the root, at least 0. Default: 0.
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with a `NovogradState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([3.0, -4.0])
        >>> tx = tl.novograd(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 2.8263 -3.7684]

    Differences:
        Paper: there is no epsilon in the first update.

    References:
        Ginsburg et al. 2019, "Stochastic Gradient Methods with Layer-wise Adaptive Moments for
        Training of Deep Networks".
    """
    return from_update_rule(
        novograd_update,
        NovogradState,
        slots={"m": zeros_like, "v": _scalar_zeros},
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(beta_1, beta_2, epsilon, eps_root),
        weight_decay=WeightDecay(weight_decay, mask=decay_mask),
    )


def _scalar_zeros(params: Tree) -> Tree:
    """Return a 0 for each parameter, in its compute dtype."""
    return tf.nest.map_structure(
        lambda x: None if x is None else tf.zeros([], x.dtype), zeros_like(params)
    )
