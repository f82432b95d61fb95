"""`predict`: the predictions of a finished run's model, as a CSV."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

import trainlib.models as models  # noqa: E402
from trainlib.cli import app, build, run_folder  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_run, define_train  # noqa: E402
from trainlib.data import load_dataset, load_examples  # noqa: E402
from trainlib.optimizers import sgd  # noqa: E402
from trainlib.training.files import write_text  # noqa: E402
from trainlib.training.trainer import Trainer  # noqa: E402

ABOUT = """
predict: writes the predictions of a run's model as CSV: the class and the probability of each
class, or the number predicted.

  predict --run_dir=runs/digits-mlp-adam-20260101-120000 --data=new.npz --output=predicted.csv
"""


def main() -> None:
    """The command."""
    app.run("predict", ABOUT, define, predict)


def define(values: Values) -> None:
    """The flags of `predict`."""
    define_run(values, "Prediction")
    group = Group(values, "Prediction")
    group.string(
        "data",
        None,
        "An .npz with an array x, or a .csv with the columns that the run was trained on; by "
        "default the test part of the run's data set.",
    )
    group.string("output", None, "File to write; by default the screen.")


def predict(values: Values) -> None:
    """Predicts with the saved model."""
    folder = app.required_path(values, "run_dir")
    of_run = run_folder.recorded_flags(folder, define_train)
    summary = run_folder.read_summary(folder)
    if values.output:
        _check_output(Path(values.output))
    if values.data:
        x = load_examples(values.data, of_run.target, tuple(summary["feature_names"]))
    else:
        x = _test_part(values, of_run)
    model = models.load_model(str(folder / run_folder.MODEL_FILE), values.safe_mode)
    build.check_input(model, x.shape[1:], values.data or of_run.dataset)
    trainer = Trainer(
        model,
        "mean_squared_error",
        sgd(),
        precision=of_run.precision,
        strategy="one_device",
        execution=of_run.execution,
    )
    text = _csv(trainer.predict(x), by_class=summary["classes"] > 0)
    if values.output:
        write_text(Path(values.output), text)
    else:
        print(text, end="")


def _check_output(path: Path) -> None:
    if path.exists():
        raise ValueError(f"output {path}: exists already; choose another")
    if not path.parent.is_dir():
        raise ValueError(f"output {path}: there is no folder {path.parent}")


def _test_part(values: Values, of_run: Values) -> np.ndarray:
    return load_dataset(of_run.dataset, values.data_dir or of_run.data_dir, of_run.target).test.x


def _csv(predictions: np.ndarray, by_class: bool) -> str:
    """A header, and a row for each example."""
    text = io.StringIO()
    if not by_class:
        np.savetxt(text, predictions, "%.7g", ",", header="prediction", comments="")
        return text.getvalue()
    names = ",".join(f"p{k}" for k in range(predictions.shape[1]))
    rows = np.column_stack([predictions.argmax(axis=1), predictions])
    formats = ["%d"] + ["%.7g"] * predictions.shape[1]
    np.savetxt(text, rows, formats, ",", header=f"class,{names}", comments="")
    return text.getvalue()


if __name__ == "__main__":
    main()
