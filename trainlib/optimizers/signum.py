"""signSGD and Signum."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.conventions import conventions
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, checked, from_update_rule


def sign_sgd_update(g: Tensor, hp: Hyperparameters) -> tuple[Tensor]:
    """Apply signSGD to one tensor (Bernstein et al. 2018, Algorithm 1)."""
    return (-hp.eta * tf.sign(g),)


def signum_update(g: Tensor, m: Tensor, hp: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Apply Signum to one tensor (Bernstein et al. 2018, Algorithm 2)."""
    m = hp.momentum * m + (1 - hp.momentum) * g
    return -hp.eta * tf.sign(m), m


class SignSgdState(NamedTuple):
    """State of `sign_sgd`.

    Attributes:
        step: number of updates made; int64, shape [].
    """

    step: Tensor


class SignumState(NamedTuple):
    """State of `signum`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
    """

    step: Tensor
    m: Tree


@conventions(optax={}, paper={})
@checked
def sign_sgd(learning_rate: ScalarOrSchedule = 0.001, *, convention: str = "optax") -> Optimizer:
    """Gradient descent by the signs of the gradients.

        w_t = w_(t-1) - eta sign(g)

    with sign(0) = 0.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        convention: "optax" or "paper", which are the same. Default: "optax".

    Returns:
        An `Optimizer` with a `SignSgdState`.

    Raises:
        ValueError, TypeError: a learning rate out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.sign_sgd(0.125)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.75 -1.75]

    References:
        Bernstein et al. 2018, "signSGD: Compressed Optimisation for Non-Convex Problems".
    """
    return from_update_rule(sign_sgd_update, SignSgdState, slots={}, learning_rate=learning_rate)


@conventions(optax={}, paper={})
@checked
def signum(
    learning_rate: ScalarOrSchedule = 0.001, momentum: float = 0.9, *, convention: str = "optax"
) -> Optimizer:
    """Gradient descent by the signs of a running mean of the gradients.

        m_t = mu m_(t-1) + (1 - mu) g
        w_t = w_(t-1) - eta sign(m_t)

    with m_0 = 0, and mu the momentum.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        momentum: mu, in [0, 1); 0 is `sign_sgd`. Default: 0.9.
        convention: "optax" or "paper", which are the same. Default: "optax".

    Returns:
        An `Optimizer` with a `SignumState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> tx = tl.signum(0.125)
        >>> w = tf.constant([1.0, -2.0])
        >>> state = tx.init(w)
        >>> for gradient in ([1.0, 0.0], [-4.0, -1.0]):
        ...     updates, state = tx.update(tf.constant(gradient), state, w)
        ...     print(updates.numpy())
        [-0.125 -0.   ]
        [0.125 0.125]

    Differences:
        Optax: mu is called beta.

    References:
        Bernstein et al. 2018, "signSGD: Compressed Optimisation for Non-Convex Problems".
    """
    return from_update_rule(
        signum_update,
        SignumState,
        slots={"m": zeros_like},
        learning_rate=learning_rate,
        hyperparameters={"momentum": momentum},
    )
