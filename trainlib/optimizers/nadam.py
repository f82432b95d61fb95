"""Nadam and NadamW: Adam with Nesterov's momentum, whose decay warms up.

    dozat       mu_t = beta_1 (1 - 0.96^(psi t) / 2)
    constant    mu_t = beta_1

    P_t   = mu_1 mu_2 ... mu_t
    m_t   = b m_(t-1) + (1 - b) g,   b = beta_1 or mu_t
    v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
    m_hat = mu_(t+1) m_t / (1 - P_t mu_(t+1)) + (1 - mu_t) g / (1 - P_t)
    v_hat = v_t / (1 - beta_2^t)
    u     = -eta m_hat / (sqrt(v_hat + eps_root) + epsilon)

t = 1 at the first update. NadamW decays the weights beside u.
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
from trainlib.transforms.decay import Mask, with_weight_decay

MU_SCHEDULES = ("dozat", "constant")
MEAN_DECAYS = ("beta_1", "mu")


def momentum_at(t: Tensor, beta_1: Tensor, psi: Tensor, mu_schedule: str) -> Tensor:
    """The momentum of update t: mu_t."""
    if mu_schedule == "constant":
        return beta_1
    return beta_1 * (1 - 0.96 ** (psi * t) / 2)


def nesterov_mean(g: Tensor, m: Tensor, mu: Tensor, mu_next: Tensor, P: Tensor) -> Tensor:
    """The mean of gradients as the next update will weigh it, its bias corrected (Dozat 2016)."""
    return mu_next * m / (1 - P * mu_next) + (1 - mu) * g / (1 - P)


def nadam_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    mu: Tensor,
    mu_next: Tensor,
    P: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    mean_decay: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Nadam (Dozat 2016, Algorithm 2); mu is mu_t, mu_next mu_(t+1), P the product P_t."""
    b = mu if mean_decay == "mu" else beta_1
    m = b * m + (1 - b) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    m_hat = nesterov_mean(g, m, mu, mu_next, P)
    v_hat = v / (1 - beta_2**t)
    return -learning_rate * m_hat / (tf.sqrt(v_hat + eps_root) + epsilon), m, v


class NadamState(NamedTuple):
    """step: updates made, int64 []. P: the product of the momenta so far, float64 [].

    m, v: running means of g and g^2, like the parameters.
    """

    step: Tensor
    P: Tensor
    m: Tree
    v: Tree


_KERAS = {
    "learning_rate": 0.001,
    "epsilon": 1e-7,
    "eps_root": 0.0,
    "mu_schedule": "dozat",
    "psi": 1.0,
    "mean_decay": "beta_1",
    "decay_form": "pre",
}
_TORCH = _KERAS | {"learning_rate": 0.002, "epsilon": 1e-8, "psi": 0.004, "decay_form": "l2"}
_OPTAX = _TORCH | {"learning_rate": 0.001, "mu_schedule": "constant", "decay_form": "add"}
_PAPER = _TORCH | {"mean_decay": "mu", "decay_form": "add"}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER)
def nadam(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    eps_root: float = BY_CONVENTION,
    mu_schedule: str = BY_CONVENTION,
    psi: float = BY_CONVENTION,
    mean_decay: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Nadam.

        mu_t  = beta_1 (1 - 0.96^(psi t) / 2) (dozat), beta_1 (constant)
        P_t   = P_(t-1) mu_t,  P_0 = 1
        m_t   = b m_(t-1) + (1 - b) g
        v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
        m_hat = mu_(t+1) m_t / (1 - P_t mu_(t+1)) + (1 - mu_t) g / (1 - P_t)
        v_hat = v_t / (1 - beta_2^t)
        w_t   = w_(t-1) - eta m_hat / (sqrt(v_hat + eps_root) + epsilon)

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: added to the root, at least 0.
        weight_decay: at least 0.
        eps_root: added inside the root, at least 0.
        mu_schedule: "dozat" or "constant".
        psi: how fast the momentum warms up, at least 0; not read by "constant".
        mean_decay: b, "beta_1" or "mu" (mu_t).
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (dozat, psi 1, epsilon 1e-7), "torch" (dozat, psi 0.004, epsilon 1e-8,
            eta 0.002, decay l2), "optax" (constant, epsilon 1e-8), "paper" (as torch, with b = mu).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: Keras in float64, which rounds 0.96 to float32 in mu_t but not in P_t (1e-8);
    the paper, whose v_hat is beta_2 times ours: its eta and epsilon are sqrt(beta_2) times ours.

    Reference: Dozat 2016, "Incorporating Nesterov Momentum into Adam".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    check_number("psi", psi, at_least=0)
    check_choice("mu_schedule", mu_schedule, MU_SCHEDULES)
    check_choice("mean_decay", mean_decay, MEAN_DECAYS)
    rule = functools.partial(nadam_rule, mean_decay=mean_decay)

    def init(params: Tree) -> NadamState:
        zeros = zeros_like(params)
        return NadamState(tf.zeros([], tf.int64), tf.ones([], tf.float64), zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, NadamState]:
        t = state.step + 1
        wide = tf.cast(t, tf.float64)
        b, pace = scalar(beta_1, wide), scalar(psi, wide)
        mu = momentum_at(wide, b, pace, mu_schedule)
        mu_next = momentum_at(wide + 1, b, pace, mu_schedule)
        P = state.P * mu
        updates, m, v = leafwise(
            rule,
            grads,
            state.m,
            state.v,
            t=t,
            mu=mu,
            mu_next=mu_next,
            P=P,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            eps_root=eps_root,
        )
        return updates, NadamState(t, P, m, v)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )


@conventions(optax=_OPTAX | {"weight_decay": 0.0001})
def nadamw(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    weight_decay: float = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    eps_root: float = BY_CONVENTION,
    mu_schedule: str = BY_CONVENTION,
    psi: float = BY_CONVENTION,
    mean_decay: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Nadam with decoupled weight decay.

        w_t = w_(t-1) + u - eta weight_decay w_(t-1)

    with u the update of `nadam`.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        weight_decay: at least 0; a share of eta.
        beta_1, beta_2, epsilon, eps_root, mu_schedule, psi, mean_decay: as in `nadam`.
        decay_form: "pre" and "add" are the same up to rounding; "add_abs" leaves eta out.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "optax", the one library that has it by this name: `nadam` in that convention.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody. PyTorch's NAdam with decoupled_weight_decay is `nadam` in the
    convention "torch" with decay_form="pre".

    Reference: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    return nadam(
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        weight_decay=weight_decay,
        eps_root=eps_root,
        mu_schedule=mu_schedule,
        psi=psi,
        mean_decay=mean_decay,
        decay_form=decay_form,
        decay_mask=decay_mask,
    )
