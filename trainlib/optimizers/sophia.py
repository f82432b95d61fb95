"""Sophia."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import check_same_structure, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.base import Hyperparameters, checked, map_update_rule
from trainlib.transforms.decay import Mask, with_weight_decay


def sophia_update(g: Tensor, m: Tensor, h: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply Sophia's step to one tensor (Liu et al. 2023, Algorithm 3)."""
    m = hp.beta_1 * m + (1 - hp.beta_1) * g
    m_hat = m / (1 - hp.beta_1**hp.t) if hp.bias_form == "corrected" else m
    u = m_hat / tf.maximum(hp.gamma * h, hp.epsilon)
    if hp.clip_threshold is not None:
        u = tf.clip_by_value(u, -hp.clip_threshold, hp.clip_threshold)
    return -hp.eta * u, m, h


def hessian_leaf(H: Tensor, h: Tensor, hp: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Add an estimate of the Hessian's diagonal to its running mean."""
    h = hp.beta_2 * h + (1 - hp.beta_2) * H
    return h, h


class SophiaState(NamedTuple):
    """State of `sophia`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        h: running means of estimates of the Hessian's diagonal; like the parameters.
    """

    step: Tensor
    m: Tree
    h: Tree


_OPTAX = {
    "beta_1": 0.965,
    "epsilon": 1e-8,
    "weight_decay": 1e-4,
    "bias_form": "corrected",
    "hessian_first": False,
}
_PAPER = {
    "beta_1": 0.96,
    "epsilon": 1e-12,
    "weight_decay": 0.2,
    "bias_form": "none",
    "hessian_first": True,
}


@conventions(optax=_OPTAX, paper=_PAPER)
@checked
def sophia(
    learning_rate: ScalarOrSchedule,
    hessian_fn: Callable[[Tree, Tensor], Tree],
    beta_1: float = BY_CONVENTION,
    beta_2: float = 0.99,
    epsilon: float = BY_CONVENTION,
    *,
    gamma: float = 0.01,
    clip_threshold: float | None = 1.0,
    update_interval: int = 10,
    weight_decay: float = BY_CONVENTION,
    bias_form: str = BY_CONVENTION,
    hessian_first: bool = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Sophia: Newton's step along the diagonal of the Hessian, clipped element by element.

        m_t   = beta_1 m_(t-1) + (1 - beta_1) g
        m_hat = m_t / (1 - beta_1^t) (corrected), m_t (none)
        h_t   = beta_2 h_(t-1) + (1 - beta_2) H_t    at t = 1, 1 + k, 1 + 2k, ...
                h_(t-1)                              at all other updates
        u     = clip(m_hat / max(gamma h, epsilon), -clip_threshold, clip_threshold)
        w_t   = w_(t-1) - eta (u + weight_decay w_(t-1))

    with H_t = hessian_fn(w_(t-1), t - 1), k the update_interval, and h = h_t (hessian_first) or
    h_(t-1).

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule.
        hessian_fn: `(params, step) -> H`, an estimate of the Hessian's diagonal in the structure
            of the parameters, None if a parameter has no estimate. `step` is the int64 number
            of updates made. A pure function in TensorFlow, called once every update_interval.
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.965 (optax), 0.96 (paper).
        beta_2: decay of the mean of estimates, in [0, 1). Default: 0.99.
        epsilon: the smallest denominator, above 0. Default: 1e-8 (optax), 1e-12 (paper).
        gamma: factor of the estimate in the denominator, above 0. Default: 0.01.
        clip_threshold: the largest absolute value of u, above 0; None for no clipping. Default: 1.
        update_interval: updates between two estimates, at least 1. Default: 10.
        weight_decay: coefficient of the weight decay, relative to eta, at least 0. Default: 1e-4
            (optax), 0.2 (paper).
        bias_form: whether the bias of m_t is corrected: "corrected" or "none". Default: "corrected"
            (optax), "none" (paper).
        hessian_first: whether u uses the h_t of the same update. Default: False (optax), True
            (paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with a `SophiaState`.

    Raises:
        ValueError: a hyperparameter out of its range; an estimate whose structure is not that of
            the parameters.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])  # of the loss w_1^2 + 4 w_2^2
        >>> tx = tl.sophia(0.1, lambda w, step: tf.constant([2.0, 8.0]), hessian_first=True)
        >>> updates, state = tx.update(w * [2.0, 8.0], tx.init(w), w)
        >>> print(np.round(tl.apply_updates(w, updates), 4))
        [ 0.9 -1.9]

    Differences:
        Optax: the estimates (Hutchinson's) are drawn from a loss that is given to each update.

    References:
        Liu et al. 2023, "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model
        Pre-training".
    """
    if not callable(hessian_fn):
        raise TypeError(f"hessian_fn must be a function (params, step) -> H, got {hessian_fn!r}")
    scalars: dict[str, Any] = {"beta_1": beta_1, "gamma": gamma, "epsilon": epsilon}
    constants: dict[str, Any] = {"bias_form": bias_form}
    if clip_threshold is None:
        constants["clip_threshold"] = None
    else:
        scalars["clip_threshold"] = clip_threshold

    def init(params: Tree) -> SophiaState:
        zeros = zeros_like(params)
        return SophiaState(tf.zeros([], tf.int64), zeros, zeros)

    def estimate(state: State, params: Tree) -> Tree:
        """h_t."""

        def updated() -> Tree:
            H = hessian_fn(params, state.step)
            check_same_structure("params", params, "the estimate of hessian_fn", H)
            return map_update_rule(
                hessian_leaf, H, state.h, params=params, scalars={"beta_2": beta_2}
            )[1]

        # A branch, not a choice between two results: an estimate costs more than a gradient.
        return tf.cond(state.step % update_interval == 0, updated, lambda: state.h)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, SophiaState]:
        t = state.step + 1
        h = estimate(state, params)
        updates, m, _ = map_update_rule(
            sophia_update,
            grads,
            state.m,
            h if hessian_first else state.h,
            params=params,
            scalars={**scalars, "t": t, "eta": rate_at(learning_rate, state.step)},
            constants=constants,
        )
        return updates, SophiaState(t, m, _where_graded(grads, h, state.h))

    # "pre" would move the point where the Hessian is estimated; otherwise the forms agree.
    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, "add", decay_mask
    )


def _where_graded(grads: Tree, new: Tree, old: Tree) -> Tree:
    """Return the new slots; the old ones where the gradient is None."""
    return tf.nest.map_structure(lambda g, a, b: b if g is None else a, grads, new, old)
