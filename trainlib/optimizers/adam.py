"""Adam, AMSGrad and AdamW: a running mean of gradients over the root of one of their squares.

    m_t = beta_1 m_(t-1) + (1 - beta_1) g
    v_t = beta_2 v_(t-1) + (1 - beta_2) g^2
    c_1 = 1 - beta_1^t
    c_2 = 1 - beta_2^t

    folded      u = -eta sqrt(c_2) / c_1 m_t / (sqrt(v_t + eps_root) + epsilon)
    corrected   u = -eta (m_t / c_1) / (sqrt(v_t / c_2 + eps_root) + epsilon)
    none        u = -eta m_t / (sqrt(v_t + eps_root) + epsilon)

t = 1 at the first update. AMSGrad puts the largest v_t so far in v_t's place (or, of "corrected",
the largest v_t / c_2 in v_t / c_2's). AdamW decays the weights beside u.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import is_zero, leafwise, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.decay import Mask, with_weight_decay

BIAS_FORMS = ("folded", "corrected", "none")
MAXIMA = ("raw", "corrected")


def adam_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    bias_form: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adam (Kingma and Ba 2015, Algorithm 1; folded: the remark that closes their section 2)."""
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    u = adam_update(m, v, t, learning_rate, beta_1, beta_2, epsilon, eps_root, bias_form)
    return u, m, v


def amsgrad_rule(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    v_max: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    bias_form: str,
    max_of: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """AMSGrad (Reddi, Kale and Kumar 2018)."""
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * tf.square(g)
    c_2 = 1 - beta_2**t if max_of == "corrected" else 1.0
    v_max = tf.maximum(v_max, v / c_2)
    u = adam_update(m, v_max * c_2, t, learning_rate, beta_1, beta_2, epsilon, eps_root, bias_form)
    return u, m, v, v_max


def adam_update(
    m: Tensor,
    v: Tensor,
    t: Tensor,
    learning_rate: Tensor,
    beta_1: Tensor,
    beta_2: Tensor,
    epsilon: Tensor,
    eps_root: Tensor,
    bias_form: str,
) -> Tensor:
    """The update of the moments m and v; see the head of this file."""
    if bias_form == "none":
        return -learning_rate * m / (tf.sqrt(v + eps_root) + epsilon)
    c_1 = 1 - beta_1**t
    c_2 = 1 - beta_2**t
    if bias_form == "folded":
        return -learning_rate * tf.sqrt(c_2) / c_1 * m / (tf.sqrt(v + eps_root) + epsilon)
    return -learning_rate * (m / c_1) / (tf.sqrt(v / c_2 + eps_root) + epsilon)


class AdamState(NamedTuple):
    """step: updates made, int64 []. m, v: running means of g and g^2, like the parameters.

    v_max: the largest v so far, like the parameters; `()` without AMSGrad.
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

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: added to the root, at least 0.
        amsgrad: whether the denominator may only grow: the largest v_t so far stands for v_t.
        weight_decay: at least 0.
        eps_root: added inside the root, at least 0.
        bias_form: "folded", "corrected" or "none": where the bias of the means is corrected.
        max_of: of AMSGrad, the largest "raw" v_t or the largest "corrected" v_t / c_2.
        decay_form: "pre", "add", "add_abs" or "l2": where weight_decay acts.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (folded, epsilon 1e-7), "torch" (corrected, epsilon 1e-8, decay l2),
            "optax" (corrected, epsilon 1e-8, max_of corrected), "paper" (corrected, epsilon
            1e-8), "textbook" (corrected, eps_root 1e-7 and no epsilon).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: nobody, under the convention of that name. The folded form is the corrected one
    with an epsilon of epsilon / sqrt(c_2). Reddi et al. correct no bias: bias_form="none".

    Reference: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization"; Reddi, Kale and
    Kumar 2018, "On the Convergence of Adam and Beyond".
    """
    check_adam(learning_rate, beta_1, beta_2, epsilon, eps_root)
    check_choice("bias_form", bias_form, BIAS_FORMS)
    check_choice("max_of", max_of, MAXIMA)
    rule: Callable[..., tuple[Tensor, ...]] = functools.partial(adam_rule, bias_form=bias_form)
    if amsgrad:
        rule = functools.partial(amsgrad_rule, bias_form=bias_form, max_of=max_of)

    def init(params: Tree) -> AdamState:
        zeros = zeros_like(params)
        return AdamState(tf.zeros([], tf.int64), zeros, zeros, zeros if amsgrad else ())

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, AdamState]:
        t = state.step + 1
        slots = (state.m, state.v, state.v_max) if amsgrad else (state.m, state.v)
        updates, m, v, *v_max = leafwise(
            rule,
            grads,
            *slots,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            eps_root=eps_root,
        )
        return updates, AdamState(t, m, v, v_max[0] if amsgrad else ())

    return with_weight_decay(
        Optimizer(init, update), learning_rate, weight_decay, decay_form, decay_mask
    )


@conventions(
    keras=_KERAS | {"weight_decay": 0.004},
    torch=_TORCH | {"weight_decay": 0.01, "decay_form": "pre"},
    optax=_OPTAX | {"weight_decay": 0.0001},
    paper=_PAPER | {"weight_decay": 0.004},
)
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
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule.
        weight_decay: at least 0; a share of eta. 0.004 (keras, paper), 0.01 (torch), 1e-4 (optax).
        beta_1, beta_2, epsilon, amsgrad, eps_root, bias_form, max_of: as in `adam`.
        decay_form: "pre" and "add" are the same up to rounding; "add_abs" leaves eta out.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras", "torch", "optax" or "paper": the forms of `adam`, with the decay
            decoupled in each of them.

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: the paper, which multiplies weight_decay by the schedule's factor only, not by
    eta; its lambda is eta weight_decay here.

    Reference: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
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


def check_adam(
    learning_rate: ScalarOrSchedule,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    eps_root: float = 0.0,
) -> None:
    """Raises unless the hyperparameters that Adam's family shares are in their ranges."""
    check_rate("learning_rate", learning_rate)
    check_number("beta_1", beta_1, at_least=0, below=1)
    check_number("beta_2", beta_2, at_least=0, below=1)
    check_number("epsilon", epsilon, at_least=0)
    check_number("eps_root", eps_root, at_least=0)
    if is_zero(epsilon) and is_zero(eps_root):
        raise ValueError("epsilon and eps_root are both 0: one of them must be above 0")
