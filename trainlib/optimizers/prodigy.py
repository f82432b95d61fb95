"""Prodigy."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import scalar, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.base import Hyperparameters, checked, copies, map_update_rule
from trainlib.transforms.decay import Mask, add_decayed_weights


def moments_leaf(
    g: Tensor, m: Tensor, v: Tensor, s: Tensor, w_0: Tensor, hp: Hyperparameters
) -> tuple[Any, ...]:
    """Update the sums of one tensor (Mishchenko and Defazio 2024, Algorithm 4).

    It returns <g, w_0 - w> in place of an update.
    """
    m = hp.beta_1 * m + (1 - hp.beta_1) * hp.d * g
    v = hp.beta_2 * v + (1 - hp.beta_2) * tf.square(hp.d * g)
    s = hp.beta_3 * s + (hp.d if hp.safeguard_warmup else hp.alpha) * hp.d * g / hp.d_0
    return tf.reduce_sum(g * (w_0 - hp.w)), m, v, s, w_0


def direction_leaf(g: Tensor, m: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Return the direction of the step, without weight decay."""
    return m / (tf.sqrt(v) + hp.d * hp.epsilon), m, v


def step_leaf(direction: Tensor, hp: Hyperparameters) -> tuple[Tensor]:
    """Return the step along a direction."""
    return (-hp.alpha * direction,)


class ProdigyState(NamedTuple):
    """State of `prodigy`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients times d; like the parameters, float32 or wider.
        v: running means of squared gradients times d^2; like the parameters, float32 or wider.
        s: weighted sums of gradients; like the parameters, float32 or wider.
        w_0: the initial parameters, float32 or wider.
        r: weighted sum of <g, w_0 - w>; float64, shape [].
        d: estimated distance; float64, shape [].
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
@checked
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
    """Prodigy: Adam that estimates its learning rate from the distance to the start.

        folded    alpha_t = eta d_t sqrt(1 - beta_2^t) / (1 - beta_1^t)
        none      alpha_t = eta d_t

        r_t     = beta_3 r_(t-1) + alpha_t d_t <g, w_0 - w_(t-1)> / d_0
        s_t     = beta_3 s_(t-1) + alpha_t d_t g / d_0    (safeguard_warmup: d_t d_t g / d_0)
        m_t     = beta_1 m_(t-1) + (1 - beta_1) d_t g
        v_t     = beta_2 v_(t-1) + (1 - beta_2) d_t^2 g^2
        d_(t+1) = max(d_t, d_coef r_t / (sum of |s_t|))
        w_t     = w_(t-1) - alpha_t (m_t / (sqrt(v_t) + d epsilon) + weight_decay w_(t-1))

    with d_1 = d_0, and d = d_(t+1) or d_t. w_0 are the initial parameters; r and d are computed
    over all parameters together.

    Args:
        learning_rate: eta, a factor of the estimate, at least 0: a number, a scalar tensor or a
            schedule. Leave it at 1, or let a schedule warm it up and decay it to 0. Default: 1.
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.9.
        beta_2: decay of the mean of squares, in [0, 1). Default: 0.999.
        epsilon: added to the root, times d, above 0. Default: 1e-8.
        beta_3: decay of r and s, in [0, 1). Default: None, which is sqrt(beta_2).
        d_0: the initial estimate of the distance, a small number above 0. Default: 1e-6.
        d_coef: factor of the estimates after it, above 0. Default: 1.
        weight_decay: coefficient of the weight decay, relative to alpha_t, at least 0. Default: 0.
        safeguard_warmup: whether to leave eta out of s, for schedules that start near 0. Default:
            False.
        bias_form: the form of alpha_t: "folded" or "none". Default: "folded" (optax), "none"
            (paper).
        epsilon_times: d, the factor of epsilon: "d_next" or "d". Default: "d_next" (optax), "d"
            (paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with a `ProdigyState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.prodigy(d_0=0.1)
        >>> state = tx.init(w)
        >>> for _ in range(5):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4), np.round(state.d, 4))
        [ 0.4896 -1.4845] 0.1654

    Differences:
        Optax: while all gradients are 0 the estimate becomes NaN; here it stays.
        Paper: r and s have factors 1 - beta_3, which cancel and are left out here.

    References:
        Mishchenko and Defazio 2024, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner".
    """
    beta_3 = beta_2**0.5 if beta_3 is None else beta_3
    decay = add_decayed_weights(weight_decay, decay_mask)
    numbers = {"beta_1": beta_1, "beta_2": beta_2, "beta_3": beta_3, "d_0": d_0}

    def init(params: Tree) -> ProdigyState:
        zero, zeros = tf.zeros([], tf.float64), zeros_like(params)
        d = scalar(d_0, zero)
        return ProdigyState(tf.zeros([], tf.int64), zeros, zeros, zeros, copies(params), zero, d)

    def rate(state: State) -> Tensor:
        """Return alpha_t."""
        alpha = scalar(rate_at(learning_rate, state.step), state.d) * state.d
        if bias_form == "none":
            return alpha
        t = tf.cast(state.step + 1, state.d.dtype)
        b_1, b_2 = scalar(beta_1, state.d), scalar(beta_2, state.d)
        return alpha * tf.sqrt(1 - b_2**t) / (1 - b_1**t)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, ProdigyState]:
        d, alpha = state.d, rate(state)
        dots, m, v, s, w_0 = map_update_rule(
            moments_leaf,
            grads,
            state.m,
            state.v,
            state.s,
            state.w_0,
            params=params,
            scalars={**numbers, "d": d, "alpha": alpha},
            constants={"safeguard_warmup": safeguard_warmup},
        )
        r = scalar(beta_3, d) * state.r + alpha * d * float64_sum(dots) / scalar(d_0, d)
        norm_1 = float64_sum(tf.nest.map_structure(lambda x: tf.reduce_sum(tf.abs(x)), s))
        estimate = scalar(d_coef, d) * tf.math.divide_no_nan(r, norm_1)
        d_next = tf.maximum(d, estimate)
        scalars = {"d": d_next if epsilon_times == "d_next" else d, "epsilon": epsilon}
        directions, _, _ = map_update_rule(
            direction_leaf, grads, m, v, params=params, scalars=scalars
        )
        directions, _ = decay.update(directions, (), params)
        (updates,) = map_update_rule(step_leaf, directions, params=params, scalars={"alpha": alpha})
        return updates, ProdigyState(state.step + 1, m, v, s, w_0, r, d_next)

    return Optimizer(init, update)


def float64_sum(tree: Tree) -> Tensor:
    """Return the sum of scalars in float64; None counts as 0."""
    leaves = [tf.cast(x, tf.float64) for x in tf.nest.flatten(tree) if x is not None]
    return tf.add_n(leaves) if leaves else tf.zeros([], tf.float64)
