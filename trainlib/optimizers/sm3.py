"""SM3."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import is_zero, widen, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, checked, from_update_rule


def sm3_update(g: Tensor, mu: Tensor, v: Tensor | None, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply SM3-II to one tensor (Anil et al. 2019), with momentum where v is."""
    nu = tf.square(g) + functools.reduce(tf.minimum, _along_axes(mu, hp.w))
    mu = tf.concat([_largest(nu, k) for k in range(hp.w.shape.rank)] or [nu[None]], axis=0)
    r = tf.where(nu > 0, g / tf.sqrt(nu + hp.epsilon), tf.zeros_like(g))
    if v is None:
        return -hp.eta * r, mu, None
    v = hp.momentum * v - (1 - hp.momentum) * r
    return hp.eta * v, mu, v


def _along_axes(mu: Tensor, like: Tensor) -> list[Tensor]:
    """Return the vectors of mu, each in a shape that broadcasts along its axis of `like`."""
    shape = list(like.shape)
    if not shape:
        return [mu[0]]
    parts = tf.split(mu, shape)
    return [
        tf.reshape(part, [-1 if axis == k else 1 for axis in range(len(shape))])
        for k, part in enumerate(parts)
    ]


def _largest(nu: Tensor, k: int) -> Tensor:
    """Return the maximum over all axes but k; of squares, so 0 for an empty tensor."""
    others = [axis for axis in range(nu.shape.rank) if axis != k]
    return tf.nn.relu(tf.reduce_max(nu, others))


class Sm3State(NamedTuple):
    """State of `sm3`.

    Attributes:
        step: number of updates made; int64, shape [].
        mu: largest sums of squares, one vector for each parameter: those along its axes,
            concatenated; shape [sum of the parameter's shape], [1] for a scalar.
        v: velocities, `()` without momentum; like the parameters, float32 or wider.
    """

    step: Tensor
    mu: Tree
    v: Tree


@conventions(optax={"epsilon": 1e-8}, paper={"epsilon": 0.0})
@checked
def sm3(
    learning_rate: ScalarOrSchedule = 0.001,
    momentum: float = 0.9,
    epsilon: float = BY_CONVENTION,
    *,
    convention: str = "optax",
) -> Optimizer:
    """SM3: AdaGrad with one sum for each row, column and so on, not one for each weight.

        nu_t    = g^2 + min over axes k of mu_(t-1)[k]
        mu_t[k] = max of nu_t over all axes but k
        r       = g / sqrt(nu_t + epsilon), but 0 where nu_t = 0
        v_t     = momentum v_(t-1) - (1 - momentum) r
        w_t     = w_(t-1) + eta v_t

    with mu_0 = 0 and v_0 = 0. mu[k] is a vector along axis k. For vectors and scalars it is
    AdaGrad.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        momentum: in [0, 1); 0 keeps no velocity. Default: 0.9.
        epsilon: added inside the root, at least 0. Default: 1e-8 (optax), 0 (paper).
        convention: "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with an `Sm3State`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([[1.0, -2.0], [0.5, 1.0]])
        >>> tx = tl.sm3(0.1)
        >>> updates, state = tx.update(2 * w, tx.init(w), w)
        >>> print(state.mu.numpy())
        [16.  4.  4. 16.]
        >>> print(np.round(tl.apply_updates(w, updates), 4))
        [[ 0.99 -1.99]
         [ 0.49  0.99]]

    Differences:
        Optax: scalars fail, and no schedule is accepted.

    References:
        Anil et al. 2019, "Memory-Efficient Adaptive Optimization".
    """
    return from_update_rule(
        sm3_update,
        Sm3State,
        slots={"mu": _zero_axes, "v": None if is_zero(momentum) else zeros_like},
        learning_rate=learning_rate,
        hyperparameters={
            "momentum": momentum,
            "epsilon": epsilon,
        },
    )


def _zero_axes(params: Tree) -> Tree:
    """Return zeros for each axis of each parameter, concatenated."""

    def zeros(w: Tensor) -> Tensor:
        w = widen(w)
        return tf.zeros([sum(w.shape) if w.shape.rank else 1], w.dtype)

    return tf.nest.map_structure(zeros, params)
