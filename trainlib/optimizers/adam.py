"""Adam, AMSGrad and AdamW."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import is_zero, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.transforms.decay import Mask


def adam_update(
    g: Tensor, m: Tensor, v: Tensor, v_max: Tensor | None, hp: Hyperparameters
) -> tuple[Any, ...]:
    """Apply Adam (Kingma and Ba 2015, Algorithm 1) or AMSGrad (Reddi et al. 2018) to one tensor."""
    m = hp.beta_1 * m + (1 - hp.beta_1) * g
    v = hp.beta_2 * v + (1 - hp.beta_2) * tf.square(g)
    if v_max is None:
        return adam_step(m, v, hp), m, v, None
    c_2 = 1 - hp.beta_2**hp.t if hp.max_of == "corrected" else 1.0
    v_max = tf.maximum(v_max, v / c_2)
    return adam_step(m, v_max * c_2, hp), m, v, v_max


def adam_step(m: Tensor, v: Tensor, hp: Hyperparameters) -> Tensor:
    """Return the update from the means of gradients and of squares; see `adam`."""
    if hp.bias_form == "none":
        return -hp.eta * m / (tf.sqrt(v + hp.eps_root) + hp.epsilon)
    c_1 = 1 - hp.beta_1**hp.t
    c_2 = 1 - hp.beta_2**hp.t
    if hp.bias_form == "folded":
        return -hp.eta * tf.sqrt(c_2) / c_1 * m / (tf.sqrt(v + hp.eps_root) + hp.epsilon)
    return -hp.eta * (m / c_1) / (tf.sqrt(v / c_2 + hp.eps_root) + hp.epsilon)


class AdamState(NamedTuple):
    """State of `adam`.

    Attributes:
        step: number of updates made; int64, shape [].
        m: running means of gradients; like the parameters, float32 or wider.
        v: running means of squared gradients; like the parameters, float32 or wider.
        v_max: with AMSGrad the largest `v` so far, otherwise `()`; like the parameters.
    """

    step: Tensor
    m: Tree
    v: Tree
    v_max: Tree


_KERAS = {
    "learning_rate": 0.001,
    "epsilon": 1e-7,
    "eps_root": 0.0,
    "bias_form": "folded",
    "max_of": "raw",
    "decay_form": "pre",
}
_TORCH = _KERAS | {"epsilon": 1e-8, "bias_form": "corrected", "decay_form": "l2"}
_OPTAX = _TORCH | {"max_of": "corrected", "decay_form": "add"}
_PAPER = _TORCH | {"decay_form": "add"}
_TEXTBOOK = _PAPER | {"epsilon": 0.0, "eps_root": 1e-7}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER, textbook=_TEXTBOOK)
@checked
def adam(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    amsgrad: bool = False,
    *,
    weight_decay: float = 0.0,
    eps_root: float = BY_CONVENTION,
    bias_form: str = BY_CONVENTION,
    max_of: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Adam, or AMSGrad.

        m_t = beta_1 m_(t-1) + (1 - beta_1) g
        v_t = beta_2 v_(t-1) + (1 - beta_2) g^2
        c_1 = 1 - beta_1^t,  c_2 = 1 - beta_2^t

        folded      w_t = w_(t-1) - eta sqrt(c_2) / c_1 m_t / (sqrt(v_t + eps_root) + epsilon)
        corrected   w_t = w_(t-1) - eta (m_t / c_1) / (sqrt(v_t / c_2 + eps_root) + epsilon)
        none        w_t = w_(t-1) - eta m_t / (sqrt(v_t + eps_root) + epsilon)

    with t = 1 at the first update. AMSGrad replaces v_t by the largest v_t so far, or (max_of
    "corrected") v_t / c_2 by the largest v_t / c_2 so far.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        beta_1: decay of the mean of gradients, in [0, 1). Default: 0.9.
        beta_2: decay of the mean of squares, in [0, 1). Default: 0.999.
        epsilon: added to the root, at least 0. Default: 1e-7 (keras), 1e-8 (torch, optax, paper), 0
            (textbook).
        amsgrad: whether to use AMSGrad. Default: False.
        weight_decay: coefficient of the weight decay, at least 0. Default: 0.
        eps_root: added inside the root, at least 0. Default: 0, 1e-7 (textbook).
        bias_form: where the bias of the means is corrected: "folded", "corrected" or "none".
            Default: "folded" (keras), "corrected" (the others).
        max_of: what AMSGrad takes the maximum of: "raw", v_t, or "corrected", v_t / c_2. Default:
            "corrected" (optax), "raw" (the others).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "pre" (keras), "l2" (torch), "add" (the others).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax", "paper" or "textbook". Default: "keras".

    Returns:
        An `Optimizer` with an `AdamState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adam(0.1)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.8004 -1.8002]

    Differences:
        Paper: Reddi et al. correct no bias, which is bias_form "none".

    References:
        Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization"; Reddi, Kale and Kumar
        2018, "On the Convergence of Adam and Beyond".
    """
    return from_update_rule(
        adam_update,
        AdamState,
        slots={"m": zeros_like, "v": zeros_like, "v_max": zeros_like if amsgrad else None},
        learning_rate=learning_rate,
        hyperparameters=adam_hyperparameters(
            beta_1, beta_2, epsilon, eps_root, bias_form=bias_form, max_of=max_of
        ),
        weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
    )._replace(by_row=True)


