"""Muon: momentum made orthogonal, for matrices; Adam for all else.

    sum      M_t = mu M_(t-1) + g,             Q = M_t,  or with Nesterov  Q = g + mu M_t
    ema      M_t = mu M_(t-1) + (1 - mu) g,    Q = M_t,  or with Nesterov  Q = (1 - mu) g + mu M_t
    ema_bc   M_t as ema,   Q = M_t / (1 - mu^t),
             or with Nesterov   Q = mu M_t / (1 - mu^(t+1)) + (1 - mu) g / (1 - mu^t)

    X_0 = Q / (||Q|| + ns_epsilon)             of ns_eps_mode "clamp"  Q / max(||Q||, ns_epsilon)
    A   = X_k X_k^T
    X_(k+1) = a X_k + (b A + c A A) X_k,       k = 0 .. ns_steps - 1
    u   = -eta s X

    rms         s = rms_rate sqrt(max(rows, columns))
    rows_cols   s = sqrt(max(1, rows / columns))
    cols_rows   s = sqrt(max(1, columns / rows))
    none        s = 1

mu: momentum. t = 1 at the first update. A matrix of more rows than columns is transposed for the
iteration, which makes A small and changes nothing else.
"""

from __future__ import annotations

import functools
import math
import numbers
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number, check_rate
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.norms import global_norm as norm
from trainlib.core.tree import leafwise, paths, resolve_mask, scalar, zeros_like
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.optimizers.adam import adam
from trainlib.optimizers.nadam import nadam, nesterov_mean
from trainlib.transforms.decay import Mask, with_weight_decay
from trainlib.transforms.mask import partition

MOMENTUM_FORMS = ("sum", "ema", "ema_bc")
NS_EPS_MODES = ("add", "clamp")
SCALES = ("rms", "rows_cols", "cols_rows", "none")
ADAM_FORMS = ("folded", "corrected", "nesterov")

Coefficients: TypeAlias = Sequence[Any]
"""a, b and c of each step of the iteration, or a sequence of such triples, one a step."""


def muon_rule(
    g: Tensor,
    M: Tensor,
    *,
    t: Tensor,
    learning_rate: Tensor,
    momentum: Tensor,
    ns_epsilon: Tensor,
    rms_rate: Tensor,
    nesterov: bool,
    momentum_form: str,
    coefficients: Sequence[Sequence[float]],
    ns_eps_mode: str,
    ns_dtype: Any,
    scale: str,
) -> tuple[Tensor, Tensor]:
    """Muon (Jordan et al. 2024)."""
    share = 1.0 if momentum_form == "sum" else 1 - momentum
    M = momentum * M + share * g
    if momentum_form == "ema_bc":
        P = momentum**t
        Q = nesterov_mean(g, M, momentum, momentum, P) if nesterov else M / (1 - P)
    else:
        Q = share * g + momentum * M if nesterov else M
    X = orthogonalize(Q, coefficients, ns_epsilon, ns_eps_mode, ns_dtype or Q.dtype)
    return -learning_rate * shape_scale(Q.shape.as_list(), scale, rms_rate) * X, M


def orthogonalize(
    Q: Tensor,
    coefficients: Sequence[Sequence[float]],
    ns_epsilon: Tensor,
    ns_eps_mode: str,
    ns_dtype: Any,
) -> Tensor:
    """Nearly the orthogonal matrix next to Q, by Newton and Schulz's iteration.

    Its products are in ns_dtype, its sums in Q's.
    """

    def product(x: Tensor, y: Tensor) -> Tensor:
        return tf.cast(tf.cast(x, ns_dtype) @ tf.cast(y, ns_dtype), Q.dtype)

    size = norm(Q)
    size = tf.maximum(size, ns_epsilon) if ns_eps_mode == "clamp" else size + ns_epsilon
    tall = Q.shape[0] > Q.shape[1]
    X = (tf.transpose(Q) if tall else Q) / size
    for a, b, c in coefficients:
        A = product(X, tf.transpose(X))
        X = a * X + product(b * A + c * product(A, A), X)
    return tf.transpose(X) if tall else X


def shape_scale(shape: list[int], scale: str, rms_rate: Tensor) -> Tensor | float:
    """s, the factor by which a matrix of this shape steps."""
    rows, columns = (max(1, size) for size in shape)  # An empty matrix steps nowhere.
    if scale == "rms":
        return rms_rate * math.sqrt(max(rows, columns))
    if scale == "rows_cols":
        return math.sqrt(max(1, rows / columns))
    return math.sqrt(max(1, columns / rows)) if scale == "cols_rows" else 1.0


