"""`TablePreprocessing`: rules that turn the columns of a table into the inputs of a model."""

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
    """Rules that turn the columns of a table into inputs of a model, and the target into labels.

    A column of numbers, `True` and `False` is one input. Text is one-hot: there is an input for
    each category that occurs in two rows, for at most 100 categories, and one for all others. Dates
    are days, and sines and cosines of the time of year, of the week and of the day. An empty cell
    becomes the median, or no category; a column with empty cells in training rows has a further
    input that marks them. Empty columns, and text that is constant or different in every row, are
    left out. All statistics are those of the training rows.

    Args:
        columns: rules of the columns, in the order of the inputs.
        target: name of the column to predict.
        classes: classes of the target as text, in the order of the labels. Default: (), the target
            has numbers.
        left_out: for each column that is left out, the reason. Default: none.
        decimal: decimal mark of the table's numbers, "." or ",", which is also assumed for further
            tables with ambiguous numbers. Default: None, all numbers are integers.

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
        """Return the inputs for a frame's rows. Columns are found by name; others are ignored.

        Raises:
            ValueError: a column is missing, or a cell does not have the type of its column.
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
        """Return lines on the columns other than plain numbers; () if there are none."""
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
            ValueError: the text does not have such rules.
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
    """Fit rules to the columns of a table.

    Args:
        frame: the table.
        rows: indices of the training rows, to which the rules are fitted.
        classes: classes of the target, in the order of the labels; () for numbers.
        others: columns that are not inputs, with a description of each. Default: {}.

    Raises:
        ValueError: no column is left, or a column mixes numbers and text or formats of dates.
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
    """Write the rules of a table into a run's folder, atomically."""
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
    """Return the rules of a table in a `.keras` file; None if there are none.

    Raises:
        ValueError: the rules are damaged.
    """
    if zipfile.is_zipfile(model):
        with zipfile.ZipFile(model) as archive:
            if PREPROCESSING_FILE in archive.namelist():
                return _from_text(model, archive.read(PREPROCESSING_FILE).decode())
    return read_preprocessing(model.parent)


def _from_text(file: Path, text: str) -> TablePreprocessing:
    """Return the rules in the text of a file."""
    try:
        return TablePreprocessing.from_json(text)
    except ValueError as error:
        raise ValueError(f"{shown(file)}: {error}") from error


def _from_record(record: dict[str, Any]) -> Column:
    """Return the rule of a column from its JSON."""
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    return _KINDS[str(options.pop("kind"))](**options)
