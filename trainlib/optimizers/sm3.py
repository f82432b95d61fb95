"""SM3: AdaGrad with one sum for each row, column and so on, in place of one for each weight.

    nu_t    = g^2 + min over axes k of mu_(t-1)[k]
    mu_t[k] = max of nu_t over all axes but k
    r       = g / sqrt(nu_t + epsilon), but 0 where nu_t = 0
    v_t     = momentum v_(t-1) - (1 - momentum) r
    u       = eta v_t

mu[k] is a vector along axis k. For vectors and scalars it is AdaGrad.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, widen
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree
from trainlib.optimizers.sgd import SgdState, sgd


def sm3_rule(g: Tensor, mu: Tensor, *, w: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
    """SM3-II (Anil et al. 2019), before the momentum and the learning rate."""
    nu = tf.square(g) + functools.reduce(tf.minimum, _along_axes(mu, w))
    mu = tf.concat([_largest(nu, k) for k in range(w.shape.rank)] or [nu[None]], axis=0)
    r = tf.where(nu > 0, g / tf.sqrt(nu + epsilon), tf.zeros_like(g))
    return r, mu


def _along_axes(mu: Tensor, like: Tensor) -> list[Tensor]:
    """The vectors of mu, each in a shape that broadcasts along its axis of the tensor `like`."""
    shape = list(like.shape)
    if not shape:
        return [mu[0]]
    parts = tf.split(mu, shape)
    return [
        tf.reshape(part, [-1 if axis == k else 1 for axis in range(len(shape))])
        for k, part in enumerate(parts)
    ]


def _largest(nu: Tensor, k: int) -> Tensor:
    """The maximum over all axes but k; of squares, so 0 where there is nothing."""
    others = [axis for axis in range(nu.shape.rank) if axis != k]
    return tf.nn.relu(tf.reduce_max(nu, others))


class Sm3State(NamedTuple):
    """step: updates made, int64 []. mu: largest sums of squares. v: velocities.

    mu holds for each parameter one vector: those along its axes, end to end, [sum of its shape],
    or [1] for a scalar. v is like the parameters, `()` without momentum.
    """

    step: Tensor
    mu: Tree
    v: Tree


@conventions(optax={"epsilon": 1e-8}, paper={"epsilon": 0.0})
def sm3(
    learning_rate: ScalarOrSchedule = 0.001,
    momentum: float = 0.9,
    epsilon: float = BY_CONVENTION,
    *,
    convention: str = "optax",
) -> Optimizer:
    """SM3.

        nu_t    = g^2 + min over axes k of mu_(t-1)[k],  mu_0 = 0
        mu_t[k] = max of nu_t over all axes but k
        r       = g / sqrt(nu_t + epsilon), but 0 where nu_t = 0
        v_t     = momentum v_(t-1) - (1 - momentum) r,  v_0 = 0
        w_t     = w_(t-1) + eta v_t

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        momentum: in [0, 1); 0 keeps no velocity.
        epsilon: at least 0; inside the root.
        convention: "optax" (epsilon 1e-8), "paper" (epsilon 0).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: Optax, which fails on scalars and takes no schedule.

    Reference: Anil et al. 2019, "Memory-Efficient Adaptive Optimization".
    """
    check_number("momentum", momentum, at_least=0, below=1)
    check_number("epsilon", epsilon, at_least=0)
    descent = sgd(
        learning_rate, momentum, dampening=momentum, velocity="lr_out", first_velocity="zero"
    )

    def init(params: Tree) -> Sm3State:
        step, v = descent.init(params)
        return Sm3State(step, tf.nest.map_structure(_zero_axes, params), v)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, Sm3State]:
        r, mu = leafwise(sm3_rule, grads, state.mu, params=params, epsilon=epsilon)
        updates, (step, v) = descent.update(r, SgdState(state.step, state.v), params)
        return updates, Sm3State(step, mu, v)

    return Optimizer(init, update)


def _zero_axes(w: Tensor) -> Tensor:
    """Zeros for each axis of w, end to end."""
    w = widen(w)
    return tf.zeros([sum(w.shape) if w.shape.rank else 1], w.dtype)
