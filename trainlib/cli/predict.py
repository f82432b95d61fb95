"""`predict`: write the predictions of a finished run's model as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_run  # noqa: E402
from trainlib.core.checks import check_integer  # noqa: E402
from trainlib.experiment.saved_run import (  # noqa: E402
    SampleOptions,
    image_names,
    mc_predict_run,
    predict_run,
    read_saved_run,
    with_data,
)
from trainlib.tools.uncertainty import MASKS, UncertainPrediction  # noqa: E402
from trainlib.training.files import write_text  # noqa: E402
from trainlib.training.paths import shown  # noqa: E402

ABOUT = """
predict: write the predictions of a run's model as CSV: the class and the probability of each
class (its score, if the loss is not one of probabilities), or the predicted number.

  predict --run_dir=runs/digits-mlp-adam-20260101-120000 --data=new.npz --output=predicted.csv

With --mc_samples the model predicts that many times with its dropout switched on; the columns are
the mean, the standard deviation, the entropy and the mutual information of the predictions.
"""


def main() -> None:
    """Run the command `predict`."""
    app.run("predict", ABOUT, define, predict)


def define(values: Values) -> None:
    """Define the flags of `predict`."""
    define_run(values, "Prediction")
    group = Group(values, "Prediction")
    group.path(
        "data",
        None,
        "An .npz file with an array x, a table with the columns that the run was trained on, a "
        "folder of images, or images, comma-separated; default: the test examples of the run's "
        "data set.",
    )
    group.path("output", None, "File to write; default: standard output.")
    group = Group(values, "Uncertainty")
    group.integer(
        "mc_samples",
        None,
        "Predictions with dropout, at least 2, whose mean and uncertainty are written; default: "
        "one prediction without dropout.",
    )
    group.choice(
        "mc_masks",
        "fresh",
        MASKS,
        "fresh: each example has its own dropout masks; fixed: all examples have the same.",
    )
    group.integer("seed", 0, "Seed of the masks.")


def predict(values: Values) -> None:
    """Predict with the saved model."""
    run = read_saved_run(app.required_path(values, "run_dir"), values.code_path)
    output = Path(values.output) if values.output else None
    if output is not None:
        _check_output(output)
    run = with_data(run, data_dir=values.data_dir)
    files = image_names(run, values.data)
    names = run.class_names or tuple(map(str, range(run.classes)))
    note = app.note("predict")
    if values.mc_samples is None:
        for flag in ("mc_masks", "seed"):
            if values[flag].present:
                raise ValueError(f"{flag} needs mc_samples")
        predictions = predict_run(run, values.data, values.safe_mode, note)
        text = to_csv(predictions, names, run.score_name, files)
    else:
        check_integer("mc_samples", values.mc_samples, at_least=2)
        options = SampleOptions(samples=values.mc_samples, masks=values.mc_masks, seed=values.seed)
        found = mc_predict_run(run, values.data, values.safe_mode, note, **options)
        text = to_csv(found.mean, names, run.score_name, files, found)
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)


def _check_output(path: Path) -> None:
    if path.exists():
        raise ValueError(f"output {shown(path)}: exists already; choose another")
    if not path.parent.is_dir():
        raise ValueError(f"output {shown(path)}: there is no folder {shown(path.parent)}")


def to_csv(
    predictions: np.ndarray,
    classes: Sequence[str] = (),
    score: str = "p",
    files: Sequence[str] = (),
    uncertain: UncertainPrediction | None = None,
) -> str:
    """Return predictions as CSV: a header, and a row for each example.

    Args:
        predictions: scores of K classes [N, K], or numbers [N, 1]; of an autoencoder [N, ...].
        classes: names of the K classes. Default: (), they are numbers.
        score: what the columns of the classes begin with. Default: "p", probabilities.
        files: file of each example, written into a first column. Default: (), no such column.
        uncertain: their uncertainty, of which further columns are written. Default: None.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    more = {} if uncertain is None else _uncertainty_columns(uncertain, classes)
    flat = predictions.reshape(len(predictions), -1)
    numbers = np.column_stack([flat, *more.values()])
    predicted = ["class", *_columns(score, classes)] if classes else _numbered("prediction", flat)
    rows.writerow([*(["file"] if files else []), *predicted, *more])
    first = [[shown(name)] for name in files] or [[] for _ in predictions]
    for file, scores, line in zip(first, predictions, numbers, strict=True):
        name = [classes[scores.argmax()]] if classes else []
        rows.writerow([*file, *name, *(f"{x:.7g}" for x in line)])
    return text.getvalue()


def _columns(begin: str, classes: Sequence[str]) -> list[str]:
    """Return the name of a column for each class: "p0" for numbers, "p_name" for names."""
    numbered = all(name.isdigit() for name in classes)
    return [f"{begin}{name}" if numbered else f"{begin}_{name}" for name in classes]


def _numbered(name: str, numbers: np.ndarray) -> list[str]:
    """Return the name of the column of a number, or of each of several: "name0", "name1", ..."""
    count = numbers.shape[1]
    return [name] if count == 1 else [f"{name}{i}" for i in range(count)]


def _uncertainty_columns(found: UncertainPrediction, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the uncertainty by name; of a sigmoid, sums over the classes."""
    std = found.std.reshape(len(found.std), -1)
    names = _columns("std", classes) if classes else _numbered("std", std)
    columns = dict(zip(names, std.T, strict=True))
    if found.entropy is None or found.mutual_information is None:
        return columns
    pairs = {"entropy": found.entropy, "mutual_information": found.mutual_information}
    return columns | {n: x.reshape(len(x), -1).sum(axis=1) for n, x in pairs.items()}


if __name__ == "__main__":
    main()
