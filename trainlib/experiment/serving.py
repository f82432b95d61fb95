"""A run's model as it is exported: raw values by name in, predictions by name out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import trainlib
from trainlib.core.types import Tensor, Tree
from trainlib.data.columns import CategoryColumn, DateColumn, NumberColumn
from trainlib.data.files import is_table
from trainlib.data.frames import Frame, read_frame
from trainlib.data.preprocessing import TablePreprocessing
from trainlib.data.table_graph import cell_dtypes, cells_of, encode_cells
from trainlib.experiment.custom_model import check_input, input_tensors
from trainlib.experiment.model_signature import inputs_of, shapes_of
from trainlib.experiment.result import Log
from trainlib.experiment.run_prediction import load_run_inputs, run_signature
from trainlib.experiment.saved_run import SavedRun, load_run_model, score_name
from trainlib.models import RECONSTRUCTING
from trainlib.models.signature import ModelSignature
from trainlib.training.evaluator import Evaluator
from trainlib.training.paths import expanded, shown

EXAMPLES = 64
"""Number of examples for the comparison of an exported model with the run's model."""
INPUT = "x"
CLASS = "class"


class Serving(NamedTuple):
    """A model to export, and examples for a comparison of the exported model.

    Attributes:
        model: a Keras model from a dict of raw values by input to a dict of predictions by output.
        signature: shape and dtype of each input.
        examples: raw values [N, ...] by input.
        expected: predictions for these examples by output.
        classes: names of the classes by the output with their probabilities.
        metadata: description of the inputs, the outputs and the classes, for other programs.
        plain: the run's model.
    """

    model: Any
    signature: dict[str, tf.TensorSpec]
    examples: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    classes: dict[str, tuple[str, ...]]
    metadata: dict[str, Any]
    plain: Any


class _Inputs(NamedTuple):
    """Raw values of some examples, their signature, and the rules of a table.

    Attributes:
        raw: the values by input.
        signature: shape and dtype by input.
        rules: preprocessing rules of a table. Default: None, the inputs are arrays.
        columns: names of the table's columns by input. Default: {}.
        dtype: dtype of the preprocessed inputs. Default: "float32".
        numbers: dtype of the numbers in cells. Default: "float64".
    """

    raw: dict[str, np.ndarray]
    signature: dict[str, tf.TensorSpec]
    rules: TablePreprocessing | None = None
    columns: Mapping[str, str] = MappingProxyType({})
    dtype: str = "float32"
    numbers: str = "float64"


class _Outputs(NamedTuple):
    """Names of the outputs of a served model.

    Attributes:
        names: name under which the numbers of each output of the model are returned; "" is the
            name of a single output.
        classes: names of the classes, by the name of these numbers.
        scores: name of the scores from which the most likely class is taken, by the name of the
            output with that class.
        strings: names of the classes, by the name of the output with the most likely class; empty
            for formats without strings.
    """

    names: dict[str, str]
    classes: dict[str, tuple[str, ...]]
    scores: dict[str, str]
    strings: dict[str, tuple[str, ...]]

    def decode(self, predictions: Tree) -> dict[str, Tensor]:
        """Return a model's predictions by the served names, with the name of the likely class."""
        found = self.named(predictions)
        for name, classes in self.strings.items():
            index = tf.argmax(found[self.scores[name]], axis=-1)
            found[name] = tf.gather(tf.constant(classes), index)
        return found

    def named(self, predictions: Tree) -> dict[str, Any]:
        """Return a model's predictions by the served names."""
        if isinstance(predictions, Mapping):
            return {name: predictions[output] for output, name in self.names.items()}
        return {self.names[""]: predictions}


