"""Prodigy: Adam that estimates its own learning rate, from the distance to the start.

    folded   alpha_t = eta d_t sqrt(1 - beta_2^t) / (1 - beta_1^t)
    none     alpha_t = eta d_t
    r_t = beta_3 r_(t-1) + alpha_t d_t <g, w_0 - w> / d_0
    s_t = beta_3 s_(t-1) + alpha_t d_t g / d_0          of safeguard_warmup  + d_t d_t g / d_0
    m_t = beta_1 m_(t-1) + (1 - beta_1) d_t g
    v_t = beta_2 v_(t-1) + (1 - beta_2) d_t^2 g^2
    d_(t+1) = max(d_t, d_coef r_t / (sum of |s_t|))
    p = m_t / (sqrt(v_t) + d epsilon) + lambda w,       d = d_(t+1) or d_t
    u = -alpha_t p

w_0: the parameters at the start; r, s and d are of all the parameters together, d_1 = d_0.
lambda: weight_decay. t = 1 at the first update.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, scalar, widen, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.transforms.decay import Mask, add_decayed_weights

BIAS_FORMS = ("folded", "none")
EPSILON_TIMES = ("d_next", "d")


def moments_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    s: Tensor,
    w_0: Tensor,
    *,
    w: Tensor,
    d: Tensor,
    d_0: Tensor,
    alpha: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    beta_3: Tensor,
    safeguard_warmup: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The sums of Prodigy (Mishchenko and Defazio 2024, Algorithm 4); first <g, w_0 - w>."""
    m = beta_1 * m + (1 - beta_1) * d * g
    v = beta_2 * v + (1 - beta_2) * tf.square(d * g)
    s = beta_3 * s + (d if safeguard_warmup else alpha) * d * g / d_0
    return tf.reduce_sum(g * (w_0 - w)), m, v, s, w_0


def direction_rule(
    g: Tensor, m: Tensor, v: Tensor, *, d: Tensor, epsilon: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """p, without its decay."""
    return m / (tf.sqrt(v) + d * epsilon), m, v


def step_rule(p: Tensor, *, alpha: Tensor) -> tuple[Tensor]:
    """u = -alpha p."""
    return (-alpha * p,)


class ProdigyState(NamedTuple):
    """step: updates made, int64 []. m, v: running means; s: weighted sum of gradients; w_0: the
    parameters at the start; like the parameters.

    r: weighted sum of <g, w_0 - w>, d: the estimated distance, float64 [].
    """

    step: Tensor
    m: Tree
    v: Tree
    s: Tree
    w_0: Tree
    r: Tensor
    d: Tensor


_OPTAX = {"bias_form": "folded", "epsilon_times": "d_next"}
_PAPER = {"bias_form": "none", "epsilon_times": "d"}


@conventions(optax=_OPTAX, paper=_PAPER)
def prodigy(
    learning_rate: ScalarOrSchedule = 1.0,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    *,
    beta_3: float | None = None,
    d_0: float = 1e-6,
    d_coef: float = 1.0,
    weight_decay: float = 0.0,
    safeguard_warmup: bool = False,
    bias_form: str = BY_CONVENTION,
    epsilon_times: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Prodigy: Adam that finds its learning rate.

        alpha_t = eta d_t sqrt(1 - beta_2^t) / (1 - beta_1^t)
        r_t = beta_3 r_(t-1) + alpha_t d_t <g, w_0 - w_(t-1)> / d_0
        s_t = beta_3 s_(t-1) + alpha_t d_t g / d_0
        m_t = beta_1 m_(t-1) + (1 - beta_1) d_t g
        v_t = beta_2 v_(t-1) + (1 - beta_2) d_t^2 g^2
        d_(t+1) = max(d_t, d_coef r_t / (sum of |s_t|))
        w_t = w_(t-1) - alpha_t (m_t / (sqrt(v_t) + d_(t+1) epsilon) + weight_decay w_(t-1))

    Args:
        learning_rate: eta, a factor of the estimate: a number of at least 0, a scalar tensor, or a
            schedule. 1 is meant; a warm-up and a decay to 0 may be.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: above 0.
        beta_3: decay of r and s, in [0, 1); None is sqrt(beta_2).
        d_0: the first estimate of the distance, a small one, above 0.
        d_coef: factor of the later estimates, above 0.
        weight_decay: at least 0; a share of alpha_t.
        safeguard_warmup: leaves eta out of s, for schedules that begin near 0.
        bias_form: "folded": as above; "none": alpha_t = eta d_t.
        epsilon_times: "d_next" or "d": epsilon's factor, d_(t+1) or d_t.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" (folded, d_next) or "paper" (none, d).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: Optax where all gradients so far are 0: there the estimate becomes NaN, here it
    stays. The paper's factors 1 - beta_3 of r and s cancel, and are not here.

    Reference: Mishchenko and Defazio 2024, "Prodigy: An Expeditiously Adaptive Parameter-Free
    Learner".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon)
    beta_3 = beta_2**0.5 if beta_3 is None else beta_3
    check_number("beta_3", beta_3, at_least=0, below=1)
    check_number("d_0", d_0, above=0)
    check_number("d_coef", d_coef, above=0)
    check_choice("bias_form", bias_form, BIAS_FORMS)
    check_choice("epsilon_times", epsilon_times, EPSILON_TIMES)
    moments = functools.partial(moments_rule, safeguard_warmup=safeguard_warmup)
    penalized = add_decayed_weights(weight_decay, decay_mask)

    def init(params: Tree) -> ProdigyState:
        zero, zeros = tf.zeros([], tf.float64), zeros_like(params)
        w_0 = tf.nest.map_structure(lambda w: tf.identity(widen(w)), params)
        d = scalar(d_0, zero)
        return ProdigyState(tf.zeros([], tf.int64), zeros, zeros, zeros, w_0, zero, d)

    def rate(state: State) -> Tensor:
        """alpha."""
        alpha = scalar(rate_at(learning_rate, state.step), state.d) * state.d
        if bias_form == "none":
            return alpha
        t = tf.cast(state.step + 1, state.d.dtype)
        b_1, b_2 = scalar(beta_1, state.d), scalar(beta_2, state.d)
        return alpha * tf.sqrt(1 - b_2**t) / (1 - b_1**t)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, ProdigyState]:
        d, alpha = state.d, rate(state)
        dots, m, v, s, w_0 = leafwise(
            moments,
            grads,
            state.m,
            state.v,
            state.s,
            state.w_0,
            params=params,
            d=d,
            d_0=d_0,
            alpha=alpha,
            beta_1=beta_1,
            beta_2=beta_2,
            beta_3=beta_3,
        )
        r = scalar(beta_3, d) * state.r + alpha * d * total(dots) / scalar(d_0, d)
        norm_1 = total(tf.nest.map_structure(lambda x: tf.reduce_sum(tf.abs(x)), s))
        estimate = scalar(d_coef, d) * tf.math.divide_no_nan(r, norm_1)
        d_next = tf.maximum(d, estimate)
        times = d_next if epsilon_times == "d_next" else d
        p, _, _ = leafwise(direction_rule, grads, m, v, d=times, epsilon=epsilon)
        p, _ = penalized.update(p, (), params)
        (updates,) = leafwise(step_rule, p, alpha=alpha)
        return updates, ProdigyState(state.step + 1, m, v, s, w_0, r, d_next)

    return Optimizer(init, update)


def total(tree: Tree) -> Tensor:
    """The sum of scalars, float64 []; None counts as 0."""
    return tf.add_n([tf.cast(x, tf.float64) for x in tf.nest.flatten(tree) if x is not None])
