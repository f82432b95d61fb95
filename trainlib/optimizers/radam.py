"""RAdam: Adam whose step is rectified while the mean of squares rests on few gradients.

    m_t     = beta_1 m_(t-1) + (1 - beta_1) g
    v_t     = beta_2 v_(t-1) + (1 - beta_2) g^2
    c_1     = 1 - beta_1^t
    c_2     = 1 - beta_2^t
    rho_inf = 2 / (1 - beta_2) - 1
    rho_t   = rho_inf - 2 t beta_2^t / c_2
    r_t     = sqrt((rho_t - 4) (rho_t - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho_t))

    folded      l_t = sqrt(c_2) / (sqrt(v_t + eps_root) + epsilon)
    corrected   l_t = 1 / (sqrt(v_t / c_2 + eps_root) + epsilon)

    u = -eta r_t m_hat l_t   where rho_t > threshold
    u = -eta m_hat           elsewhere

with m_hat = m_t / c_1, or Nesterov's (see nadam.py). t = 1 at the first update.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, scalar, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import check_adam
from trainlib.optimizers.nadam import nesterov_mean
from trainlib.transforms.decay import Mask, with_weight_decay

BIAS_FORMS = ("folded", "corrected")


def rectification(t: Tensor, beta_2: Tensor, threshold: Tensor) -> Tensor:
    """r_t (Liu et al. 2020, Algorithm 2); 0, which it never is there, where it is not used."""
    rho_inf = 2 / (1 - beta_2) - 1
    rho = rho_inf - 2 * t * beta_2**t / (1 - beta_2**t)
    square = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    used = rho > threshold
    return tf.sqrt(tf.where(used, square, tf.zeros_like(square)))


def radam_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    r: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    bias_form: str,
    nesterov: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """RAdam (Liu et al. 2020, Algorithm 2); r is r_t, or 0 for a step of plain momentum."""
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    c_1 = 1 - beta_1**t
    c_2 = 1 - beta_2**t
    m_hat = nesterov_mean(g, m, beta_1, beta_1, beta_1**t) if nesterov else m / c_1
    if bias_form == "folded":
        l_t = tf.sqrt(c_2) / (tf.sqrt(v + eps_root) + epsilon)
    else:
        l_t = 1 / (tf.sqrt(v / c_2 + eps_root) + epsilon)
    return -learning_rate * tf.where(r > 0, r * m_hat * l_t, m_hat), m, v


class RadamState(NamedTuple):
    """step: updates made, int64 []. m, v: running means of g and g^2, like the parameters."""

    step: Tensor
    m: Tree
    v: Tree


_OPTAX = {
    "epsilon": 1e-8,
    "threshold": 5.0,
    "bias_form": "corrected",
    "decay_form": "add",
}
_TORCH = _OPTAX | {"bias_form": "folded", "decay_form": "l2"}
_PAPER = _OPTAX | {"threshold": 4.0, "bias_form": "folded"}


@conventions(torch=_TORCH, optax=_OPTAX, paper=_PAPER)
def radam(
    learning_rate: ScalarOrSchedule = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    threshold: float = BY_CONVENTION,
    bias_form: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Rectified Adam.

        m_t, v_t, c_1, c_2 as in `adam`
        rho_inf = 2 / (1 - beta_2) - 1
        rho_t   = rho_inf - 2 t beta_2^t / c_2
        r_t     = sqrt((rho_t - 4) (rho_t - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho_t))
        folded      l_t = sqrt(c_2) / (sqrt(v_t + eps_root) + epsilon)
        corrected   l_t = 1 / (sqrt(v_t / c_2 + eps_root) + epsilon)
        w_t = w_(t-1) - eta r_t m_t / c_1 l_t    where rho_t > threshold
        w_t = w_(t-1) - eta m_t / c_1            elsewhere

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1); up to 0.6, no step is rectified.
        epsilon: added to the root, at least 0.
        nesterov: whether Nesterov's mean, with a constant momentum, stands for m_t / c_1: see
            `nadam`.
        weight_decay: at least 0.
        eps_root: added inside the root, at least 0.
        threshold: of rho_t, at least 4.
        bias_form: "folded" or "corrected": where the bias of v_t is corrected.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax" (corrected, threshold 5), "torch" (folded, threshold 5, decay l2),
            "paper" (folded, threshold 4).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: Optax where rho_t is the threshold to the last bit: there it rectifies. The
    paper, which has no epsilon.

    Reference: Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    check_number("threshold", threshold, at_least=4)
    check_choice("bias_form", bias_form, BIAS_FORMS)
    rule = functools.partial(radam_rule, bias_form=bias_form, nesterov=nesterov)

    def init(params: Tree) -> RadamState:
        zeros = zeros_like(params)
        return RadamState(tf.zeros([], tf.int64), zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, RadamState]:
        t = state.step + 1
        # rho_t is a small difference of large numbers: float32 misses it by several percent.
        wide = tf.cast(t, tf.float64)
        r = rectification(wide, scalar(beta_2, wide), scalar(threshold, wide))
        updates, m, v = leafwise(
            rule,
            grads,
            state.m,
            state.v,
            t=t,
            r=r,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            eps_root=eps_root,
        )
        return updates, RadamState(t, m, v)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )
