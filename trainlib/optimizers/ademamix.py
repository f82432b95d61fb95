"""AdEMAMix: Adam with a second, much slower mean of the gradients.

    m1_t  = beta_1 m1_(t-1) + (1 - beta_1) g
    m2_t  = beta_3 m2_(t-1) + (1 - beta_3) g
    v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
    m_hat = m1_t / (1 - beta_1^t)
    v_hat = v_t / (1 - beta_2^t)
    u     = -eta (m_hat + alpha m2_t) / (sqrt(v_hat + eps_root) + epsilon)

t = 1 at the first update. The bias of the slow mean is left: it fills slowly on purpose. Over a
warm-up of T updates the paper raises alpha and beta_3, here as schedules:

    alpha_t  = min(t / T, 1) alpha
    beta_3,t = min(exp(ln(beta_1) ln(beta_3) / ((1 - t/T) ln(beta_3) + t/T ln(beta_1))), beta_3)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.conventions import conventions
from trainlib.core.tree import leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Schedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.transforms.decay import Mask, with_weight_decay


def ademamix_rule(
    g: Tensor,
    m1: Tensor,
    m2: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    beta_3: Tensor,
    alpha: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """AdEMAMix (Pagliardini, Ablin and Grangier 2024, Algorithm 1)."""
    m1 = beta_1 * m1 + (1 - beta_1) * g
    m2 = beta_3 * m2 + (1 - beta_3) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    m_hat = m1 / (1 - beta_1**t)
    v_hat = v / (1 - beta_2**t)
    u = -learning_rate * (m_hat + alpha * m2) / (tf.sqrt(v_hat + eps_root) + epsilon)
    return u, m1, m2, v


def ademamix_alpha(alpha: float = 5.0, warmup_steps: int = 1) -> Schedule:
    """alpha_t = min(t / T, 1) alpha, for `ademamix`.

    Args:
        alpha: the weight after the warm-up, at least 0.
        warmup_steps: T, at least 1.
    """
    check_number("alpha", alpha, at_least=0)
    check_number("warmup_steps", warmup_steps, at_least=1)

    def schedule(step: Tensor) -> Tensor:
        t = tf.cast(step, tf.float64) + 1
        return tf.minimum(t / warmup_steps, 1) * alpha

    return schedule


def ademamix_beta_3(beta_3: float = 0.9999, warmup_steps: int = 1, beta_1: float = 0.9) -> Schedule:
    """beta_3,t, from beta_1 to beta_3 with a half-life that grows linearly, for `ademamix`.

    Args:
        beta_3: the decay after the warm-up, in (0, 1) and at least beta_1.
        warmup_steps: T, at least 1.
        beta_1: the decay at t = 0, in (0, 1).
    """
    check_number("beta_1", beta_1, above=0, below=1)
    check_number("beta_3", beta_3, at_least=beta_1, below=1)
    check_number("warmup_steps", warmup_steps, at_least=1)
    low, high = math.log(beta_1), math.log(beta_3)

    def schedule(step: Tensor) -> Tensor:
        done = tf.minimum((tf.cast(step, tf.float64) + 1) / warmup_steps, 1)
        return tf.exp(low * high / ((1 - done) * high + done * low))

    return schedule


class AdemamixState(NamedTuple):
    """step: updates made, int64 []. m1, m2: the fast and the slow running mean of g.

    v: running means of g^2. All of these like the parameters.
    """

    step: Tensor
    m1: Tree
    m2: Tree
    v: Tree


@conventions(optax={}, paper={})
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
    """AdEMAMix.

        m1_t  = beta_1 m1_(t-1) + (1 - beta_1) g
        m2_t  = beta_3 m2_(t-1) + (1 - beta_3) g
        v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
        m_hat = m1_t / (1 - beta_1^t)
        v_hat = v_t / (1 - beta_2^t)
        w_t   = w_(t-1) - eta (m_hat + alpha m2_t) / (sqrt(v_hat + eps_root) + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the fast mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        beta_3: decay of the slow mean of gradients: a number in [0, 1), or a schedule such as
            `ademamix_beta_3`.
        alpha: weight of the slow mean: a number of at least 0, or a schedule such as
            `ademamix_alpha`.
        epsilon: added to the root, at least 0.
        weight_decay: at least 0.
        eps_root: added inside the root, at least 0.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" and "paper" are the same.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody. The paper warms alpha and beta_3 up over a number of updates that only
    the caller knows: pass the two schedules.

    Reference: Pagliardini, Ablin and Grangier 2024, "The AdEMAMix Optimizer: Better, Faster,
    Older".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    if not callable(beta_3):
        check_number("beta_3", beta_3, at_least=0, below=1)
    if not callable(alpha):
        check_number("alpha", alpha, at_least=0)

    def init(params: Tree) -> AdemamixState:
        zeros = zeros_like(params)
        return AdemamixState(tf.zeros([], tf.int64), zeros, zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdemamixState]:
        t = state.step + 1
        updates, m1, m2, v = leafwise(
            ademamix_rule,
            grads,
            state.m1,
            state.m2,
            state.v,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            beta_3=rate_at(beta_3, state.step),
            alpha=rate_at(alpha, state.step),
            epsilon=epsilon,
            eps_root=eps_root,
        )
        return updates, AdemamixState(t, m1, m2, v)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )
