"""Pipelines of `tf.data` that a custom function returns: their arrays, or the first examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.examples import TEST, TRAIN, VALIDATION
from trainlib.data.image_files import MEMORY_BYTES

SAMPLED = 10_000
"""Number of first examples that are read of a pipeline that is streamed."""
SAMPLED_BYTES = 2**28
"""Size of the examples after which no more of them are read."""
REMEDY = f"or read the part {TRAIN} in each epoch: stream_pipeline"


class Read(NamedTuple):
    """What was read of a pipeline.

    Attributes:
        arrays: its components.
        rows: number of examples of its first batch; 0 if it yields single examples.
    """

    arrays: list[Array]
    rows: int


def is_pipeline(made: Any) -> bool:
    """Return whether an object is a `tf.data.Dataset`."""
    return hasattr(made, "element_spec") and hasattr(made, "as_numpy_iterator")


def are_pipelines(made: Any) -> bool:
    """Return whether an object is a dict of `tf.data.Dataset`s."""
    return isinstance(made, Mapping) and bool(made) and all(map(is_pipeline, made.values()))


def read_pipelines(made: Any, where: str) -> tuple[dict[str, Array], str]:
    """Return the arrays of a pipeline, or of those of the parts, by the names of an archive.

    Args:
        made: a `tf.data.Dataset` of (x, y) or (x, y, weight), in batches or not; or a dict of such
            data sets: train, and validation and test if there are any.
        where: name of the function, for messages.

    Returns:
        The arrays x and y, or those of the parts; and a line on how much was read.

    Raises:
        ValueError: a part has another name, a pipeline does not end or does not fit in memory, or
            its elements are something else.
    """
    parts = parts_of(made, where)
    arrays: dict[str, Array] = {}
    for part, pipeline in parts.items():
        suffix = "" if part == TRAIN and TEST not in parts else f"_{part}"
        arrays |= named(read(pipeline, f"{where}, {part}").arrays, f"{where}, {part}", part, suffix)
    inputs = [array for name, array in arrays.items() if name.startswith("x")]
    sizes = [f"{len(x):,} {part}" for part, x in zip(parts, inputs, strict=True)]
    return arrays, (
        f"{', '.join(sizes)} examples read into memory once; what the pipeline draws at random "
        "is the same in every epoch"
    )


def parts_of(made: Any, where: str) -> dict[str, Any]:
    """Return pipelines by the names of the parts, of which one must be that of the training.

    Raises:
        ValueError: a part has another name.
    """
    parts = dict(made) if isinstance(made, Mapping) else {TRAIN: made}
    unknown = [name for name in parts if name not in (TRAIN, VALIDATION, TEST)]
    if unknown or TRAIN not in parts:
        raise ValueError(
            f"{where}: the parts are {', '.join(map(str, parts))}; give {TRAIN}, and {VALIDATION} "
            f"and {TEST} if there are any"
        )
    return parts


def named(found: list[Array], where: str, part: str, suffix: str) -> dict[str, Array]:
    """Return the components of a part by their names in an archive.

    Raises:
        ValueError: other examples than those of the training have weights.
    """
    if len(found) == 3 and part != TRAIN:
        raise ValueError(f"{where}: only the examples of {TRAIN} have weights")
    return dict(zip((f"{kind}{suffix}" for kind in ("x", "y", "weight")), found, strict=False))


def read(pipeline: Any, where: str, sample: bool = False) -> Read:
    """Return the components of the elements of a pipeline, joined.

    Args:
        pipeline: the `tf.data.Dataset`.
        where: its name, for messages.
        sample: whether the first examples are enough. Default: False, all are read.

    Raises:
        ValueError: as for `read_pipelines`.
    """
    import tensorflow as tf

    spec = pipeline.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or tf.nest.flatten(spec) != [*spec]:
        raise ValueError(
            f"{where}: the elements must be (x, y) or (x, y, weight) of one tensor each, got "
            f"{type(spec).__name__}"
        )
    if not sample and pipeline.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"{where}: the pipeline does not end; leave out repeat(), {REMEDY}")
    in_batches = _in_batches(*spec[:2])
    found: list[list[Array]] = [[] for _ in spec]
    count = size = 0
    for element in pipeline.as_numpy_iterator():
        values = [np.asarray(part) for part in element]
        for column, value in zip(found, values, strict=True):
            column.append(value)
        count += len(values[0]) if in_batches else 1
        size += sum(value.nbytes for value in values)
        if sample and (count >= SAMPLED or size >= SAMPLED_BYTES):
            break
        if size > MEMORY_BYTES:
            raise ValueError(
                f"{where}: the examples take more than {MEMORY_BYTES:,} bytes of memory; take "
                f"fewer by take(n), {REMEDY}"
            )
    if not found[0]:
        raise ValueError(f"{where}: the pipeline has no examples")
    join = np.concatenate if in_batches else np.stack
    rows = len(found[0][0]) if in_batches else 0
    return Read([_joined(join, column, where) for column in found], rows)


def _in_batches(x: Any, y: Any) -> bool:
    """Return whether the elements are batches: both tensors have a first axis of one length."""
    if x.shape.rank in (None, 0) or y.shape.rank in (None, 0):
        return bool(y.shape.rank != 0)
    sizes = (x.shape[0], y.shape[0])
    return None in sizes or sizes[0] == sizes[1]


def _joined(join: Any, parts: list[Array], where: str) -> Array:
    """Return arrays joined to one; they need one shape."""
    try:
        joined: Array = join(parts)
    except ValueError:
        raise ValueError(
            f"{where}: the examples have several shapes; resize or pad them to one"
        ) from None
    return joined
