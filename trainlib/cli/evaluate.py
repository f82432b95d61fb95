"""`evaluate`: print the loss and the metrics of a finished run on any part of its data."""

from __future__ import annotations

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_run  # noqa: E402
from trainlib.experiment.run_evaluation import evaluate_run  # noqa: E402
from trainlib.experiment.saved_run import read_saved_run, with_data  # noqa: E402
from trainlib.experiment.task import PARTS  # noqa: E402
from trainlib.training.files import as_json  # noqa: E402

ABOUT = """
evaluate: print the loss and the metrics of a run's model as one line of JSON.

  evaluate --run_dir=runs/digits-mlp-adam-20260101-120000 --part=test
"""


def main() -> None:
    """Run the command `evaluate`."""
    app.run(app.CommandLine("evaluate", ABOUT, define, evaluate))


def define(values: Values) -> None:
    """Define the flags of `evaluate`."""
    define_run(values, "Evaluation")
    group = Group(values, "Evaluation")
    group.choice("part", None, PARTS, "Part of the data; default: test.")
    group.string(
        "dataset",
        None,
        "Name or path of a data set of the same form; default: that of the run. A table, or a file "
        "without a test part, is evaluated whole.",
        "NAME",
    )


def evaluate(values: Values) -> None:
    """Evaluate the saved model as `train` did."""
    run = read_saved_run(app.required_path(values, "run_dir"), values.code_path)
    run = with_data(run, values.dataset, values.data_dir)
    note = app.note("evaluate")
    output.print_result(as_json(evaluate_run(run, values.part, values.safe_mode, note)))


if __name__ == "__main__":
    main()
