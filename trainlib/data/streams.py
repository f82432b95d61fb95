"""`Stream`: a pipeline of training examples that is read in each epoch, and not kept in memory."""

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
    """The training part of a data set whose `train` holds the first examples only.

    Attributes:
        pipeline: `tf.data.Dataset` of (x, y) or (x, y, weight).
        rows: number of examples of its first batch; 0 if it yields single examples.
        where: its name, for messages.
        reading: how x and y are read.
        classes: number of classes in the other parts and the first examples by output, whose name
            is "" where there is only one; 0 for regression.
        fingerprint: text that identifies the first examples.
    """

    pipeline: Any
    rows: int
    where: str
    reading: Reading
    classes: Mapping[str, int]
    fingerprint: str

    def batches(self, size: int) -> Any:
        """Return a `tf.data.Dataset` of batches of that many examples."""
        if not self.rows:
            return self.pipeline.batch(size)
        return self.pipeline if self.rows == size else self.pipeline.rebatch(size)

    def examples(self, batch: Any) -> tuple[Examples, Array | None]:
        """Return a batch as examples, with their weights if there are any.

        Raises:
            ValueError: its values are not valid, or it has a class that the first examples and the
                other parts do not have.
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
        made: a dict of `tf.data.Dataset`s with the parts train, test, and validation if there is
            one. All but train are read into memory.
        name: name of the function that returned them.
        reading: how x and y are read.

    Returns:
        A data set with a `Stream`. Its `train` holds the first examples of the pipeline.

    Raises:
        ValueError: there is no test part; and what `tl.data.as_dataset` raises.
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
