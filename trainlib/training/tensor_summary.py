"""`TensorSummary`: the range of a tensor's values, and tables of such summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class TensorSummary(NamedTuple):
    """The range of a tensor's values.

    Attributes:
        name: part of the step and path in it, such as "gradient hidden/kernel".
        dtype: name of the dtype.
        shape: the shape.
        min: smallest finite element; NaN if there is none.
        max: largest finite element; NaN if there is none.
        mean: mean absolute value of the finite elements; NaN if there is none.
        nans: number of elements that are NaN.
        infs: number of elements that are infinite.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    min: float
    max: float
    mean: float
    nans: int
    infs: int

    @property
    def is_finite(self) -> bool:
        """Whether all elements are finite."""
        return self.nans + self.infs == 0


def summarize(name: str, x: Any) -> TensorSummary:
    """Return the summary of a tensor of any floating dtype."""
    values = np.asarray(x)
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    some = finite.size > 0
    return TensorSummary(
        name,
        tf.dtypes.as_dtype(values.dtype).name,
        values.shape,
        float(finite.min()) if some else np.nan,
        float(finite.max()) if some else np.nan,
        float(np.abs(finite).mean()) if some else np.nan,
        int(np.isnan(wide).sum()),
        int(np.isinf(wide).sum()),
    )


def first_nonfinite_tensor(summaries: Sequence[TensorSummary]) -> TensorSummary | None:
    """Return the first tensor with an infinite or NaN element; None if there is none."""
    return next((x for x in summaries if not x.is_finite), None)


def format_table(summaries: Sequence[TensorSummary]) -> str:
    """Return a table that marks the first tensor that is not finite and names it at the end."""
    bad = first_nonfinite_tensor(summaries)
    head = ("", "tensor", "dtype", "shape", "min", "max", "mean |x|", "NaN", "inf")
    rows = [head] + [
        (
            ">" if x is bad else "",
            x.name,
            x.dtype,
            "x".join(map(str, x.shape)) or "-",
            *(f"{number:.4g}" for number in (x.min, x.max, x.mean)),
            str(x.nans),
            str(x.infs),
        )
        for x in summaries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 4 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    found = "all tensors are finite"
    if bad is not None:
        found = f"the first tensor that is not finite: {bad.name}, {bad.nans} NaN, {bad.infs} inf"
    return "\n".join([*lines, found])
