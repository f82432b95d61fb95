"""`predict`: write the predictions of a finished run's model as CSV."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_run  # noqa: E402
from trainlib.experiment.saved_run import (  # noqa: E402
    predict_run,
    read_saved_run,
    with_data,
)
from trainlib.training.files import write_text  # noqa: E402

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
    group.string(
        "data",
        None,
        "An .npz file with an array x, or a .csv file with the columns that the run was trained "
        "on; default: the test examples of the run's data set.",
        "PATH",
    )
    group.string("output", None, "File to write; default: standard output.", "PATH")


def predict(values: Values) -> None:
    """Predict with the saved model."""
    run = read_saved_run(app.required_path(values, "run_dir"), values.code_path)
    output = Path(values.output) if values.output else None
    if output is not None:
        _check_output(output)
    run = with_data(run, data_dir=values.data_dir)
    predictions = predict_run(run, values.data, values.safe_mode)
    text = to_csv(predictions, run.predicts_classes, run.score_name)
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)


def _check_output(path: Path) -> None:
    if path.exists():
        raise ValueError(f"output {path}: exists already; choose another")
    if not path.parent.is_dir():
        raise ValueError(f"output {path}: there is no folder {path.parent}")


def to_csv(predictions: np.ndarray, of_classes: bool, score: str = "p") -> str:
    """Return predictions as CSV: a header, and a row for each example.

    Args:
        predictions: scores of K classes [N, K], or numbers [N, 1].
        of_classes: whether they are scores of classes.
        score: what the columns of the classes begin with. Default: "p", probabilities.
    """
    text = io.StringIO()
    if not of_classes:
        np.savetxt(text, predictions, "%.7g", ",", header="prediction", comments="")
        return text.getvalue()
    names = ",".join(f"{score}{k}" for k in range(predictions.shape[1]))
    rows = np.column_stack([predictions.argmax(axis=1), predictions])
    formats = ["%d"] + ["%.7g"] * predictions.shape[1]
    np.savetxt(text, rows, formats, ",", header=f"class,{names}", comments="")
    return text.getvalue()


if __name__ == "__main__":
    main()
