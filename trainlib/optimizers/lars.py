"""LARS."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.norms import global_norm
from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def lars_update(g: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Tensor, Tensor]:
    """Apply LARS to one tensor (You, Gitman and Ginsburg 2017, Algorithm 1)."""
    decay = 0.0 if hp.weight_decay is None else hp.weight_decay
    d = g + decay * hp.w
    ratio = 1.0
    if hp.adapted:
        w_norm = global_norm(hp.w)
        n = global_norm(d) if hp.ratio_form == "joint" else global_norm(g) + decay * w_norm
        ratio = hp.trust_coefficient * w_norm / (n + hp.epsilon)
        ratio = tf.where((w_norm > 0) & (n > 0), ratio, tf.ones_like(ratio))
    v = hp.momentum * v - hp.eta * ratio * d
    u = hp.momentum * v - hp.eta * ratio * d if hp.nesterov else v
    return u, v


class LarsState(NamedTuple):
    """State of `lars`.

    Attributes:
        step: number of updates made; int64, shape [].
        v: velocities; like the parameters, float32 or wider.
    """

    step: Tensor
    v: Tree


_OPTAX = {"weight_decay": 0.0, "ratio_form": "joint"}
_PAPER = {"weight_decay": 0.0005, "ratio_form": "separate"}


@conventions(optax=_OPTAX, paper=_PAPER)
@checked
def lars(
    learning_rate: ScalarOrSchedule = 1.0,
    momentum: float = 0.9,
    nesterov: bool = False,
    *,
    weight_decay: float = BY_CONVENTION,
    trust_coefficient: float = 0.001,
    epsilon: float = 0.0,
    ratio_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    ratio_mask: Mask = None,
    convention: str = "optax",
) -> Optimizer:
    """LARS: momentum with a step proportional to the norm of each tensor.

        d = g + weight_decay w_(t-1)
        joint      n = ||d||
        separate   n = ||g|| + weight_decay ||w_(t-1)||
        ratio = trust_coefficient ||w_(t-1)|| / (n + epsilon)
        v_t = momentum v_(t-1) - eta ratio d
        w_t = w_(t-1) + v_t                         or, with nesterov,
        w_t = w_(t-1) + momentum v_t - eta ratio d

    with v_0 = 0. The ratio is 1 where ||w|| or n is 0, and for parameters that are not adapted.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 1.
        momentum: in [0, 1). Default: 0.9.
        nesterov: whether to use Nesterov's momentum. Default: False.
        weight_decay: at least 0. Default: 0 (optax), 0.0005 (paper).
        trust_coefficient: ratio of a first step at eta = 1 to the norm of the tensor, above 0.
            Default: 0.001.
        epsilon: added to n, at least 0. Default: 0.
        ratio_form: "joint", where n is the norm of a sum, or "separate", a sum of norms. Default:
            "joint" (optax), "separate" (paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        ratio_mask: the parameters that are adapted: a structure of bools or a function of the path;
            commonly all but biases and the scales of normalization. Default: None, all parameters.
        convention: "optax" or "paper". Default: "optax".

    Returns:
        An `Optimizer` with a `LarsState`.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.lars(100.0)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.72 -1.44]

    Differences:
        Paper: the ratio is not defined where a norm is 0.

    References:
        You, Gitman and Ginsburg 2017, "Large Batch Training of Convolutional Networks".
    """
    return from_update_rule(
        lars_update,
        LarsState,
        slots={"v": zeros_like},
        learning_rate=learning_rate,
        hyperparameters={
            "momentum": momentum,
            "nesterov": nesterov,
            "trust_coefficient": trust_coefficient,
            "epsilon": epsilon,
            "ratio_form": ratio_form,
        },
        weight_decay=WeightDecay(weight_decay, mask=decay_mask),
        masks={"adapted": ratio_mask},
    )
