"""`predict`: write the predictions of a finished run's model as CSV."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_run  # noqa: E402
from trainlib.core.checks import check_integer  # noqa: E402
from trainlib.experiment.run_prediction import (  # noqa: E402
    SampleOptions,
    image_names,
    mc_predict_run,
    predict_run,
)
from trainlib.experiment.saved_run import (  # noqa: E402
    SavedRun,
    read_saved_run,
    score_name,
    with_data,
)
from trainlib.tools.uncertainty import MASKS, UncertainPrediction  # noqa: E402
from trainlib.training.files import as_csv, check_can_write, write_text  # noqa: E402
from trainlib.training.paths import shown  # noqa: E402

ABOUT = """
predict: write the predictions of a run's model as CSV: the predicted class and the probability of
each class (its score, if the outputs are not probabilities), or the predicted number. If the model
has several outputs, the names of the columns begin with the name of the output.

  predict --run_dir=runs/digits-mlp-adam-20260101-120000 --data=new.npz --output=predicted.csv
  head -3 houses.csv | predict --run_dir=runs/houses --data=-

With --mc_samples=N the model predicts N times with dropout on (Monte Carlo dropout); the columns
are the mean, the standard deviation, the entropy and the mutual information of the predictions.
"""

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of an archive, with files in it or without."""
STANDARD_INPUT = "-"


def main() -> None:
    """Run the command `predict`."""
    app.run(app.CommandLine("predict", ABOUT, define, predict))


def define(values: Values) -> None:
    """Define the flags of `predict`."""
    define_run(values, "Prediction")
    group = Group(values, "Prediction")
    group.path(
        "data",
        None,
        "Examples to predict. An .npz file with an array x, or x_NAME of several inputs; a table "
        "with the columns that the run was trained on; a folder of images, or images, "
        "comma-separated; - for a table or an .npz file on standard input; default: the test "
        "examples of the run's data set.",
    )
    group.path("output", None, "File to write; default: standard output.")
    group.boolean("overwrite", False, "Replace the file of --output, if it exists.")
    group = Group(values, "Uncertainty")
    group.integer(
        "mc_samples",
        None,
        "Number of predictions with dropout, at least 2; their mean and uncertainty are written. "
        "Default: one prediction without dropout.",
    )
    group.choice(
        "mc_masks",
        "fresh",
        MASKS,
        "Dropout masks of --mc_samples. fresh: each example has its own; fixed: all examples have "
        "the same.",
    )
    group.integer("seed", 0, "Seed of the masks.")


def predict(values: Values) -> None:
    """Predict with the saved model."""
    run = read_saved_run(app.required_path(values, "run_dir"), values.code_path)
    output = Path(values.output) if values.output else None
    if output is not None:
        _check_output(output, values.overwrite)
    run = with_data(run, data_dir=values.data_dir)
    with given_data(values.data) as data:
        text = _predictions(values, run, data)
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)


@contextlib.contextmanager
def given_data(data: str | None) -> Iterator[str | None]:
    """Yield the path of the data; standard input is copied to a temporary file first."""
    if data != STANDARD_INPUT:
        yield data
        return
    content = sys.stdin.buffer.read()
    if not content:
        raise ValueError("data -: standard input is empty")
    first_line = content.partition(b"\n")[0]
    kind = "npz" if content.startswith(ZIP_STARTS) else "tsv" if b"\t" in first_line else "csv"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"standard_input.{kind}"
        copy.write_bytes(content)
        yield str(copy)


def _predictions(values: Values, run: SavedRun, data: str | None) -> str:
    """Return the predictions for the data as CSV."""
    files = image_names(run, data)
    names = run.class_names or tuple(map(str, range(run.classes)))
    note = app.note("predict")
    if values.mc_samples is None:
        for flag in ("mc_masks", "seed"):
            if values[flag].present:
                raise ValueError(f"{flag} needs mc_samples")
        predictions = predict_run(run, data, values.safe_mode, note)
        if isinstance(predictions, dict):
            outputs = {name: _of_output(run, name, x) for name, x in predictions.items()}
        else:
            outputs = {"": Predicted(predictions, names, run.score_name)}
        return to_csv(outputs, files)
    check_integer("mc_samples", values.mc_samples, at_least=2)
    options = SampleOptions(samples=values.mc_samples, masks=values.mc_masks, seed=values.seed)
    found = mc_predict_run(run, data, values.safe_mode, note, **options)
    return to_csv({"": Predicted(found.mean, names, run.score_name, found)}, files)