def build_serving(
    run: SavedRun,
    data: str | None = None,
    *,
    text: bool = True,
    safe_mode: bool = True,
    log: Log = lambda line: None,
) -> Serving:
    """Return the model of a run as it is exported.

    Args:
        run: the run.
        data: examples for the comparison, as for `predict_run`. Default: None, the test examples of
            the run, or the rows of its table.
        text: whether inputs and outputs may be strings, and numbers float64. Default: True.
        safe_mode: whether to refuse a file that contains code. Default: True.
        log: function called with lines on differences from the training data. Default: not called.

    Raises:
        ValueError, OSError: the data are missing or damaged, or do not suit the model; or `text` is
            False and a column of the table is not numbers that float32 represents exactly.
    """
    from trainlib.experiment.served_model import ServedModel

    plain = load_run_model(run, safe_mode)
    rules, source = run.preprocessing, data or run.config.dataset
    if rules is not None and is_table(source):
        dtype = next(iter(input_tensors(plain).values())).dtype
        x: Any
        inputs, x = _of_table(rules, source, text, dtype)
    else:
        x = load_run_inputs(run, data, log)
        x = {n: _first(a) for n, a in x.items()} if isinstance(x, Mapping) else _first(x)
        inputs = _of_arrays(plain, x)
    signature = run_signature(run, x)
    check_input(plain, shapes_of(signature, x), source)
    predicted = Evaluator(plain, execution="graph").predict(inputs_of(signature, x))
    outputs = _outputs_of(run, predicted, text)
    model = ServedModel(plain, _encoder(inputs, signature), outputs.decode)
    model({name: tf.constant(value) for name, value in inputs.raw.items()})  # builds it
    expected = outputs.named(predicted)
    metadata = _describe(run, inputs, outputs, expected)
    named = outputs.classes
    return Serving(model, inputs.signature, inputs.raw, expected, named, metadata, plain)


def _first(x: Any) -> np.ndarray:
    """Return the first examples of an array; reads a lazy one."""
    return np.asarray(x[:EXAMPLES])


def _of_table(
    rules: TablePreprocessing, path: str, text: bool, dtype: str
) -> tuple[_Inputs, np.ndarray]:
    """Return the first rows of a table: raw values, and the inputs of the model."""
    frame: Frame = read_frame(expanded(path), rules.target, rules.text_columns, rules.decimal)
    frame = frame.rows(np.arange(min(frame.size, EXAMPLES)))
    x = rules.encode(frame).x.astype(dtype)
    if not text:
        _check_numbers(rules, path)
    numbers = "float64" if text else "float32"
    dtypes = {n: numbers if d == "float64" else d for n, d in cell_dtypes(rules).items()}
    columns = _signature_names(dtypes)
    cells = cells_of(frame, rules)
    raw = {columns[n]: _as(cells[n], dtype) for n, dtype in dtypes.items()}
    signature = {columns[n]: tf.TensorSpec([None], d, columns[n]) for n, d in dtypes.items()}
    names = {short: name for name, short in columns.items()}
    return _Inputs(raw, signature, rules, names, dtype, numbers), x


def _as(cells: np.ndarray, dtype: str) -> np.ndarray:
    return cells if dtype == "string" else cells.astype(dtype)


def _check_numbers(rules: TablePreprocessing, path: str) -> None:
    """Raise `ValueError` unless every column has numbers that float32 represents exactly."""
    for column in rules.columns:
        what = {CategoryColumn: "text", DateColumn: "dates"}.get(type(column))
        if isinstance(column, NumberColumn) and column.origin:
            what = "numbers that float32 would round"
        if what is not None:
            raise ValueError(
                f"column {column.name!r} of {shown(path)} holds {what}, which this format does not "
                "take: --format=saved_model does"
            )


