"""Adamax and AdamaxW."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def adamax_update(g: Tensor, m: Tensor, u: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply Adamax to one tensor (Kingma and Ba 2015, Algorithm 2); u is the paper's u_t."""
    m = hp.beta_1 * m + (1 - hp.beta_1) * g
    u = tf.maximum(hp.beta_2 * u, tf.abs(g) + hp.epsilon if hp.eps_at == "in_max" else tf.abs(g))
    step = -hp.eta / (1 - hp.beta_1**hp.t) * m
    if hp.eps_at == "none":
        return tf.math.divide_no_nan(step, u), m, u
    return step / (u + hp.epsilon if hp.eps_at == "denominator" else u), m, u


class AdamaxState(NamedTuple):
    """State of `adamax`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        u: decaying maxima of |g|; like the parameters, float32 or wider.
    """

    step: Tensor
    m: Tree
    u: Tree


_KERAS = {
    "learning_rate": 0.001,
    "epsilon": 1e-7,
    "eps_at": "denominator",
    "decay_form": "pre",
}
_TORCH = {"learning_rate": 0.002, "epsilon": 1e-8, "eps_at": "in_max", "decay_form": "l2"}
_OPTAX = _TORCH | {"learning_rate": 0.001, "decay_form": "add"}
_PAPER = {"learning_rate": 0.002, "epsilon": 0.0, "eps_at": "none", "decay_form": "add"}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER)
@checked
def adamax(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    eps_at: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Adamax: Adam with the infinity norm in the place of the root of squares.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        denominator   u_t = max(beta_2 u_(t-1), |g|)
                      w_t = w_(t-1) - eta / (1 - beta_1^t) m_t / (u_t + epsilon)
        in_max        u_t = max(beta_2 u_(t-1), |g| + epsilon)
                      w_t = w_(t-1) - eta / (1 - beta_1^t) m_t / u_t
        none          as in_max with an epsilon of 0, and 0 / 0 = 0

    with t = 1 at the first update.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001
            (keras, optax), 0.002 (torch, paper).
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.9.
        beta_2: decay of the maximum, in [0, 1). Default: 0.999.
        epsilon: above 0; ignored where eps_at is "none". Default: 1e-7 (keras), 1e-8 (torch,
            optax), 0 (paper).
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        eps_at: where epsilon is added: "denominator", "in_max" or "none". Default: "denominator"
            (keras), "in_max" (torch, optax), "none" (paper).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "l2" (torch), "add" (optax, paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with an `AdamaxState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adamax(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8052 -1.8025]

    Differences:
        Paper: 0 / 0 is not defined while all gradients have been 0; here the weight stays.

    References:
        Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", section 7.1.
    """
    if eps_at != "none":
        check_number("epsilon", epsilon, above=0)
    return from_update_rule(
        adamax_update,
        AdamaxState,
        slots={"m": zeros_like, "u": zeros_like},
        learning_rate=learning_rate,
        hyperparameters={"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon, "eps_at": eps_at},
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )._replace(by_row=True)


@conventions(optax=_OPTAX | {"weight_decay": 0.0001})
@checked
def adamaxw(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    weight_decay: float = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    *,
    eps_at: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """Adamax with decoupled weight decay.

        w_t = w_(t-1) + u - eta weight_decay w_(t-1)

    with u the update of `adamax`.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        weight_decay: coefficient of the weight decay, relative to eta, at least 0. Default: 1e-4.
        beta_1, beta_2, epsilon, eps_at: as in `adamax`, with the defaults of "optax".
        decay_form: "pre" and "add" are the same up to rounding; "add_abs" leaves eta out. Default:
            "add".
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "optax", the only library that has it. Default: "optax".

    Returns:
        An `Optimizer` with an `AdamaxState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adamaxw(0.1, weight_decay=0.5)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.7153 -1.6152]

    Differences:
        Keras: there is no AdamaxW; its Adamax with a weight_decay is `adamax` with one.

    References:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    return adamax(
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        weight_decay=weight_decay,
        eps_at=eps_at,
        decay_form=decay_form,
        decay_mask=decay_mask,
    )
