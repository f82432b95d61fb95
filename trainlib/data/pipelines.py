"""Pipelines of `tf.data` that a custom function returns, read into memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.examples import TEST, TRAIN, VALIDATION
from trainlib.data.image_files import MEMORY_BYTES


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
    parts = dict(made) if isinstance(made, Mapping) else {TRAIN: made}
    unknown = [name for name in parts if name not in (TRAIN, VALIDATION, TEST)]
    if unknown or TRAIN not in parts:
        raise ValueError(
            f"{where}: the parts are {', '.join(map(str, parts))}; give {TRAIN}, and {VALIDATION} "
            f"and {TEST} if there are any"
        )
    arrays: dict[str, Array] = {}
    for part, pipeline in parts.items():
        suffix = "" if part == TRAIN and TEST not in parts else f"_{part}"
        names = [f"{kind}{suffix}" for kind in ("x", "y", "weight")]
        found = _read(pipeline, f"{where}, {part}")
        if len(found) == 3 and part != TRAIN:
            raise ValueError(f"{where}, {part}: only the examples of {TRAIN} have weights")
        arrays |= dict(zip(names, found, strict=False))
    sizes = [f"{len(x):,} {part}" for part, x in zip(parts, _inputs(arrays), strict=True)]
    return arrays, (
        f"{', '.join(sizes)} examples read into memory once; what the pipeline draws at random "
        "is the same in every epoch"
    )


def _inputs(arrays: Mapping[str, Array]) -> list[Array]:
    return [array for name, array in arrays.items() if name.startswith("x")]


def _read(pipeline: Any, where: str) -> list[Array]:
    """Return the components of the elements of a pipeline, joined."""
    import tensorflow as tf

    spec = pipeline.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or tf.nest.flatten(spec) != [*spec]:
        raise ValueError(
            f"{where}: the elements must be (x, y) or (x, y, weight) of one tensor each, got "
            f"{type(spec).__name__}"
        )
    if pipeline.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"{where}: the pipeline does not end; leave out repeat(), or use take(n)")
    in_batches = _in_batches(*spec[:2])
    found: list[list[Array]] = [[] for _ in spec]
    size = 0
    for element in pipeline.as_numpy_iterator():
        size += sum(np.asarray(part).nbytes for part in element)
        if size > MEMORY_BYTES:
            raise ValueError(
                f"{where}: the examples take more than {MEMORY_BYTES:,} bytes of memory; train "
                "with tl.Trainer.fit, which reads them in each epoch"
            )
        for column, part in zip(found, element, strict=True):
            column.append(np.asarray(part))
    if not found[0]:
        raise ValueError(f"{where}: the pipeline has no examples")
    join = np.concatenate if in_batches else np.stack
    return [_joined(join, column, where) for column in found]


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