def _check_output(path: Path, overwrite: bool) -> None:
    if path.exists() and not (overwrite and path.is_file()):
        hint = "choose another" if overwrite else "choose another, or give --overwrite"
        raise ValueError(f"output {shown(path)}: exists already; {hint}")
    check_can_write("output", path)


class Predicted(NamedTuple):
    """Predictions of one output of a model.

    Attributes:
        values: scores of K classes [N, K], or numbers [N, 1]; of an autoencoder [N, ...].
        classes: names of the K classes. Default: (), they are numbers.
        score: what the columns of the classes begin with. Default: "p", probabilities.
        uncertain: their uncertainty, of which further columns are written. Default: None.
    """

    values: np.ndarray
    classes: Sequence[str] = ()
    score: str = "p"
    uncertain: UncertainPrediction | None = None


def _of_output(run: SavedRun, name: str, values: np.ndarray) -> Predicted:
    """Return the predictions of one of several outputs of a run's model."""
    described = run.outputs.get(name)
    if described is None:
        return Predicted(values)
    return Predicted(values, run.class_names_of(name), score_name(described["loss"]))


def to_csv(outputs: Mapping[str, Predicted], files: Sequence[str] = ()) -> str:
    """Return predictions as CSV: a header, and a row for each example.

    Args:
        outputs: predictions by output, whose columns begin with its name; "" for the only one.
        files: file of each example, written into a first column. Default: (), no such column.
    """
    tables = [_cells(name, predicted) for name, predicted in outputs.items()]
    if files:
        tables.insert(0, (["file"], [[shown(name)] for name in files]))
    rows = zip(*(of_table for _, of_table in tables), strict=True)
    return as_csv(
        [name for names, _ in tables for name in names],
        ([cell for of_table in cells for cell in of_table] for cells in rows),
    )


def _cells(output: str, predicted: Predicted) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns of an output, and the cells of each example."""
    values, classes, score, uncertain = predicted
    more = {} if uncertain is None else _uncertainty_columns(uncertain, classes)
    flat = values.reshape(len(values), -1)
    numbers = np.column_stack([flat, *more.values()])
    names = ["class", *_columns(score, classes)] if classes else _numbered("prediction", flat)
    found = []
    for scores, line in zip(values, numbers, strict=True):
        first = [classes[scores.argmax()]] if classes else []
        found.append([*first, *(f"{x:.7g}" for x in line)])
    return [f"{output}_{name}" if output else name for name in (*names, *more)], found


def _columns(begin: str, classes: Sequence[str]) -> list[str]:
    """Return the name of a column for each class: "p0" for numbers, "p_name" for names."""
    numbered = all(name.isdigit() for name in classes)
    return [f"{begin}{name}" if numbered else f"{begin}_{name}" for name in classes]


def _numbered(name: str, numbers: np.ndarray) -> list[str]:
    """Return the name of the column of a number, or of each of several: "name0", "name1", ..."""
    count = numbers.shape[1]
    return [name] if count == 1 else [f"{name}{i}" for i in range(count)]


def _uncertainty_columns(found: UncertainPrediction, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the uncertainty by name; for sigmoid outputs, sums over the classes."""
    std = found.std.reshape(len(found.std), -1)
    names = _columns("std", classes) if classes else _numbered("std", std)
    columns = dict(zip(names, std.T, strict=True))
    if found.entropy is None or found.mutual_information is None:
        return columns
    pairs = {"entropy": found.entropy, "mutual_information": found.mutual_information}
    return columns | {n: x.reshape(len(x), -1).sum(axis=1) for n, x in pairs.items()}


if __name__ == "__main__":
    main()
