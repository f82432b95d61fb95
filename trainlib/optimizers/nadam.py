"""Nadam and NadamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree
from trainlib.optimizers.adam import adam_hyperparameters
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def nadam_update(g: Tensor, m: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply Nadam to one tensor (Dozat 2016, Algorithm 2)."""
    b = hp.mu if hp.mean_decay == "mu" else hp.beta_1
    m = b * m + (1 - b) * g
    v = hp.beta_2 * v + (1 - hp.beta_2) * tf.square(g)
    m_hat = nesterov_mean(g, m, hp.mu, hp.mu_next, hp.P)
    v_hat = v / (1 - hp.beta_2**hp.t)
    return -hp.eta * m_hat / (tf.sqrt(v_hat + hp.eps_root) + hp.epsilon), m, v


def nesterov_mean(g: Tensor, m: Tensor, mu: Tensor, mu_next: Tensor, P: Tensor) -> Tensor:
    """Return the mean of gradients as the next update weights it, corrected for its bias."""
    return mu_next * m / (1 - P * mu_next) + (1 - mu) * g / (1 - P)


def momenta(state: State, hp: Hyperparameters) -> Mapping[str, Tensor]:
    """Return mu_t, mu_(t+1), and P_t, the product of the momenta so far."""
    mu = momentum_at(hp.t, hp)
    return {"mu": mu, "mu_next": momentum_at(hp.t + 1, hp), "P": state.P * mu}


def momentum_at(t: Tensor, hp: Hyperparameters) -> Tensor:
    """Return mu_t."""
    if hp.mu_schedule == "constant":
        return hp.beta_1
    return hp.beta_1 * (1 - 0.96 ** (hp.psi * t) / 2)


class NadamState(NamedTuple):
    """State of `nadam`.

    Attributes:
        step: number of updates made; int64, shape [].
        P: product of the momenta so far; float64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        v: running means of squared gradients; like the parameters, float32 or wider.
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
@checked
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
    """Nadam: Adam with Nesterov's momentum, whose decay rate warms up.

        mu_t  = beta_1 (1 - 0.96^(psi t) / 2) (dozat), beta_1 (constant)
        P_t   = P_(t-1) mu_t,  P_0 = 1
        m_t   = b m_(t-1) + (1 - b) g,  b = beta_1 or mu_t
        v_t   = beta_2 v_(t-1) + (1 - beta_2) g^2
        m_hat = mu_(t+1) m_t / (1 - P_t mu_(t+1)) + (1 - mu_t) g / (1 - P_t)
        v_hat = v_t / (1 - beta_2^t)
        w_t   = w_(t-1) - eta m_hat / (sqrt(v_hat + eps_root) + epsilon)

    with t = 1 at the first update.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001
            (keras, optax), 0.002 (torch, paper).
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.9.
        beta_2: decay of the mean of squares, in [0, 1). Default: 0.999.
        epsilon: added to the root, at least 0. Default: 1e-7 (keras), 1e-8 (torch, optax, paper).
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        eps_root: added inside the root, at least 0. Default: 0.
        mu_schedule: schedule of mu_t: "dozat" or "constant". Default: "constant" (optax), "dozat"
            (the others).
        psi: how fast the momentum warms up, at least 0; ignored by "constant". Default: 1 (keras),
            0.004 (the others).
        mean_decay: b: "beta_1" or "mu". Default: "mu" (paper), "beta_1" (the others).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "l2" (torch), "add" (optax, paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with a `NadamState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.nadam(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8202 -1.8182]

    Differences:
        Keras: in float64, 0.96 is rounded to float32 in mu_t but not in P_t, a difference of 1e-8.
        Paper: v_hat is beta_2 times this one, so that eta and epsilon are sqrt(beta_2) times these.

    References:
        Dozat 2016, "Incorporating Nesterov Momentum into Adam".
    """
    return from_update_rule(
        nadam_update,
        NadamState,
        slots={"P": 1.0, "m": zeros_like, "v": zeros_like},
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(beta_1, beta_2, epsilon, eps_root)
        | {
            "psi": psi,
            "mu_schedule": mu_schedule,
            "mean_decay": mean_decay,
        },
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
        prepare=momenta,
    )._replace(by_row=True)


@conventions(optax=_OPTAX | {"weight_decay": 0.0001})
@checked
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
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        weight_decay: coefficient of the weight decay, relative to eta, at least 0. Default: 1e-4.
        beta_1, beta_2, epsilon, eps_root, mu_schedule, psi, mean_decay: as in `nadam`.
        decay_form: "pre" and "add" are the same up to rounding; "add_abs" leaves eta out. Default:
            "add".
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax", the only library that has it by this name: `nadam` in that convention.
            Default: "optax".

    Returns:
        An `Optimizer` with a `NadamState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.nadamw(0.1, weight_decay=0.5)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.6535 -1.5532]

    Differences:
        PyTorch: NAdam with decoupled_weight_decay is `nadam` in the convention "torch" with
            decay_form="pre".

    References:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
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
