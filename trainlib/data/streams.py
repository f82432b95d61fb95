"""`Stream`: a pipeline of training examples that is read again in each epoch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.array_data import examples_of, from_arrays
from trainlib.data.examples import TEST, TRAIN, Dataset, Examples
from trainlib.data.named_arrays import WHOLE, flat_names
from trainlib.data.pipelines import are_pipelines, is_pipeline, named, parts_of, read
from trainlib.data.reading import Reading
from trainlib.data.validation import to_floats


class Stream(NamedTuple):
    """The training part of a data set that is too large for memory.

    Attributes:
        pipeline: `tf.data.Dataset` of (x, y) or (x, y, weight).
        rows: number of examples in the first batch; 0 if the pipeline yields single examples.
        where: name of the pipeline, for messages.
        reading: options for reading x and y.
        classes: number of classes in the other parts and the first examples, by output; "" is the
            name of a single output. 0 for regression.
        fingerprint: text that identifies the first examples.
    """

    pipeline: Any
    rows: int
    where: str
    reading: Reading
    classes: Mapping[str, int]
    fingerprint: str

    def batches(self, size: int) -> Any:
        """Return a `tf.data.Dataset` of batches of `batch_size` examples."""
        if not self.rows:
            return self.pipeline.batch(size)
        return self.pipeline if self.rows == size else self.pipeline.rebatch(size)

    def examples(self, batch: Any) -> tuple[Examples, Array | None]:
        """Return a batch as examples and weights; None for no weights.

        Raises:
            ValueError: a value is not valid, or the batch has a class that does not occur in the
                first examples or the other parts.
        """
        arrays = {key: np.asarray(value) for key, value in named(batch, WHOLE).items()}
        found = examples_of(arrays, self.where, WHOLE, self.reading)
        assert found is not None
        for name, classes in self.classes.items():
            y = found.y[name] if name else found.y
            if classes and y.max() >= classes:
                where = f"{self.where}, y_{name}" if name else self.where
                raise ValueError(
                    f"{where} has the class {y.max()}, but its first examples show the classes 0 "
                    f"to {classes - 1}: shuffle it, so that all are among them"
                )
        if "weight" not in arrays:
            return found, None
        weights = to_floats(arrays["weight"], f"{self.where}, weight", self.reading.dtype)
        if weights.shape != (found.size,) or (weights < 0).any():
            raise ValueError(
                f"{self.where}: weights must be one number of at least 0 for each example"
            )
        return found, weights


def open_stream(made: Any, name: str, reading: Reading) -> Dataset:
    """Return pipelines as a data set whose training part is streamed.

    Args:
        made: a dict of `tf.data.Dataset`s with the parts train, test and, optionally, validation.
            All parts but train are read into memory.
        name: name of the function that returned the dict.
        reading: options for reading x and y.

    Returns:
        A data set with a `Stream`. Its `train` has the first examples of the pipeline.

    Raises:
        ValueError: there is no test part; or as of `tl.data.as_dataset`.
    """
    where = f"dataset {name}"
    if not (is_pipeline(made) or are_pipelines(made)):
        raise ValueError(
            f"stream_pipeline is for a function that returns tf.data.Datasets, but {name} returned "
            f"{type(made).__name__}: leave it out"
        )
    parts = parts_of(made, where)
    if TEST not in parts:
        raise ValueError(
            f"{where}: a streamed pipeline is not split: return a dict of pipelines, "
            '{"train": ..., "validation": ..., "test": ...}'
        )
    arrays: dict[str, Array] = {}
    rows = 0
    for part, pipeline in parts.items():
        found = read(pipeline, part, f"{where}, {part}", part, sample=part == TRAIN)
        rows = found.rows if part == TRAIN else rows
        arrays |= found.arrays
    dataset = from_arrays(arrays, name, where, reading)
    identity = 0
    for kind, held in zip("xy", dataset.train, strict=True):
        for array in flat_names(kind, WHOLE, held).values():
            identity = zlib.crc32(array.tobytes(), identity)
    stream = Stream(
        parts[TRAIN],
        rows,
        f"{where}, {TRAIN}",
        reading,
        dataset.output_classes or {"": dataset.classes},
        f"a pipeline, crc32 of its first {dataset.train.size} examples {identity:08x}",
    )
    note = (
        f"{TRAIN} is read in each epoch, its first {dataset.train.size:,} examples are in memory: "
        "they say what the classes and the scales are"
    )
    return dataset._replace(notes=(note,), stream=stream)
