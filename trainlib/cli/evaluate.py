"""`evaluate`: the loss and the metrics of a finished run, on any part of its data or on others."""

from __future__ import annotations

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, build, run_folder, saved  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_run, define_train  # noqa: E402
from trainlib.training.files import as_json  # noqa: E402

ABOUT = """
evaluate: prints the loss and the metrics of a run's model, as one line of JSON.

  evaluate --run_dir=runs/digits-mlp-adam-20260101-120000 --part=test
"""


def main() -> None:
    """The command."""
    app.run("evaluate", ABOUT, define, evaluate)


def define(values: Values) -> None:
    """The flags of `evaluate`."""
    define_run(values, "Evaluation")
    group = Group(values, "Evaluation")
    group.choice("part", "test", build.PARTS, "Which part of the data.")
    group.string("dataset", None, "Another data set than the run's, like it.")


def evaluate(values: Values) -> None:
    """Evaluates the saved model as `train` did."""
    folder = app.required_path(values, "run_dir")
    of_run = run_folder.recorded_flags(folder, define_train)
    summary = run_folder.read_summary(folder)
    for name in ("dataset", "data_dir"):
        if values[name].value is not None:
            of_run[name].value = values[name].value
    if values.dataset is not None and not values.dataset.lower().endswith((".csv", ".csv.gz")):
        of_run["target"].value = None  # only tables have columns
    task = build.build_task(of_run, tuple(summary["feature_names"]))
    part = getattr(task, values.part)
    if part is None:
        raise ValueError(f"part {values.part}: the run kept no examples for it")
    trainer = saved.evaluator(saved.load(folder, task, values.safe_mode), of_run, task)
    print(as_json(trainer.evaluate(tuple(part))))


if __name__ == "__main__":
    main()
