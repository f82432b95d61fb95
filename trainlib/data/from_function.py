"""Data sets that a custom function returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainlib.data.array_data import from_arrays
from trainlib.data.examples import TEST, TRAIN, Dataset
from trainlib.data.labels import AUTO
from trainlib.data.named_arrays import WHOLE, flat_names
from trainlib.data.pipelines import are_pipelines, is_pipeline, read_pipelines
from trainlib.data.reading import Reading
from trainlib.data.streams import open_stream


def as_dataset(
    name: str,
    made: Any,
    *,
    dtype: str = "float32",
    task: str = AUTO,
    output_task: str = AUTO,
    stratify: bool = True,
    sequences: bool = False,
    stream: bool = False,
) -> Dataset:
    """Convert the result of a custom function to a data set.

    Args:
        name: name of the function, for messages.
        made: a `Dataset`; `((x_train, y_train), (x_test, y_test))` as of Keras's data sets;
            `(x, y)`; a dict of arrays as in an .npz archive; or a `tf.data.Dataset` of (x, y) or
            (x, y, weight), batched or not, or a dict of these with the parts train, validation and
            test. Pipelines are read into memory once, unless they are streamed. For several inputs
            or outputs, x or y is a dict of arrays by name.
        dtype: dtype of inputs and targets other than images and labels, "float32" or "float64".
            Default: "float32".
        task: "classification", "regression", or "auto", the default: integers are classes.
        output_task: task of each array of targets, for several arrays. Default: "auto".
        stratify: whether a test part that is split off has the same fraction of each class.
            Default: True.
        sequences: whether integers [N, steps] are sequences. Default: False, columns of numbers.
        stream: whether the training part of a dict of pipelines is read again in each epoch.
            Default: False.

    Returns:
        A data set, as of `load_file` for an archive.

    Raises:
        ValueError: the result has another form, or its values are not valid.

    Example:
        >>> x, y = np.ones((10, 3)), np.arange(10) % 2
        >>> tl.data.as_dataset("mine:data", (x, y)).classes
        2
    """
    if isinstance(made, Dataset) and not stream:
        return made
    reading = Reading(
        task=task, output_task=output_task, dtype=dtype, stratify=stratify, sequences=sequences
    )
    if stream:
        return open_stream(made, name, reading)
    arrays: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    if is_pipeline(made) or are_pipelines(made):
        arrays, note = read_pipelines(made, f"dataset {name}")
        notes = (note,)
    elif isinstance(made, Mapping):
        arrays = dict(made)
    elif isinstance(made, (tuple, list)) and len(made) == 2:
        pairs = [part for part in made if isinstance(part, (tuple, list)) and len(part) == 2]
        parts = dict(zip((TRAIN, TEST), pairs, strict=True)) if len(pairs) == 2 else {WHOLE: made}
        for part, (x, y) in parts.items():
            arrays |= flat_names("x", part, x) | flat_names("y", part, y)
    if not arrays:
        raise ValueError(
            f"dataset {name}: must return (x, y), ((x_train, y_train), (x_test, y_test)), a dict "
            f"of these arrays, a tl.data.Dataset or a tf.data.Dataset, got {type(made).__name__}"
        )
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    return from_arrays(arrays, name, f"dataset {name}", reading)._replace(notes=notes)