@conventions(
    keras=_KERAS | {"weight_decay": 0.004},
    torch=_TORCH | {"weight_decay": 0.01, "decay_form": "pre"},
    optax=_OPTAX | {"weight_decay": 0.0001},
    paper=_PAPER | {"weight_decay": 0.004},
)
@checked
def adamw(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    weight_decay: float = BY_CONVENTION,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    amsgrad: bool = False,
    *,
    eps_root: float = BY_CONVENTION,
    bias_form: str = BY_CONVENTION,
    max_of: str = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Adam with decoupled weight decay.

        w_t = w_(t-1) + u - eta weight_decay w_(t-1)

    with u the update of `adam`.

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001.
        weight_decay: coefficient of the weight decay, relative to eta, at least 0. Default: 0.004
            (keras, paper), 0.01 (torch), 1e-4 (optax).
        beta_1, beta_2, epsilon, amsgrad, eps_root, bias_form, max_of: as in `adam`.
        decay_form: "pre" and "add" are the same up to rounding; "add_abs" leaves eta out. Default:
            "pre" (keras, torch), "add" (optax, paper).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with an `AdamState`.

    Raises:
        ValueError: a hyperparameter out of its range, or `epsilon` and `eps_root` both 0.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([1.0, -2.0])
        >>> tx = tl.adamw(0.1, weight_decay=0.5)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(2 * w, state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> print(np.round(w, 4))
        [ 0.7083 -1.6104]

    Differences:
        Paper: weight_decay is multiplied by the schedule's factor only, not by eta: its lambda is
            eta weight_decay here.

    References:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    return adam(
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        amsgrad,
        weight_decay=weight_decay,
        eps_root=eps_root,
        bias_form=bias_form,
        max_of=max_of,
        decay_form=decay_form,
        decay_mask=decay_mask,
    )


def adam_hyperparameters(
    beta_1: float, beta_2: float, epsilon: float, eps_root: float = 0.0, **others: Any
) -> dict[str, Any]:
    """Return the hyperparameters that Adam and its variants share, and others, by name.

    Raises:
        ValueError: `epsilon` and `eps_root` both 0.
    """
    if is_zero(epsilon) and is_zero(eps_root):
        raise ValueError("epsilon and eps_root are both 0: one of them must be above 0")
    return {
        "beta_1": beta_1,
        "beta_2": beta_2,
        "epsilon": epsilon,
        "eps_root": eps_root,
        **others,
    }