def _signature_names(names: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Return valid, distinct names for a signature, by the names of columns."""
    found: dict[str, str] = {}
    for name in names:
        short = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "column"
        short = short if short[0].isalpha() else f"column_{short}"
        free, number = short, 1
        while free in found.values():
            number += 1
            free = f"{short}_{number}"
        found[name] = free
    return found


def _of_arrays(plain: Any, x: Any) -> _Inputs:
    """Return arrays as served inputs by name; a single array is named x."""
    tensors = input_tensors(plain)
    if not isinstance(x, Mapping):
        dtype = next(iter(tensors.values())).dtype
        arrays, dtypes = {INPUT: x}, {INPUT: dtype}
        shapes = {INPUT: list(x.shape[1:])}
        if len(tensors) == 1:
            shapes = {INPUT: list(next(iter(tensors.values())).shape[1:])}
    else:
        arrays, dtypes = dict(x), {name: tensors[name].dtype for name in x}
        shapes = {name: list(tensors[name].shape[1:]) for name in x}
    raw = {name: array.astype(dtypes[name]) for name, array in arrays.items()}
    signature = {n: tf.TensorSpec([None, *shapes[n]], dtypes[n], n) for n in raw}
    return _Inputs(raw, signature)


def _encoder(inputs: _Inputs, signature: ModelSignature) -> Any:
    """Return the function from raw values by name to the inputs of the run's model."""

    def encode(raw: Mapping[str, Tensor]) -> Any:
        if inputs.rules is not None:
            cells = {name: raw[short] for short, name in inputs.columns.items()}
            x: Any = tf.cast(encode_cells(inputs.rules, cells, inputs.numbers), inputs.dtype)
        elif set(raw) == {INPUT}:
            x = raw[INPUT]
        else:
            return dict(raw)
        if not signature.inputs:
            return x
        return {n: tf.gather(x, list(columns), axis=1) for n, columns in signature.inputs.items()}

    return encode


def _outputs_of(run: SavedRun, predicted: Any, text: bool) -> _Outputs:
    """Return the names of the outputs of a run's model."""
    names: dict[str, str] = {}
    classes: dict[str, tuple[str, ...]] = {}
    scores: dict[str, str] = {}
    for output in predicted if isinstance(predicted, Mapping) else ("",):
        known, kind = _classes_of(run, output)
        prefix = f"{output}_" if output else ""
        if run.config.model.name in RECONSTRUCTING:
            names[output] = f"{prefix}reconstruction"
        elif known:
            names[output] = prefix + ("probabilities" if kind == "p" else "scores")
            classes[names[output]] = known
            scores[f"{prefix}{CLASS}"] = names[output]
        else:
            names[output] = f"{prefix}prediction"
    strings = {name: classes[of] for name, of in scores.items()} if text else {}
    return _Outputs(names, classes, scores, strings)


def _classes_of(run: SavedRun, output: str) -> tuple[tuple[str, ...], str]:
    """Return the classes of an output, () for numbers, and the name of its predictions for them."""
    described = run.outputs.get(output)
    if described is not None:
        return run.class_names_of(output), score_name(described["loss"])
    return run.class_names or tuple(map(str, range(run.classes))), run.score_name


def _describe(
    run: SavedRun, inputs: _Inputs, outputs: _Outputs, expected: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return the description of a served model for other programs, for JSON."""
    described: dict[str, Any] = {
        name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
        for name, spec in inputs.signature.items()
    }
    for short, column in inputs.columns.items():
        kinds = {c.name: c.kind for c in inputs.rules.columns} if inputs.rules else {}
        described[short] |= {"column": column, "holds": kinds[column]}
    if not inputs.columns and run.feature_names and set(described) == {INPUT}:
        described[INPUT]["columns"] = list(run.feature_names)
    results: dict[str, Any] = {
        name: {"dtype": str(x.dtype), "shape": [None, *x.shape[1:]]} for name, x in expected.items()
    }
    for name, known in outputs.classes.items():
        results[name]["classes"] = list(known)
    for name, of in outputs.scores.items():
        if name in outputs.strings:
            results[name] = {"dtype": "string", "shape": [None], "of": of}
    return {
        "trainlib": trainlib.__version__,
        "run": {"dataset": Path(run.config.dataset).name, "model": run.config.model.name},
        "inputs": described,
        "outputs": results,
    }
