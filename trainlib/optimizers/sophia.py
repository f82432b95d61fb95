"""Sophia: momentum over an estimate of the Hessian's diagonal, clipped element by element.

    m_t = beta_1 m_(t-1) + (1 - beta_1) g
    m_hat = m_t / (1 - beta_1^t)                                of bias_form "none"  m_hat = m_t
    h_t = beta_2 h_(t-1) + (1 - beta_2) H_t      at updates 1, 1 + k, 1 + 2k, ...; else h_(t-1)
    u   = -eta clip(m_hat / max(gamma h, epsilon), -rho, rho)

H_t: an estimate of the Hessian's diagonal at the parameters, which the caller gives; k:
update_interval; h: h_t, or h_(t-1); rho: clip_threshold. t = 1 at the first update.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import check_same_structure, leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.transforms.decay import Mask, with_weight_decay

BIAS_FORMS = ("corrected", "none")


def sophia_rule(
    g: Tensor,
    m: Tensor,
    h: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    gamma: Tensor,
    epsilon: Tensor,
    clip_threshold: Tensor | None = None,
    bias_form: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sophia's step (Liu et al. 2023, Algorithm 3)."""
    m = beta_1 * m + (1 - beta_1) * g
    m_hat = m / (1 - beta_1**t) if bias_form == "corrected" else m
    u = m_hat / tf.maximum(gamma * h, epsilon)
    if clip_threshold is not None:
        u = tf.clip_by_value(u, -clip_threshold, clip_threshold)
    return -learning_rate * u, m, h


def hessian_rule(H: Tensor, h: Tensor, *, beta_2: Tensor) -> tuple[Tensor, Tensor]:
    """The running mean of estimates."""
    h = beta_2 * h + (1 - beta_2) * H
    return h, h


class SophiaState(NamedTuple):
    """step: updates made, int64 []. m: running mean of gradients; h: of estimates of the Hessian's
    diagonal; like the parameters.
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
    """Sophia: a clipped step of Newton's along the diagonal.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        h_t = beta_2 h_(t-1) + (1 - beta_2) hessian_fn(w_(t-1), t - 1)   every update_interval
        u   = clip(m_t / (1 - beta_1^t) / max(gamma h, epsilon), -clip_threshold, clip_threshold)
        w_t = w_(t-1) - eta (u + weight_decay w_(t-1))

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        hessian_fn: `(params, step) -> H`, an estimate of the Hessian's diagonal like the
            parameters, with the int64 number of updates before; a pure function in TensorFlow,
            called at one update of update_interval. None where a parameter has no estimate.
        beta_1: decay of the mean of gradients, in [0, 1). 0.965 (optax), 0.96 (paper).
        beta_2: decay of the mean of estimates, in [0, 1).
        epsilon: the least denominator, above 0. 1e-8 (optax), 1e-12 (paper).
        gamma: the estimate's share in the denominator, above 0.
        clip_threshold: the largest step of an element before eta, above 0; None clips nothing.
        update_interval: at least 1.
        weight_decay: at least 0; a share of eta. 1e-4 (optax), 0.2 (paper).
        bias_form: "corrected" or "none": whether the bias of m_t is corrected.
        hessian_first: whether u has the h_t of its own update, not that of the one before.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" (corrected, h of the update before) or "paper" (neither).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type; an estimate
            of another structure than the parameters.

    Differs from: Optax, which draws the estimates itself (Hutchinson's) from a loss given to each
    update.

    Reference: Liu et al. 2023, "Sophia: A Scalable Stochastic Second-order Optimizer for Language
    Model Pre-training".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon)
    check_number("gamma", gamma, above=0)
    check_number("update_interval", update_interval, at_least=1)
    check_choice("bias_form", bias_form, BIAS_FORMS)
    if not callable(hessian_fn):
        raise TypeError(f"hessian_fn must be a function (params, step) -> H, got {hessian_fn!r}")
    if clip_threshold is not None:
        check_number("clip_threshold", clip_threshold, above=0)
    clip = {} if clip_threshold is None else {"clip_threshold": clip_threshold}
    rule = functools.partial(sophia_rule, bias_form=bias_form)

    def init(params: Tree) -> SophiaState:
        zeros = zeros_like(params)
        return SophiaState(tf.zeros([], tf.int64), zeros, zeros)

    def estimated(state: State, params: Tree) -> Tree:
        """h_t."""

        def renewed() -> Tree:
            H = hessian_fn(params, state.step)
            check_same_structure("params", params, "the estimate of hessian_fn", H)
            return leafwise(hessian_rule, H, state.h, beta_2=beta_2)[1]

        # A branch, not a choice between two results: an estimate costs more than a gradient.
        return tf.cond(state.step % update_interval == 0, renewed, lambda: state.h)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, SophiaState]:
        t = state.step + 1
        h = estimated(state, params)
        updates, m, _ = leafwise(
            rule,
            grads,
            state.m,
            h if hessian_first else state.h,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            gamma=gamma,
            epsilon=epsilon,
            **clip,
        )
        return updates, SophiaState(t, m, _where_graded(grads, h, state.h))

    # "pre" would move the point where the Hessian is estimated; for the rest they are the same.
    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, "add", decay_mask
    )


def _where_graded(grads: Tree, new: Tree, old: Tree) -> Tree:
    """The new slots; the old ones where the gradient is None."""
    return tf.nest.map_structure(lambda g, a, b: b if g is None else a, grads, new, old)
