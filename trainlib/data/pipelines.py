"""Pipelines of `tf.data` that a custom function returns: their arrays, or the first examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.examples import TEST, TRAIN, VALIDATION
from trainlib.data.image_files import MEMORY_BYTES
from trainlib.data.named_arrays import WHOLE, flat_names

SAMPLED = 10_000
"""Number of first examples that are read of a pipeline that is streamed."""
SAMPLED_BYTES = 2**28
"""Size of the examples after which no more of them are read."""
REMEDY = f"or read the part {TRAIN} in each epoch: stream_pipeline"


class Read(NamedTuple):
    """What was read of a pipeline.

    Attributes:
        arrays: its components by the names of an archive.
        size: number of its examples.
        rows: number of examples of its first batch; 0 if it yields single examples.
    """

    arrays: dict[str, Array]
    size: int
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
        made: a `tf.data.Dataset` of (x, y) or (x, y, weight), in batches or not, x and y a tensor
            or a dict of tensors by name; or a dict of such data sets: train, and validation and
            test if there are any.
        where: name of the function, for messages.

    Returns:
        The arrays x and y, or those of the parts; and a line on how much was read.

    Raises:
        ValueError: a part has another name, a pipeline does not end or does not fit in memory, or
            its elements are something else.
    """
    parts = parts_of(made, where)
    arrays: dict[str, Array] = {}
    sizes: list[str] = []
    for part, pipeline in parts.items():
        suffix = WHOLE if part == TRAIN and TEST not in parts else part
        found = read(pipeline, part, f"{where}, {part}", suffix)
        arrays |= found.arrays
        sizes.append(f"{found.size:,} {part}")
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


def named(element: Any, part: str) -> dict[str, Any]:
    """Return the components of an element, or of its specification, by the names of an archive."""
    kinds = zip(("x", "y", "weight"), element, strict=False)
    return {
        key: value for kind, given in kinds for key, value in flat_names(kind, part, given).items()
    }


def read(pipeline: Any, part: str, where: str, suffix: str, sample: bool = False) -> Read:
    """Return the components of the elements of a pipeline, joined.

    Args:
        pipeline: the `tf.data.Dataset`.
        part: the part of the data that it is.
        where: its name, for messages.
        suffix: the part in the names of the arrays; `WHOLE` if there are no others.
        sample: whether the first examples are enough. Default: False, all are read.

    Raises:
        ValueError: as for `read_pipelines`; or other examples than those of the training have
            weights.
    """
    import tensorflow as tf

    spec = pipeline.element_spec
    is_known = isinstance(spec, tuple) and len(spec) in (2, 3)
    specs = named(spec, suffix) if is_known else {}
    if not specs or tf.nest.flatten(specs) != [specs[key] for key in sorted(specs)]:
        raise ValueError(
            f"{where}: the elements must be (x, y) or (x, y, weight), of one tensor each or dicts "
            f"of tensors by the names of inputs and outputs, got {type(spec).__name__}"
        )
    if not sample and pipeline.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"{where}: the pipeline does not end; leave out repeat(), {REMEDY}")
    if part != TRAIN and len(spec) == 3:
        raise ValueError(f"{where}: only the examples of {TRAIN} have weights")
    in_batches = _in_batches(*tf.nest.flatten(spec[:2]))
    found: dict[str, list[Array]] = {key: [] for key in specs}
    count = size = 0
    for element in pipeline.as_numpy_iterator():
        values = {key: np.asarray(value) for key, value in named(element, suffix).items()}
        for key, value in values.items():
            found[key].append(value)
        count += len(next(iter(values.values()))) if in_batches else 1
        size += sum(value.nbytes for value in values.values())
        if sample and (count >= SAMPLED or size >= SAMPLED_BYTES):
            break
        if size > MEMORY_BYTES:
            raise ValueError(
                f"{where}: the examples take more than {MEMORY_BYTES:,} bytes of memory; take "
                f"fewer by take(n), {REMEDY}"
            )
    if not count:
        raise ValueError(f"{where}: the pipeline has no examples")
    join = np.concatenate if in_batches else np.stack
    rows = len(next(iter(found.values()))[0]) if in_batches else 0
    joined = {key: _joined(join, column, where) for key, column in found.items()}
    return Read(joined, count, rows)


def _in_batches(*specs: Any) -> bool:
    """Return whether the elements are batches: all tensors have a first axis of one length."""
    ranks = [spec.shape.rank for spec in specs]
    if None in ranks or 0 in ranks:
        return 0 not in ranks[1:]
    sizes = {spec.shape[0] for spec in specs}
    return None in sizes or len(sizes) == 1


def _joined(join: Any, parts: list[Array], where: str) -> Array:
    """Return arrays joined to one; they need one shape."""
    try:
        joined: Array = join(parts)
    except ValueError:
        raise ValueError(
            f"{where}: the examples have several shapes; resize or pad them to one"
        ) from None
    return joined
