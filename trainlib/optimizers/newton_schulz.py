"""The Newton-Schulz iteration, which makes a matrix nearly orthogonal; for `muon`."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from trainlib.core.norms import global_norm
from trainlib.core.types import Tensor

Coefficients: TypeAlias = Sequence[Any]
"""a, b and c of each step of the iteration, or a sequence of such triples, one for each step."""


def orthogonalize(
    Q: Tensor,
    coefficients: Sequence[Sequence[float]],
    ns_epsilon: Tensor,
    ns_eps_mode: str,
    ns_dtype: Any = None,
) -> Tensor:
    """Return nearly the orthogonal matrix that is closest to Q.

        X_0     = Q / (||Q|| + ns_epsilon) (add), Q / max(||Q||, ns_epsilon) (clamp)
        A       = X_k X_k^T
        X_(k+1) = a X_k + (b A + c A A) X_k

    A matrix with more rows than columns is transposed for the iteration, which makes A small and
    changes nothing else.

    Args:
        Q: a matrix.
        coefficients: a, b and c of each step.
        ns_epsilon: a small number that keeps the norm above 0.
        ns_eps_mode: "add" or "clamp".
        ns_dtype: the dtype of the matrix products; sums are in the dtype of Q. Default: None, which
            is the dtype of Q.
    """

    def product(x: Tensor, y: Tensor) -> Tensor:
        dtype = ns_dtype or Q.dtype
        return tf.cast(tf.cast(x, dtype) @ tf.cast(y, dtype), Q.dtype)

    size = global_norm(Q)
    size = tf.maximum(size, ns_epsilon) if ns_eps_mode == "clamp" else size + ns_epsilon
    tall = Q.shape[0] > Q.shape[1]
    X = (tf.transpose(Q) if tall else Q) / size
    for a, b, c in coefficients:
        A = product(X, tf.transpose(X))
        X = a * X + product(b * A + c * product(A, A), X)
    return tf.transpose(X) if tall else X


def step_coefficients(
    ns_coefficients: Coefficients, ns_steps: int
) -> list[tuple[float, float, float]]:
    """Return a, b and c of each step.

    Raises:
        ValueError: neither three numbers nor a sequence of such triples.
    """
    one = [isinstance(x, numbers.Real) for x in ns_coefficients]
    rows = [ns_coefficients] * ns_steps if all(one) else list(ns_coefficients)
    if not rows or any(isinstance(row, numbers.Real) or len(row) != 3 for row in rows):
        raise ValueError(
            f"ns_coefficients must be three numbers or a sequence of such triples, got "
            f"{ns_coefficients!r}"
        )
    return [(float(a), float(b), float(c)) for a, b, c in rows]
