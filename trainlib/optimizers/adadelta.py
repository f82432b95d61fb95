"""Adadelta: steps in the units of the parameters, from running means of squares.

a_t     = rho a_(t-1) + (1 - rho) g^2
delta_t = -sqrt(d_(t-1) + epsilon) / sqrt(a_t + epsilon) g
d_t     = rho d_(t-1) + (1 - rho) delta_t^2
u       = eta delta_t
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.decay import Mask, with_weight_decay


def adadelta_rule(
    g: Tensor, a: Tensor, d: Tensor, *, learning_rate: Tensor, rho: Tensor, epsilon: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Adadelta (Zeiler 2012, Algorithm 1)."""
    a = rho * a + (1 - rho) * tf.square(g)
    delta = -tf.sqrt(d + epsilon) / tf.sqrt(a + epsilon) * g
    d = rho * d + (1 - rho) * tf.square(delta)
    return learning_rate * delta, a, d


class AdadeltaState(NamedTuple):
    """step: updates made, int64 []. a, d: running means of g^2 and delta^2, like the parameters."""

    step: Tensor
    a: Tree
    d: Tree


_KERAS = {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7, "decay_form": "pre"}
_OPTAX = {"learning_rate": 0.001, "rho": 0.9, "epsilon": 1e-6, "decay_form": "l2"}
_TORCH = _OPTAX | {"learning_rate": 1.0}
_PAPER = _TORCH | {"rho": 0.95}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER)
def adadelta(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    rho: float = BY_CONVENTION,
    epsilon: float = BY_CONVENTION,
    *,
    weight_decay: float = 0.0,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Adadelta.

        a_t     = rho a_(t-1) + (1 - rho) g^2
        delta_t = -sqrt(d_(t-1) + epsilon) / sqrt(a_t + epsilon) g
        d_t     = rho d_(t-1) + (1 - rho) delta_t^2
        w_t     = w_(t-1) + eta delta_t

    with a_0 = d_0 = 0. epsilon sets the size of the first steps.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        rho: decay of the running means, in [0, 1).
        epsilon: above 0; inside both roots.
        weight_decay: at least 0.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (rate 0.001, rho 0.95, epsilon 1e-7), "torch" (rate 1, rho 0.9,
            epsilon 1e-6, decay l2), "optax" (rho 0.9, epsilon 1e-6, decay l2), "paper" (rate 1,
            rho 0.95, epsilon 1e-6).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody, under the convention of that name. Optax's own rate is None, which
    climbs; ours is Keras's there. The paper has no eta.

    Reference: Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method".
    """
    check_rate("learning_rate", learning_rate)
    check_number("rho", rho, at_least=0, below=1)
    check_number("epsilon", epsilon, above=0)

    def init(params: Tree) -> AdadeltaState:
        zeros = zeros_like(params)
        return AdadeltaState(tf.zeros([], tf.int64), zeros, zeros)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdadeltaState]:
        updates, a, d = leafwise(
            adadelta_rule,
            grads,
            state.a,
            state.d,
            learning_rate=rate_at(learning_rate, state.step),
            rho=rho,
            epsilon=epsilon,
        )
        return updates, AdadeltaState(state.step + 1, a, d)

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )
