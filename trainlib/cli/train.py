"""`train`: trains a model on a data set and leaves a run folder."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from trainlib.cli.lazy import defer

defer("tensorflow", "keras")

from trainlib.callbacks import Bar, Callback, JsonLines, Lines  # noqa: E402
from trainlib.callbacks.display import describe as describe_results  # noqa: E402
from trainlib.checks import check_integer  # noqa: E402
from trainlib.cli import build, command, run_folder  # noqa: E402
from trainlib.cli.flags import define_train  # noqa: E402
from trainlib.data import take  # noqa: E402
from trainlib.loop.trainer import Trainer  # noqa: E402

ABOUT = """
train: trains a model on a data set, and leaves a run folder.

  train --dataset=fashion_mnist --model=mlp --hidden=300,100 --optimizer=nadam --epochs=5
"""


MAX_SEED = 2**32 - 1
"""The largest that Keras takes."""


def main() -> None:
    """The command."""
    command.run("train", ABOUT, define_train, command.undisturbed(train))


def train(values: command.Values) -> None:
    """Builds what the flags name, trains it, tests it, and writes the run folder."""
    if values.run_dir:
        run_folder.check_free(Path(values.run_dir))
    check_integer("epochs", values.epochs, at_least=1)
    check_integer("batch_size", values.batch_size, at_least=1)
    check_integer("seed", values.seed, at_least=0, at_most=MAX_SEED)
    task = build.build_task(values)
    built = build.build_models(values, task)
    steps = -(-task.train.size // values.batch_size)
    optimization = build.build_optimizer(values, steps)
    trainer = Trainer(
        built.trained,
        build.build_loss(values, task.loss, built.from_logits),
        optimization.optimizer,
        metrics=task.metrics,
        regularizer=build.build_regularizer(values),
        seed=values.seed,
        execution=values.execution,
        report={"learning_rate": optimization.rate},
    )
    trainer.evaluate(tuple(take(task.train, 1)))  # what does not fit is seen before any file
    folder = run_folder.create(values)
    print(build.describe(task, built, values), flush=True)
    if values.param_rules:
        print("\n".join(optimization.table(trainer.state.params)), flush=True)
    began = time.monotonic()
    trainer.fit(
        tuple(task.train),
        batch_size=values.batch_size,
        epochs=values.epochs,
        validation_data=None if task.validation is None else tuple(task.validation),
        callbacks=[_display(), JsonLines(folder / run_folder.HISTORY_FILE)],
    )
    summary = _summary(trainer, task, values, time.monotonic() - began)
    run_folder.save_model(folder / run_folder.MODEL_FILE, built.full)
    run_folder.write_json(folder / run_folder.SUMMARY_FILE, summary)
    print(f"test: {describe_results(summary['test'])}\nrun folder: {folder}")


def _display() -> Callback:
    return Bar() if sys.stdout.isatty() else Lines()


def _summary(
    trainer: Trainer, task: build.Task, values: command.Values, seconds: float
) -> dict[str, Any]:
    parts = {"train": task.train, "validation": task.validation, "test": task.test}
    results = {
        name: trainer.evaluate(tuple(part)) for name, part in parts.items() if part is not None
    }
    return {
        **results,
        "epochs": values.epochs,
        "steps": int(trainer.state.step),
        "seconds": round(seconds, 3),
        "execution": trainer.execution,
        "classes": task.outputs if task.output_activation else 0,
        "feature_names": list(task.dataset.feature_names),
        "params_sha256": run_folder.params_sha256(trainer.state.params),
    }


if __name__ == "__main__":
    main()
