"""`predict`: write the predictions of a finished run's model as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_run  # noqa: E402
from trainlib.experiment.saved_run import (  # noqa: E402
    image_names,
    predict_run,
    read_saved_run,
    with_data,
)
from trainlib.training.files import write_text  # noqa: E402
from trainlib.training.paths import shown  # noqa: E402

ABOUT = """
predict: write the predictions of a run's model as CSV: the class and the probability of each
class (its score, if the loss is not one of probabilities), or the predicted number.

  predict --run_dir=runs/digits-mlp-adam-20260101-120000 --data=new.npz --output=predicted.csv
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


def predict(values: Values) -> None:
    """Predict with the saved model."""
    run = read_saved_run(app.required_path(values, "run_dir"), values.code_path)
    output = Path(values.output) if values.output else None
    if output is not None:
        _check_output(output)
    run = with_data(run, data_dir=values.data_dir)
    files = image_names(run, values.data)
    predictions = predict_run(run, values.data, values.safe_mode, app.note("predict"))
    names = run.class_names or tuple(map(str, range(run.classes)))
    text = to_csv(predictions, names, run.score_name, files)
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
) -> str:
    """Return predictions as CSV: a header, and a row for each example.

    Args:
        predictions: scores of K classes [N, K], or numbers [N, 1]; of an autoencoder [N, ...].
        classes: names of the K classes. Default: (), they are numbers.
        score: what the columns of the classes begin with. Default: "p", probabilities.
        files: file of each example, written into a first column. Default: (), no such column.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    first = [[shown(name)] for name in files] or [[] for _ in predictions]
    head = ["file"] if files else []
    if not classes:
        numbers = predictions.reshape(len(predictions), -1)
        names = [f"prediction{i}" for i in range(numbers.shape[1])]
        rows.writerow([*head, *(names if len(names) > 1 else ["prediction"])])
        for file, values in zip(first, numbers, strict=True):
            rows.writerow([*file, *(f"{x:.7g}" for x in values)])
        return text.getvalue()
    numbered = all(name.isdigit() for name in classes)
    rows.writerow(
        [*head, "class", *(f"{score}{name}" if numbered else f"{score}_{name}" for name in classes)]
    )
    for file, scores in zip(first, predictions, strict=True):
        rows.writerow([*file, classes[scores.argmax()], *(f"{x:.7g}" for x in scores)])
    return text.getvalue()


if __name__ == "__main__":
    main()
