"""`TablePreprocessing`: the rules by which the columns of a table become the inputs of a model."""

from __future__ import annotations

import collections
import dataclasses
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.column_fitting import fit_column
from trainlib.data.columns import CategoryColumn, Column, DateColumn, Encoded, NumberColumn
from trainlib.data.frames import Frame
from trainlib.training.files import as_json, write_text
from trainlib.training.paths import printable, shown

PREPROCESSING_FILE = "preprocessing.json"
_KINDS: Mapping[str, Callable[..., Column]] = {
    kind.kind: kind for kind in (NumberColumn, CategoryColumn, DateColumn)
}


@dataclass(frozen=True)
class TablePreprocessing:
    """How the columns of a table become the inputs of a model, and its target becomes labels.

    Numbers, `True` and `False` are one input. Text is one-hot: an input of 0 and 1 for each
    category that two rows have, at most 100, and one for all others. Dates are days, and the sines
    and cosines of the time of year, of the week and of the day. An empty cell becomes the median,
    or no category; a further input says where training rows have empty cells. Left out are columns
    that are empty, and text that is the same in every row or nowhere occurs twice. Statistics are
    those of the training rows.

    Args:
        columns: rules of the columns, in the order of the inputs.
        target: name of the column to predict.
        classes: its classes as text, in the order of the labels. Default: (), it holds numbers.
        left_out: reasons by the names of the columns that are left out. Default: none.
        decimal: decimal mark of the table's numbers, "." or ",", which is that of further tables
            whose numbers show none. Default: None, the table's numbers show none.

    Example:
        >>> from pathlib import Path
        >>> text = "age,height,kind\\n20,1.5,cat\\n30,1.7,dog\\n40,1.6,cat\\n50,1.8,dog\\n"
        >>> _ = Path("kinds.csv").write_text(text)
        >>> rules = tl.data.load_dataset("kinds.csv").preprocessing
        >>> rules.inputs, rules.target, rules.classes
        (('age', 'height'), 'kind', ('cat', 'dog'))
    """

    columns: tuple[Column, ...]
    target: str
    classes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    decimal: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's inputs, the columns of x."""
        return tuple(name for column in self.columns for name in column.inputs)

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Whether each input is a quantity, to be standardized, and not an indicator."""
        return tuple(scaled for column in self.columns for scaled in column.scaled)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Names of the columns that are read as text."""
        return tuple(c.name for c in self.columns if not isinstance(c, NumberColumn))

    def encode(self, frame: Frame) -> Encoded:
        """Return the inputs of a frame's rows; columns are found by name, others are ignored.

        Raises:
            ValueError: a column is missing, or a cell is not of its column's kind.
        """
        for column in self.columns:
            if column.name == frame.target:
                raise ValueError(
                    f"{frame.name}: column {column.name!r} is to be predicted, but it is an input "
                    "of the model; name another by target"
                )
            if column.name not in frame.columns:
                raise ValueError(
                    f"{frame.name} has no column {column.name!r}; the model takes "
                    f"{', '.join(printable(c.name) for c in self.columns)}"
                )
        known = {"", *(c.name for c in self.columns), *self.left_out, self.target, frame.target}
        extra = [printable(name) for name in frame.columns if name not in known]
        notes = [f"columns ignored, which the model does not take: {', '.join(extra)}"]
        parts = [column.encode(frame) for column in self.columns]
        found = [*(notes if extra else []), *(note for part in parts for note in part.notes)]
        return Encoded(np.concatenate([part.x for part in parts], 1), tuple(found))

    def describe(self) -> tuple[str, ...]:
        """Return lines on the columns that are not plain numbers; () if all of them are."""
        if all(c.kind == NumberColumn.kind and not c.empty for c in self.columns):
            kept = []
        else:
            kinds = collections.Counter(c.kind for c in self.columns)
            counts = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
            kept = [f"columns: {counts}; {len(self.inputs)} inputs"]
        reasons = (
            f"{printable(name) or 'the first'} ({why})" for name, why in self.left_out.items()
        )
        rare = [
            f"{printable(c.name)} ({len(c.categories)} of {len(c.categories) + c.other})"
            for c in self.columns
            if isinstance(c, CategoryColumn) and c.other
        ]
        if rare:
            kept.append(
                f"categories with an input of their own, the others share one: {', '.join(rare)}"
            )
        return (*kept, *([f"columns left out: {', '.join(reasons)}"] if self.left_out else []))

    def to_json(self) -> str:
        """Return the rules as JSON."""
        columns = [{"kind": c.kind, **dataclasses.asdict(c)} for c in self.columns]
        return as_json({**dataclasses.asdict(self), "columns": columns}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TablePreprocessing:
        """Return the rules that `to_json` wrote.

        Raises:
            ValueError: the text does not hold such rules.
        """
        try:
            content = json.loads(text)
            columns = [_from_record(record) for record in content.pop("columns")]
            classes = tuple(content.pop("classes"))
            return cls(columns=tuple(columns), classes=classes, **content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no rules of a table: {error}") from error


def fit_preprocessing(
    frame: Frame,
    rows: Array,
    classes: Sequence[str] = (),
    others: Mapping[str, str] = MappingProxyType({}),
) -> TablePreprocessing:
    """Return the rules of a table's columns.

    Args:
        frame: the table.
        rows: indices of the training rows, from which all statistics are taken.
        classes: the classes of its target, in the order of the labels; (): it holds numbers.
        others: columns that are no inputs, with what they hold. Default: none.

    Raises:
        ValueError: no column is left, or a column mixes numbers and text or forms of dates.
    """
    columns: list[Column] = []
    left_out = {}
    for name in frame.columns:
        if name == frame.target:
            continue
        if name in others:
            left_out[name] = others[name]
            continue
        found = fit_column(frame, rows, name)
        if isinstance(found, str):
            left_out[name] = found
        else:
            columns.append(found)
    if not columns:
        raise ValueError(
            f"{frame.name} has no columns to predict {frame.target!r} from"
            + "".join(f"; {printable(name)}: {why}" for name, why in left_out.items())
        )
    return TablePreprocessing(tuple(columns), frame.target, tuple(classes), left_out, frame.decimal)


def write_preprocessing(folder: Path, rules: TablePreprocessing) -> None:
    """Write the rules of a table into a run's folder, whole or not at all."""
    write_text(folder / PREPROCESSING_FILE, rules.to_json())


def read_preprocessing(folder: Path) -> TablePreprocessing | None:
    """Return the rules of a table in a run's folder; None if there are none.

    Raises:
        ValueError: the file is damaged.
    """
    file = folder / PREPROCESSING_FILE
    return _from_text(file, file.read_text(encoding="utf-8")) if file.is_file() else None


def add_preprocessing(model: Path, rules: TablePreprocessing) -> None:
    """Add the rules of a table to a `.keras` file, which is an archive."""
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr(PREPROCESSING_FILE, rules.to_json())


def preprocessing_of_model(model: Path) -> TablePreprocessing | None:
    """Return the rules of the table that a `.keras` file was trained on; None if there are none.

    Raises:
        ValueError: they are damaged.
    """
    if zipfile.is_zipfile(model):
        with zipfile.ZipFile(model) as archive:
            if PREPROCESSING_FILE in archive.namelist():
                return _from_text(model, archive.read(PREPROCESSING_FILE).decode())
    return read_preprocessing(model.parent)


def _from_text(file: Path, text: str) -> TablePreprocessing:
    """Return the rules that a file holds."""
    try:
        return TablePreprocessing.from_json(text)
    except ValueError as error:
        raise ValueError(f"{shown(file)}: {error}") from error


def _from_record(record: dict[str, Any]) -> Column:
    """Return the rule of a column that JSON describes."""
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    return _KINDS[str(options.pop("kind"))](**options)