class MomentumState(NamedTuple):
    """step: updates made, int64 []. M: momentum, like the matrices."""

    step: Tensor
    M: Tree


class MuonState(NamedTuple):
    """step: updates made, int64 [].

    parts: {"muon": MomentumState, "adam": AdamState or NadamState}, each of its own parameters, a
    dict by path; a part without parameters is not there.
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
    """Muon for matrices, Adam with decoupled weight decay for all other parameters.

        sum     M_t = momentum M_(t-1) + g,                   Q = g + momentum M_t
        ema     M_t = momentum M_(t-1) + (1 - momentum) g,    Q = (1 - momentum) g + momentum M_t
        ema_bc  as ema, the bias of both terms of Q corrected
        w_t = w_(t-1) - eta s NewtonSchulz(Q)

    Q = M_t without Nesterov. See the head of the file for the iteration and for s.

    Args:
        learning_rate: eta; a number of at least 0, a scalar tensor, or a schedule. 0.001, of
            "paper" 0.02.
        momentum: in [0, 1).
        nesterov: whether Q looks ahead.
        ns_steps: steps of the iteration, at least 1.
        weight_decay: of the matrices, at least 0. 0.004 (keras), 0.1 (torch), 0 (optax, paper).
        adam_beta_1, adam_beta_2, epsilon: of Adam; see `adam`.
        adam_weight_decay: of Adam's parameters, at least 0; a share of eta. 0.004 (keras), 0.01
            (torch), 0 (optax, paper).
        adam_lr_ratio: Adam's learning rate over eta, at least 0; its weight decay takes eta.
        adam_form: "folded", "corrected", or "nesterov": corrected, and where `nesterov` is set
            `nadam` with a constant momentum.
        momentum_form: "sum", "ema" or "ema_bc".
        ns_coefficients: a, b and c; or a sequence of such triples, one a step, in place of
            ns_steps.
        ns_epsilon: at least 0. 1e-7, of "optax" 1e-8.
        ns_eps_mode: "add": added to the norm; "clamp": the least norm.
        ns_dtype: the dtype of the iteration's matrix products, such as "bfloat16"; None is the
            rule's own.
        scale: s, "rms", "rows_cols", "cols_rows" or "none".
        rms_rate: of the scale "rms", at least 0.
        muon_mask: which matrices Muon takes: a structure of bools or a function of the path; all
            by default. Parameters that are not matrices are Adam's in any case.
        exclude_layers: regular expressions; a matrix whose path has a match is Adam's.
        exclude_embeddings: whether a matrix with "embedding" in its path is Adam's.
        decay_form: "pre", "add", "add_abs" or "l2"; "pre" and "add" are the same up to rounding.
        decay_mask: which parameters decay: a structure of bools or a function of the path.
        convention: "keras" (sum, scale rms, folded Adam), "torch" (ema, clamp, rows_cols, in
            bfloat16), "optax" (ema_bc, cols_rows, Nesterov's Adam) or "paper" (sum, rows_cols, in
            bfloat16).

    Raises:
        ValueError, TypeError: a hyperparameter out of its range, or of another type.

    Differs from: PyTorch's, which takes matrices alone, and rounds sums to bfloat16 too. Keras's
    rms_rate=None is scale="none". Optax's other preconditionings, its adaptive form, and its
    reshaping of other tensors to matrices are not here.

    Reference: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; Liu
    et al. 2025, "Muon is Scalable for LLM Training" (the scale "rms").
    """
    check_muon(learning_rate, momentum, adam_lr_ratio, ns_epsilon, rms_rate)
    check_choice("momentum_form", momentum_form, MOMENTUM_FORMS)
    check_choice("ns_eps_mode", ns_eps_mode, NS_EPS_MODES)
    check_choice("scale", scale, SCALES)
    check_choice("adam_form", adam_form, ADAM_FORMS)
    rule = functools.partial(
        muon_rule,
        nesterov=nesterov,
        momentum_form=momentum_form,
        coefficients=triples(ns_coefficients, ns_steps),
        ns_eps_mode=ns_eps_mode,
        ns_dtype=None if ns_dtype is None else tf.as_dtype(ns_dtype),
        scale=scale,
    )
    own_mask = mask_by_path(decay_mask)

    def init_momentum(params: Tree) -> MomentumState:
        return MomentumState(tf.zeros([], tf.int64), zeros_like(params))

    def step(grads: Tree, state: State, params: Tree) -> tuple[Tree, MomentumState]:
        t = state.step + 1
        updates, M = leafwise(
            rule,
            grads,
            state.M,
            t=t,
            learning_rate=rate_at(learning_rate, state.step),
            momentum=momentum,
            ns_epsilon=ns_epsilon,
            rms_rate=rms_rate,
        )
        return updates, MomentumState(t, M)

    def adam_rate(k: Tensor) -> Tensor | float:
        rate = rate_at(learning_rate, k)
        return rate * (scalar(adam_lr_ratio, rate) if tf.is_tensor(rate) else adam_lr_ratio)

    matrices = Optimizer(init_momentum, step)
    rest = fallback(adam_rate, adam_beta_1, adam_beta_2, epsilon, adam_form, nesterov)
    optimizers = {
        "muon": with_weight_decay(matrices, learning_rate, weight_decay, decay_form, own_mask),
        "adam": with_weight_decay(rest, learning_rate, adam_weight_decay, decay_form, own_mask),
    }

    def parts(params: Tree) -> Optimizer:
        excluded = functools.partial(is_excluded, exclude_layers, exclude_embeddings)
        labels = label_parts(params, resolve_mask(muon_mask, params), excluded)
        used = set(tf.nest.flatten(labels))
        return partition({label: optimizers[label] for label in sorted(used)}, labels)

    def init(params: Tree) -> MuonState:
        resolve_mask(decay_mask, params)
        return MuonState(tf.zeros([], tf.int64), parts(params).init(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, MuonState]:
        updates, new = parts(params).update(grads, state.parts, params)
        return updates, MuonState(state.step + 1, new)

    return Optimizer(init, update)


def fallback(
    rate: ScalarOrSchedule,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    adam_form: str,
    nesterov: bool,
) -> Optimizer:
    """The optimizer of what Muon does not take."""
    if adam_form == "nesterov" and nesterov:
        return nadam(rate, beta_1, beta_2, epsilon, convention="optax")
    bias_form = "folded" if adam_form == "folded" else "corrected"
    return adam(rate, beta_1, beta_2, epsilon, bias_form=bias_form)


def label_parts(params: Tree, taken: Tree, excluded: Any) -> Tree:
    """ "muon" for the matrices that Muon takes, "adam" for all else."""

    def label(w: Tensor, path: str, is_taken: bool) -> str:
        is_muon = len(w.shape) == 2 and is_taken and not excluded(path)
        return "muon" if is_muon else "adam"

    return tf.nest.map_structure(label, params, paths(params), taken)


def is_excluded(patterns: Sequence[str], embeddings: bool, path: str) -> bool:
    """Whether a path has a match of one of the patterns, or is that of an embedding."""
    if embeddings and "embedding" in path.lower():
        return True
    return any(re.search(pattern, path) for pattern in patterns)


def mask_by_path(mask: Mask) -> Mask:
    """A mask that can be asked of a part of the parameters: a function of the path, or None."""
    if mask is None or callable(mask):
        return mask
    taken = dict(zip(tf.nest.flatten(paths(mask)), tf.nest.flatten(mask), strict=True))
    return taken.__getitem__


def triples(ns_coefficients: Coefficients, ns_steps: int) -> list[tuple[float, float, float]]:
    """a, b and c of each step."""
    check_number("ns_steps", ns_steps, at_least=1)
    one = [isinstance(x, numbers.Real) for x in ns_coefficients]
    rows = [ns_coefficients] * ns_steps if all(one) else list(ns_coefficients)
    if not rows or any(isinstance(row, numbers.Real) or len(row) != 3 for row in rows):
        raise ValueError(
            f"ns_coefficients must be three numbers or a sequence of such triples, got "
            f"{ns_coefficients!r}"
        )
    return [(float(a), float(b), float(c)) for a, b, c in rows]


def check_muon(
    learning_rate: ScalarOrSchedule,
    momentum: float,
    adam_lr_ratio: float,
    ns_epsilon: float,
    rms_rate: float,
) -> None:
    """Raises unless the numbers of the rule are in their ranges; Adam's are checked by Adam."""
    check_rate("learning_rate", learning_rate)
    check_number("momentum", momentum, at_least=0, below=1)
    check_number("adam_lr_ratio", adam_lr_ratio, at_least=0)
    check_number("ns_epsilon", ns_epsilon, at_least=0)
    check_number("rms_rate", rms_rate, at_least=0)
