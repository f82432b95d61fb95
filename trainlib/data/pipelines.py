"""Pipelines of `tf.data` from custom functions: reads all their examples, or the first ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.examples import TEST, TRAIN, VALIDATION
from trainlib.data.image_files import MEMORY_BYTES
from trainlib.data.named_arrays import WHOLE, flat_names

SAMPLED = 10_000
"""Number of examples that are read from the start of a streamed pipeline."""
SAMPLED_BYTES = 2**28
"""Size in bytes after which no more of these examples are read."""
REMEDY = f"or read the part {TRAIN} in each epoch: stream_pipeline"


class Read(NamedTuple):
    """Examples that were read from a pipeline.

    Attributes:
        arrays: components of the examples, by their names in an archive.
        size: number of examples.
        rows: number of examples in the first batch; 0 if the pipeline yields single examples.
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
    """Read pipelines, and return their arrays by their names in an archive.

    Args:
        made: a `tf.data.Dataset` of (x, y) or (x, y, weight), batched or not, with x and y a tensor
            or a dict of tensors by name; or a dict of such data sets with the parts train and,
            optionally, validation and test.
        where: name of the function, for messages.

    Returns:
        The arrays, and a line on the number of examples.

    Raises:
        ValueError: a part has another name, a pipeline does not end or does not fit into memory, or
            its elements have another form.
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
    """Return pipelines by the names of their parts, after checks.

    Raises:
        ValueError: a part has another name, or there is no training part.
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
    """Return the components of an element, or of its spec, by their names in an archive."""
    kinds = zip(("x", "y", "weight"), element, strict=False)
    return {
        key: value for kind, given in kinds for key, value in flat_names(kind, part, given).items()
    }


def read(pipeline: Any, part: str, where: str, suffix: str, sample: bool = False) -> Read:
    """Read the elements of a pipeline, and concatenate their components.

    Args:
        pipeline: the `tf.data.Dataset`.
        part: part of the data.
        where: name of the pipeline, for messages.
        suffix: part in the names of the arrays; `WHOLE` for data without parts.
        sample: whether to read the first examples only. Default: False.

    Raises:
        ValueError: as of `read_pipelines`; or examples outside the training part have weights.
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
    in_batches = _in_batches(*spec[:2])
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


def _in_batches(x: Any, y: Any) -> bool:
    """Return whether the elements are batches: the first axes of all tensors have one length.

    The inputs of a batch have at least two axes: a vector is the features of one example. Targets
    of unknown length are those of a batch all the same, whose inputs are refused later.
    """
    import tensorflow as tf

    if 1 in [spec.shape.rank for spec in tf.nest.flatten(x)]:
        return all(s.shape.rank == 1 and s.shape[0] is None for s in tf.nest.flatten(y))
    specs = tf.nest.flatten((x, y))
    ranks = [spec.shape.rank for spec in specs]
    if None in ranks or 0 in ranks:
        return 0 not in ranks[1:]
    sizes = {spec.shape[0] for spec in specs}
    return None in sizes or len(sizes) == 1


def _joined(join: Any, parts: list[Array], where: str) -> Array:
    """Return the concatenation of arrays, which must have equal shapes."""
    try:
        joined: Array = join(parts)
    except ValueError:
        raise ValueError(
            f"{where}: the examples have several shapes; resize or pad them to one"
        ) from None
    return joined
