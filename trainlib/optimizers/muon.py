"""Muon."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import resolve_mask, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree
from trainlib.optimizers.base import Hyperparameters, WeightDecay, checked, from_update_rule
from trainlib.optimizers.muon_parts import (
    fallback,
    is_excluded,
    label_parts,
    mask_by_path,
    scaled_rate,
)
from trainlib.optimizers.nadam import nesterov_mean
from trainlib.optimizers.newton_schulz import Coefficients, orthogonalize, step_coefficients
from trainlib.transforms.decay import Mask, with_weight_decay
from trainlib.transforms.mask import partition


def muon_update(g: Tensor, M: Tensor, hp: Hyperparameters) -> tuple[Any, ...]:
    """Apply Muon to one matrix (Jordan et al. 2024)."""
    weight = 1.0 if hp.momentum_form == "sum" else 1 - hp.momentum
    M = hp.momentum * M + weight * g
    if hp.momentum_form == "ema_bc":
        P = hp.momentum**hp.t
        Q = nesterov_mean(g, M, hp.momentum, hp.momentum, P) if hp.nesterov else M / (1 - P)
    else:
        Q = weight * g + hp.momentum * M if hp.nesterov else M
    X = orthogonalize(Q, hp.coefficients, hp.ns_epsilon, hp.ns_eps_mode, hp.ns_dtype)
    return -hp.eta * shape_scale(Q.shape.as_list(), hp) * X, M


def shape_scale(shape: list[int], hp: Hyperparameters) -> Tensor | float:
    """Return s, the factor of the update of a matrix of this shape."""
    rows, columns = (max(1, size) for size in shape)  # The update of an empty matrix is empty.
    if hp.scale == "rms":
        return hp.rms_rate * math.sqrt(max(rows, columns))
    if hp.scale == "rows_cols":
        return math.sqrt(max(1, rows / columns))
    return math.sqrt(max(1, columns / rows)) if hp.scale == "cols_rows" else 1.0


class MomentumState(NamedTuple):
    """State of the matrices of `muon`.

    Attributes:
        step: number of updates made; int64, shape [].
        M: momenta; like the matrices, float32 or wider.
    """

    step: Tensor
    M: Tree


class MuonState(NamedTuple):
    """State of `muon`.

    Attributes:
        step: number of updates made; int64, shape [].
        parts: "muon", a `MomentumState`, and "adam", an `AdamState` or a `NadamState`, each of its
            own parameters, a dict by path. A part without parameters is left out.
    """

    step: Tensor
    parts: dict[str, State]


_KERAS = {
    "learning_rate": 0.001,
    "epsilon": 1e-7,
    "weight_decay": 0.004,
    "adam_weight_decay": 0.004,
    "adam_form": "folded",
    "momentum_form": "sum",
    "ns_epsilon": 1e-7,
    "ns_eps_mode": "add",
    "ns_dtype": None,
    "scale": "rms",
    "exclude_embeddings": True,
    "decay_form": "pre",
}
_TORCH = _KERAS | {
    "epsilon": 1e-8,
    "weight_decay": 0.1,
    "adam_weight_decay": 0.01,
    "adam_form": "corrected",
    "momentum_form": "ema",
    "ns_eps_mode": "clamp",
    "ns_dtype": "bfloat16",
    "scale": "rows_cols",
    "exclude_embeddings": False,
}
_PAPER = _TORCH | {
    "learning_rate": 0.02,
    "weight_decay": 0.0,
    "adam_weight_decay": 0.0,
    "momentum_form": "sum",
    "ns_eps_mode": "add",
}
_OPTAX = _KERAS | {
    "epsilon": 1e-8,
    "weight_decay": 0.0,
    "adam_weight_decay": 0.0,
    "adam_form": "nesterov",
    "momentum_form": "ema_bc",
    "ns_epsilon": 1e-8,
    "scale": "cols_rows",
    "exclude_embeddings": False,
    "decay_form": "add",
}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX, paper=_PAPER)
@checked
def muon(
    learning_rate: ScalarOrSchedule = BY_CONVENTION,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_steps: int = 5,
    *,
    weight_decay: float = BY_CONVENTION,
    adam_beta_1: float = 0.9,
    adam_beta_2: float = 0.999,
    epsilon: float = BY_CONVENTION,
    adam_weight_decay: float = BY_CONVENTION,
    adam_lr_ratio: float = 1.0,
    adam_form: str = BY_CONVENTION,
    momentum_form: str = BY_CONVENTION,
    ns_coefficients: Coefficients = (3.4445, -4.7750, 2.0315),
    ns_epsilon: float = BY_CONVENTION,
    ns_eps_mode: str = BY_CONVENTION,
    ns_dtype: str | None = BY_CONVENTION,
    scale: str = BY_CONVENTION,
    rms_rate: float = 0.2,
    muon_mask: Mask = None,
    exclude_layers: Sequence[str] = (),
    exclude_embeddings: bool = BY_CONVENTION,
    decay_form: str = BY_CONVENTION,
    decay_mask: Mask = None,
    convention: str = "keras",
) -> Optimizer:
    """Muon for matrices: momentum that is made orthogonal. AdamW for all other parameters.

        sum      M_t = momentum M_(t-1) + g
                 Q   = M_t                                  or, with nesterov,
                 Q   = g + momentum M_t
        ema      M_t = momentum M_(t-1) + (1 - momentum) g
                 Q   = M_t                                  or, with nesterov,
                 Q   = (1 - momentum) g + momentum M_t
        ema_bc   as ema, with the bias of M_t, and of both terms of nesterov, corrected

        X_0     = Q / (||Q|| + ns_epsilon) (add), Q / max(||Q||, ns_epsilon) (clamp)
        A       = X_k X_k^T
        X_(k+1) = a X_k + (b A + c A A) X_k,  k = 0 ... ns_steps - 1

        w_t = w_(t-1) - eta s X

        rms         s = rms_rate sqrt(max(rows, columns))
        rows_cols   s = sqrt(max(1, rows / columns))
        cols_rows   s = sqrt(max(1, columns / rows))
        none        s = 1

    Args:
        learning_rate: eta, at least 0: a number, a scalar tensor or a schedule. Default: 0.001
            (keras, torch, optax), 0.02 (paper).
        momentum: in [0, 1). Default: 0.95.
        nesterov: whether to use Nesterov's momentum. Default: True.
        ns_steps: steps of the iteration, at least 1. Default: 5.
        weight_decay: coefficient of the weight decay of the matrices, at least 0. Default: 0.004
            (keras), 0.1 (torch), 0 (optax, paper).
        adam_beta_1: the beta_1 of `adam`, in [0, 1). Default: 0.9.
        adam_beta_2: the beta_2 of `adam`, in [0, 1). Default: 0.999.
        epsilon: the epsilon of `adam`, above 0. Default: 1e-7 (keras), 1e-8 (torch, optax, paper).
        adam_weight_decay: coefficient of the weight decay of Adam's parameters, relative to eta, at
            least 0. Default: 0.004 (keras), 0.01 (torch), 0 (optax, paper).
        adam_lr_ratio: ratio of Adam's learning rate to eta, at least 0; its weight decay uses eta.
            Default: 1.
        adam_form: "folded" or "corrected", the bias_form of `adam`; "nesterov", which is
            "corrected" and, where `nesterov` is set, `nadam` with a constant momentum. Default:
            "folded" (keras), "corrected" (torch, paper), "nesterov" (optax).
        momentum_form: "sum", "ema" or "ema_bc". Default: "sum" (keras, paper), "ema" (torch),
            "ema_bc" (optax).
        ns_coefficients: a, b and c; or a sequence of such triples, one for each step, in which case
            ns_steps is ignored. Default: (3.4445, -4.7750, 2.0315).
        ns_epsilon: a small number that keeps the norm of Q above 0, at least 0. Default: 1e-8
            (optax), 1e-7 (the others).
        ns_eps_mode: whether ns_epsilon is added to the norm, "add", or is its lower bound, "clamp".
            Default: "clamp" (torch), "add" (the others).
        ns_dtype: the dtype of the iteration's matrix products; None for that of the momenta.
            Default: "bfloat16" (torch, paper), None (keras, optax).
        scale: s: "rms", "rows_cols", "cols_rows" or "none". Default: "rms" (keras), "rows_cols"
            (torch, paper), "cols_rows" (optax).
        rms_rate: factor of the scale "rms", at least 0. Default: 0.2.
        muon_mask: the matrices that Muon updates: a structure of bools or a function of the path.
            Adam updates all others. Default: None, all matrices.
        exclude_layers: regular expressions; Adam updates a matrix if one of them is found in its
            path. Default: ().
        exclude_embeddings: whether Adam updates a matrix with "embedding" in its path. Default:
            True (keras), False (the others).
        decay_form: where the decay acts: "pre", "add", "add_abs" or "l2"; see `with_weight_decay`.
            Default: "add" (optax), "pre" (the others).
        decay_mask: the parameters that decay: a structure of bools or a function of the path.
            Default: None, all parameters.
        convention: "keras", "torch", "optax" or "paper". Default: "keras".

    Returns:
        An `Optimizer` with a `MuonState`.

    Raises:
        ValueError: a hyperparameter out of its range; coefficients that are neither three numbers
            nor a sequence of such triples.
        TypeError: a hyperparameter of another type.

    Example:
        >>> w = tf.constant([[3.0, 1.0], [0.0, 2.0]])
        >>> tx = tl.muon(0.1, momentum_form="sum", scale="none", weight_decay=0.0)
        >>> updates, state = tx.update(2 * w, tx.init(w), w)
        >>> print(np.round(tl.apply_updates(w, updates), 2))
        [[2.92 0.98]
         [0.02 1.92]]

    Differences:
        Keras: scale="none" is written rms_rate=None.
        PyTorch: only matrices are accepted, and sums are rounded to bfloat16 too.
        Optax: has other preconditionings, an adaptive form, and a reshaping of other tensors to
            matrices, which are not implemented here.

    References:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu et al.
        2025, "Muon is Scalable for LLM Training" (the scale "rms").
    """
    mask = mask_by_path(decay_mask)
    matrices = from_update_rule(
        muon_update,
        MomentumState,
        slots={"M": zeros_like},
        learning_rate=learning_rate,
        hyperparameters={
            "momentum": momentum,
            "nesterov": nesterov,
            "momentum_form": momentum_form,
            "coefficients": step_coefficients(ns_coefficients, ns_steps),
            "ns_epsilon": ns_epsilon,
            "ns_eps_mode": ns_eps_mode,
            "ns_dtype": None if ns_dtype is None else tf.as_dtype(ns_dtype),
            "scale": scale,
            "rms_rate": rms_rate,
        },
        weight_decay=WeightDecay(weight_decay, decay_form, mask),
    )
    adam_rate = scaled_rate(learning_rate, adam_lr_ratio)
    others = fallback(adam_rate, adam_beta_1, adam_beta_2, epsilon, adam_form, nesterov)
    optimizers = {
        "muon": matrices,
        "adam": with_weight_decay(others, learning_rate, adam_weight_decay, decay_form, mask),
    }
    excluded = functools.partial(is_excluded, exclude_layers, exclude_embeddings)

    def parts(params: Tree) -> Optimizer:
        labels = label_parts(params, resolve_mask(muon_mask, params), excluded)
        used = set(tf.nest.flatten(labels)) or set(optimizers)
        return partition({label: optimizers[label] for label in sorted(used)}, labels)

    def init(params: Tree) -> MuonState:
        resolve_mask(decay_mask, params)  # Raises if the mask has another structure.
        return MuonState(tf.zeros([], tf.int64), parts(params).init(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, MuonState]:
        updates, new = parts(params).update(grads, state.parts, params)
        return updates, MuonState(state.step + 1, new)

    return Optimizer(init, update)
