"""`lr_find`: suggest a learning rate from one short run in which the learning rate increases."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.broken_pipe import ignore_broken_pipe  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import (  # noqa: E402
    COMMON,
    define_experiment,
    experiment_config,
    function_topics,
    given_flags,
)
from trainlib.experiment import run_folder  # noqa: E402
from trainlib.experiment.flat import flag_text  # noqa: E402
from trainlib.experiment.model_building import build_models, describe, matched_task  # noqa: E402
from trainlib.experiment.range_test import find_learning_rate  # noqa: E402
from trainlib.experiment.task_building import build_task  # noqa: E402
from trainlib.report.range_test import write_range_test  # noqa: E402
from trainlib.tools.loss_curve import LRFinderResult, OnStep, RangeTest  # noqa: E402
from trainlib.training.paths import shown  # noqa: E402

ABOUT = """
lr_find: train for some batches while the learning rate increases, and suggest a learning rate from
the curve of the losses.

  lr_find --dataset=fashion_mnist --model=cnn --optimizer=adam
  lr_find --help=adam    (the flags of one optimizer, loss, metric, model, ...)

It takes the flags of train; the learning rate, the schedule and the number of epochs are ignored.
It writes lr_find.csv, lr_find.png and summary.json into the run folder.
"""


def main() -> None:
    """Run the command `lr_find`."""
    common = ("start_lr", "end_lr", "max_steps", *COMMON, "run_dir", "config")
    work = ignore_broken_pipe(lr_find)
    app.run(
        app.CommandLine("lr_find", ABOUT, define, work, topics=function_topics(), common=common)
    )


def define(values: Values) -> None:
    """Define the flags of `lr_find`, then those of an experiment."""
    group = Group(values, "Range test")
    group.number("start_lr", RangeTest.start_lr, "First learning rate, above 0.")
    group.number("end_lr", RangeTest.end_lr, "Last learning rate, above the first.")
    group.integer("max_steps", RangeTest.max_steps, "Number of steps, at least 10.")
    group.number(
        "smoothing", RangeTest.smoothing, "Weight of the moving average of the losses, in [0, 1)."
    )
    group.number(
        "diverge_factor",
        RangeTest.diverge_factor,
        "Multiple of the lowest loss at which the test stops; above 1.",
    )
    define_experiment(values)
    Group(values, "Run").path(
        "run_dir",
        None,
        "Folder to write to, new or empty; default: "
        "runs/lr_find-<data set>-<model>-<optimizer>-<time>.",
    )


def lr_find(values: Values) -> None:
    """Run the test, print the suggestion, and write the folder."""
    config = experiment_config(values)
    run_dir = Path(values.run_dir) if values.run_dir else None
    if run_dir is not None:
        run_folder.check_free(run_dir)
    test = RangeTest(
        start_lr=values.start_lr,
        end_lr=values.end_lr,
        max_steps=values.max_steps,
        smoothing=values.smoothing,
        diverge_factor=values.diverge_factor,
    )
    task = build_task(config)
    built = build_models(config, task)
    task = matched_task(task, built)
    output.log(describe(config, task, built))
    result = find_learning_rate(config, task, built, _progress(test.max_steps), test)
    folder = run_folder.create(config, run_dir, prefix="lr_find-")
    write_range_test(folder, result, f"{config.optimizer.name} on {task.dataset.name}", output.log)
    run_folder.write_json(folder / run_folder.SUMMARY_FILE, _summary(result))
    output.print_result(
        f"suggestion: learning rate {result.suggestion:.2g} (the loss fell fastest at "
        f"{result.steepest:.2g}; a tenth of the rate at its minimum is "
        f"{result.tenth_of_minimum:.2g})\n"
        f"use it: {_train_command(values, result.suggestion)}\n"
        f"run folder: {shown(folder)}"
    )


def _progress(max_steps: int) -> OnStep:
    """Return a function that prints a line every tenth of the steps."""
    every = max(max_steps // 10, 1)

    def show(step: int, learning_rate: float, loss: float, smoothed: float) -> None:
        if step % every == 0:
            output.log(
                f"step {step:{len(str(max_steps))}d}/{max_steps}  "
                f"learning_rate {learning_rate:.2e}  loss {loss:.4g}  smoothed {smoothed:.4g}"
            )

    return show


def _summary(result: LRFinderResult) -> dict[str, Any]:
    return {
        "suggestion": result.suggestion,
        "steepest": result.steepest,
        "tenth_of_minimum": result.tenth_of_minimum,
        "steps": len(result.rates),
        "stopped": result.stopped,
    }


def _train_command(values: Values, learning_rate: float) -> str:
    """Return `train` with the given flags, at that learning rate."""
    given = {name: x for name, x in given_flags(values).items() if name != "learning_rate"}
    flags = (flag_text(name, value) for name, value in given.items())
    return shlex.join(["train", *flags, f"--learning_rate={learning_rate:.2g}"])


if __name__ == "__main__":
    main()
