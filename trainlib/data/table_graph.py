"""The rules of a table's columns in TensorFlow, for models that take raw cells.

A cell is a number, or a date in seconds since 1970 in UTC, both NaN for an empty cell; or text, ""
for an empty cell.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.data.archives import Array
from trainlib.data.columns import CategoryColumn, Column, NumberColumn
from trainlib.data.frames import Frame, parse_dates
from trainlib.data.preprocessing import TablePreprocessing

DAY = 86400.0
"""Seconds."""


def cell_dtypes(rules: TablePreprocessing) -> dict[str, str]:
    """Return the dtype of the cells of each column, "string" or "float64", by name."""
    return {c.name: "string" if isinstance(c, CategoryColumn) else "float64" for c in rules.columns}


def cells_of(frame: Frame, rules: TablePreprocessing) -> dict[str, Array]:
    """Return the cells of a frame by column, for the columns of a model."""
    return {column.name: _cells(column, frame.columns[column.name]) for column in rules.columns}


def _cells(column: Column, values: Array) -> Array:
    if isinstance(column, NumberColumn):
        return values.astype(np.float64)
    if isinstance(column, CategoryColumn):
        return np.array(["" if x is None else x for x in values], object)
    return parse_dates(values, column.format) * DAY


def encode_cells(
    rules: TablePreprocessing, cells: Mapping[str, Tensor], dtype: str = "float64"
) -> Tensor:
    """Return the inputs of a model [N, inputs], as `TablePreprocessing.encode` does.

    Args:
        rules: rules of the columns.
        cells: the cells [N] of each column by name, text or numbers.
        dtype: dtype of the numbers. Default: "float64".
    """
    parts = [part for column in rules.columns for part in _encode(column, cells[column.name])]
    return tf.stack([tf.cast(part, dtype) for part in parts], axis=1)


def _encode(column: Column, x: Tensor) -> list[Tensor]:
    """Return the inputs [N] of a column."""
    if isinstance(column, CategoryColumn):
        found = [tf.equal(x, category) for category in column.categories]
        empty = tf.equal(x, "")
        if column.other:
            found.append(~tf.reduce_any(tf.stack([empty, *found]), axis=0))
        return [*found, empty] if column.empty else found
    empty = tf.math.is_nan(x)
    indicator = [empty] if column.empty else []
    if isinstance(column, NumberColumn):
        median, origin = tf.constant(column.median, x.dtype), tf.constant(column.origin, x.dtype)
        return [tf.where(empty, median, x) - origin, *indicator]
    days = tf.where(empty, tf.constant(column.origin, x.dtype), x / DAY)
    found = [days - column.origin]
    for period in column.periods.values():
        angle = 2 * np.pi * days / period
        found += [tf.where(empty, tf.zeros_like(x), f(angle)) for f in (tf.sin, tf.cos)]
    return [*found, *indicator]
