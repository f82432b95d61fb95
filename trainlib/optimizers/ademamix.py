"""AdEMAMix and the schedules of its warm-up."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.conventions import conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Schedule, Tensor, Tree
from trainlib.optimizers.adam import adam_hyperparameters
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def ademamix_update(
    g: Tensor, m1: Tensor, m2: Tensor, v: Tensor, hp: Hyperparameters
) -> tuple[Any, ...]:
    """Apply AdEMAMix to one tensor (Pagliardini, Ablin and Grangier 2024, Algorithm 1)."""
    m1 = hp.beta_1 * m1 + (1 - hp.beta_1) * g
    m2 = hp.beta_3 * m2 + (1 - hp.beta_3) * g
    v = hp.beta_2 * v + (1 - hp.beta_2) * tf.square(g)
    m_hat = m1 / (1 - hp.beta_1**hp.t)
    v_hat = v / (1 - hp.beta_2**hp.t)
    u = -hp.eta * (m_hat + hp.alpha * m2) / (tf.sqrt(v_hat + hp.eps_root) + hp.epsilon)
    return u, m1, m2, v


class AdemamixState(NamedTuple):
    """State of `ademamix`.

    Attributes:
        step: number of updates made; int64, shape [].
        m1: fast running means of gradients; like the parameters, float32 or wider.
        m2: slow running means of gradients; like the parameters, float32 or wider.
        v: running means of squared gradients; like the parameters, float32 or wider.
    """

    step: Tensor
    m1: Tree
    m2: Tree
    v: Tree


@conventions(optax={}, paper={})
@checked
def ademamix(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    beta_3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 5.0,
    epsilon: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    decay_form: str = "add",
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """AdEMAMix: Adam with a second, much slower mean of the gradients.

        m1_t  = beta_1 m1_(t-1) + (1 - beta_1) g
        m2_t  = beta_3 m2_(t-1) + (1 - beta_3) g
        v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
        m_hat = m1_t / (1 - beta_1^t)
        v_hat = v_t / (1 - beta_2^t)
        w_t   = w_(t-1) - eta (m_hat + alpha m2_t) / (sqrt(v_hat + eps_root) + epsilon)

    with t = 1 at the first update. The bias of the slow mean is not corrected.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        beta_1: decay of the fast mean of gradients, in [0, 1). Default: 0.9.
        beta_2: decay of the mean of squares, in [0, 1). Default: 0.999.
        beta_3: decay of the slow mean of gradients: a number in [0, 1), or a schedule such as
            `ademamix_beta_3`. Default: 0.9999.
        alpha: weight of the slow mean: a number of at least 0, or a schedule such as
            `ademamix_alpha`. Default: 5.
        epsilon: added to the root, at least 0. Default: 1e-8.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        eps_root: added inside the root, at least 0. Default: 0.
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "add".
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax" or "paper", which are the same. Default: "optax".

    Returns:
        An `Optimizer` with an `AdemamixState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.ademamix(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8003 -1.8   ]

    Differences:
        Paper: alpha and beta_3 are warmed up over a number of updates that only the caller knows;
            here, pass two schedules.

    References:
        Pagliardini, Ablin and Grangier 2024, "The AdEMAMix Optimizer: Better, Faster, Older".
    """
    return from_update_rule(
        ademamix_update,
        AdemamixState,
        slots={"m1": zeros_like, "m2": zeros_like, "v": zeros_like},
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(
            beta_1, beta_2, epsilon, eps_root, beta_3=beta_3, alpha=alpha
        ),
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )


def ademamix_alpha(alpha: float = 5.0, warmup_steps: int = 1) -> Schedule:
    """Return a schedule of alpha for `ademamix` that rises linearly over the warm-up.

        alpha_t = min(t / T, 1) alpha

    with t = 1 at the first update.

    Args:
        alpha: the weight after the warm-up, at least 0. Default: 5.
        warmup_steps: T, the length of the warm-up in updates, at least 1. Default: 1.

    Returns:
        A function from the number of updates made so far to alpha, in float64.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Example:
        >>> alpha = tl.ademamix_alpha(8.0, warmup_steps=4)
        >>> [float(alpha(tf.constant(step))) for step in (0, 1, 10)]
        [2.0, 4.0, 8.0]
    """
    check_number("alpha", alpha, at_least=0)
    check_number("warmup_steps", warmup_steps, at_least=1)

    def schedule(step: Tensor) -> Tensor:
        t = tf.cast(step, tf.float64) + 1
        return tf.minimum(t / warmup_steps, 1) * alpha

    return schedule


def ademamix_beta_3(beta_3: float = 0.9999, warmup_steps: int = 1, beta_1: float = 0.9) -> Schedule:
    """Return a schedule of beta_3 for `ademamix` whose half-life grows linearly over the warm-up.

        beta_3,t = min(exp(ln(beta_1) ln(beta_3) / ((1 - t/T) ln(beta_3) + t/T ln(beta_1))), beta_3)

    with t = 1 at the first update.

    Args:
        beta_3: the decay after the warm-up, in (0, 1) and at least beta_1. Default: 0.9999.
        warmup_steps: T, the length of the warm-up in updates, at least 1. Default: 1.
        beta_1: the decay at t = 0, in (0, 1). Default: 0.9.

    Returns:
        A function from the number of updates made so far to beta_3, in float64.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Example:
        >>> beta_3 = tl.ademamix_beta_3(0.99, warmup_steps=4)
        >>> [round(float(beta_3(tf.constant(step))), 4) for step in (0, 1, 10)]
        [0.9692, 0.9818, 0.99]
    """
    check_number("beta_1", beta_1, above=0, below=1)
    check_number("beta_3", beta_3, at_least=beta_1, below=1)
    check_number("warmup_steps", warmup_steps, at_least=1)
    low, high = math.log(beta_1), math.log(beta_3)

    def schedule(step: Tensor) -> Tensor:
        done = tf.minimum((tf.cast(step, tf.float64) + 1) / warmup_steps, 1)
        return tf.exp(low * high / ((1 - done) * high + done * low))

    return schedule
