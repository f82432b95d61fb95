"""`Reading`: the options with which a file or the result of a function is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainlib.data.archives import Array
from trainlib.data.image_files import ImageOptions
from trainlib.data.labels import AUTO
from trainlib.data.preprocessing import TablePreprocessing


@dataclass(frozen=True)
class Reading:
    """Options with which a file is read.

    Attributes:
        target: column of a table to predict; None for the last column.
        task: "classification", "regression" or "auto".
        output_task: task of each array of targets, for several arrays.
        dtype: dtype of inputs and numeric targets, "float32" or "float64".
        preprocessing: rules of a table; None: rules are fitted to its training rows.
        training_rows: function of the targets outside the test part that returns the indices of
            the examples to which rules are fitted; None for all.
        stratify: whether a test part that is split off has the same fraction of each class.
        images: size, colors and classes of the images of a folder.
        sequences: whether integers [N, steps] are sequences, and not columns of numbers.
        weight_column: column of a table with weights of the examples; None for none.
        group_column: column of a table with groups of the examples; None for none.
        new_labels: whether the classes are taken from the table, and not from the rules.
    """

    target: str | None = None
    task: str = AUTO
    output_task: str = AUTO
    dtype: str = "float32"
    preprocessing: TablePreprocessing | None = None
    training_rows: Callable[[Array], Array] | None = None
    stratify: bool = True
    images: ImageOptions = ImageOptions()
    sequences: bool = False
    weight_column: str | None = None
    group_column: str | None = None
    new_labels: bool = False

    @property
    def other_columns(self) -> dict[str, str]:
        """Columns of a table that are not inputs, with a description of each."""
        held = {
            self.weight_column: "the weights of the examples",
            self.group_column: "the groups of the examples",
        }
        return {name: what for name, what in held.items() if name is not None}
