"""`lr_find`: the learning rate to train with, from one short run in which the rate climbs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, build, run_folder  # noqa: E402
from trainlib.cli.broken_pipe import ignore_broken_pipe  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import define_train  # noqa: E402
from trainlib.cli.range_test import find_rate  # noqa: E402
from trainlib.report.range_test import write_range_test  # noqa: E402
from trainlib.tools.loss_curve import LRFinderResult, OnStep, RangeTest  # noqa: E402

RAMP = ("start_lr", "end_lr", "max_steps", "smoothing", "diverge_factor")
"""The fields of `RangeTest` that are flags."""

ABOUT = """
lr_find: finds a learning rate: trains for some batches, the rate climbing, and reads the losses.

  lr_find --dataset=fashion_mnist --model=cnn --optimizer=adam

The flags are those of train, so that a command of train can be given as it is: its learning rate,
its schedule and its epochs say nothing here. Leaves lr_find.csv, lr_find.png and summary.json.
"""


def main() -> None:
    """The command."""
    app.run("lr_find", ABOUT, define, ignore_broken_pipe(lr_find))


def define(values: Values) -> None:
    """The flags of `lr_find`: its own, then those of `train`."""
    group = Group(values, "Range test")
    defaults = {name: getattr(RangeTest, name) for name in RAMP}
    group.number("start_lr", defaults["start_lr"], "The first learning rate, above 0.")
    group.number("end_lr", defaults["end_lr"], "The last learning rate, above the first.")
    group.integer("max_steps", defaults["max_steps"], "Steps of the test, at least 10.")
    group.number("smoothing", defaults["smoothing"], "Of the losses' moving mean, in [0, 1).")
    group.number(
        "diverge_factor",
        defaults["diverge_factor"],
        "Above 1; the test ends where the smoothed loss is so many times its least.",
    )
    define_train(values)
    values["run_dir"].help = (
        "Folder for what the test leaves; by default "
        "runs/lr_find-<data set>-<model>-<optimizer>-<time>."
    )


def lr_find(values: Values) -> None:
    """Runs the test, prints the suggestion, and writes the folder."""
    if values.run_dir:
        run_folder.check_free(Path(values.run_dir))
    task = build.build_task(values)
    built = build.build_models(values, task)
    print(build.describe(task, built, values), flush=True)
    chosen: dict[str, Any] = {name: values[name].value for name in RAMP}
    ramp = RangeTest(**chosen)
    result = find_rate(values, task, built, _printer(values.max_steps), ramp)
    folder = run_folder.create(values, prefix="lr_find-")
    write_range_test(folder, result, f"{values.optimizer} on {task.dataset.name}", print)
    run_folder.write_json(folder / run_folder.SUMMARY_FILE, _summary(result))
    print(
        f"suggestion: learning rate {result.suggestion:.2g} (the loss fell fastest at "
        f"{result.steepest:.2g}; a tenth of the rate where it was least is "
        f"{result.tenth_of_minimum:.2g})\n"
        f"use it: {_train_command(values, result.suggestion)}\n"
        f"run folder: {folder}"
    )


def _printer(max_steps: int) -> OnStep:
    """Prints a line each tenth of the ramp."""
    every = max(max_steps // 10, 1)

    def show(step: int, learning_rate: float, loss: float, smoothed: float) -> None:
        if step % every == 0:
            print(
                f"step {step:{len(str(max_steps))}d}/{max_steps}  "
                f"learning_rate {learning_rate:.2e}  loss {loss:.4g}  smoothed {smoothed:.4g}",
                flush=True,
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
    """`train` with the flags that were given, at that learning rate."""
    own = (*RAMP, "learning_rate")
    given = [
        flag.serialize()
        for flag in run_folder.recorded(values)
        if flag.present and flag.name not in own
    ]
    return shlex.join(["train", *given, f"--learning_rate={learning_rate:.2g}"])


if __name__ == "__main__":
    main()
