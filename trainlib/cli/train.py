"""`train`: trains a model on a data set and leaves a run folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.callbacks import (  # noqa: E402
    Callback,
    CSVLogger,
    JSONLLogger,
    LineLogger,
    NonFiniteError,
    ProgressBar,
)
from trainlib.callbacks.display import format_results  # noqa: E402
from trainlib.cli import (  # noqa: E402
    app,
    build,
    events,
    resuming,
    run_folder,
    run_report,
    training,
)
from trainlib.cli.broken_pipe import ignore_broken_pipe  # noqa: E402
from trainlib.cli.distributed.session import WorkerSession, worker_session  # noqa: E402
from trainlib.cli.exit_status import CommandError, one_line  # noqa: E402
from trainlib.cli.flag_types import Values, each_flag  # noqa: E402
from trainlib.cli.flags import AUTO, check_choices, define_train  # noqa: E402
from trainlib.cli.range_test import find_rate  # noqa: E402
from trainlib.cli.replaying import replay_step  # noqa: E402
from trainlib.cli.signals import StopOnSignal  # noqa: E402
from trainlib.cli.verify_resume import verify_resume  # noqa: E402
from trainlib.core.checks import check_integer  # noqa: E402
from trainlib.data import take  # noqa: E402
from trainlib.report.figures import require_matplotlib  # noqa: E402
from trainlib.report.range_test import write_range_test  # noqa: E402
from trainlib.tools.loss_curve import LRFinderResult  # noqa: E402
from trainlib.training.collectives import broadcast_from_chief  # noqa: E402
from trainlib.training.data_adapter import as_data_adapter  # noqa: E402
from trainlib.training.execution import slow_precision_reason  # noqa: E402
from trainlib.training.strategies import get_strategy  # noqa: E402
from trainlib.training.trainer import Trainer  # noqa: E402

WORKER_FLAGS = (*run_folder.NOT_RECORDED, "data_dir", "strategy", "worker_timeout")
"""The flags that may differ between workers."""

ABOUT = """
train: trains a model on a data set, and leaves a run folder.

  train --dataset=fashion_mnist --model=mlp --hidden=300,100 --optimizer=nadam --epochs=5
"""


def main() -> None:
    """The command."""
    app.run("train", ABOUT, define_train, ignore_broken_pipe(train))


def train(values: Values) -> None:
    """Builds what the flags name, trains it, tests it, and writes the run folder.

    Of several workers each does so, and the first alone reports and writes.
    """
    if values.resume:
        resuming.take_flags(values, define_train)
    check_integer("epochs", values.epochs, at_least=1)
    check_integer("batch_size", values.batch_size, at_least=1)
    check_choices(values)
    events.check(values)
    if values.verify_resume:
        verify_resume(values)
        return
    if values.replay_step is not None:
        replay_step(values)
        return
    with (
        worker_session(
            values.strategy,
            values.worker_timeout,
            _compared_flags(values),
            lambda: _check_folder(values),
        ) as session,
        StopOnSignal(values.stop_after) as signals,
    ):
        signals.raise_if_stopped(_train(values, session, signals))


def _compared_flags(values: Values) -> dict[str, str]:
    """Return the flags that must be equal on all workers, as they are written, by name."""
    compared = (flag for flag in each_flag(values) if flag.name not in WORKER_FLAGS)
    return {flag.name: flag.serialize() for flag in compared}


def _check_folder(values: Values) -> None:
    if values.run_dir:
        run_folder.check_free(Path(values.run_dir))


def _train(values: Values, session: WorkerSession, signals: StopOnSignal) -> Path | None:
    """The run's folder, on the worker that reports."""
    task = build.build_task(values)
    with session.start_barrier():
        strategy = get_strategy(values.strategy, values.replicas)  # before TensorFlow begins
    signals.install_handlers()
    built = build.build_models(values, task)
    data = build.class_weighted(values, task)
    found = _settle_rate(values, task, built, strategy)
    trainer, optimization = training.build_trainer(values, task, built)
    callbacks = [signals, *training.training_callbacks(values, task)]
    trainer.evaluate(tuple(take(task.train, 1)))  # what does not fit is seen before any file
    adapter = as_data_adapter("data", data, values.batch_size)
    speeds = trainer.autotune(adapter, epochs=values.epochs)
    values["execution"].value = trainer.execution  # the run's own record repeats it to the bit
    folder = _folder(values) if session.is_chief else None
    if folder and found:
        write_range_test(folder, found, f"{values.optimizer} on {task.dataset.name}", print)
    print(build.describe(task, built, values), flush=True)
    if slow := slow_precision_reason(values.precision):
        print(f"precision: {slow}", flush=True)
    if values.tensorboard:
        print(f"tensorboard --logdir={events.root(values, folder)}", flush=True)
    if speeds:
        measured = ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items())
        print(f"execution: {trainer.execution} (steps/s: {measured})", flush=True)
    if values.param_rules:
        print("\n".join(optimization.table(trainer.state.params)), flush=True)
    if folder:
        files = [
            JSONLLogger(folder / run_folder.HISTORY_FILE),
            CSVLogger(folder / run_folder.TABLE_FILE),
        ]
        callbacks = [_display(), *callbacks, *files]
    callbacks += events.callbacks(values, folder, task, built)
    with _told(folder):
        history = trainer.fit(
            adapter,
            epochs=values.epochs,
            validation_data=training.held_out(task),
            callbacks=callbacks,
            checkpoints=training.checkpoints(values, folder),
        )
    if signals.stopped_resumable:
        return folder
    summary = _summary(trainer, task, history)
    if folder:
        run_folder.save_model(folder / run_folder.MODEL_FILE, built.full)
        run_folder.write_json(folder / run_folder.SUMMARY_FILE, summary)
    print(f"test: {format_results(summary['test'])}\nrun folder: {folder}", flush=True)
    if folder and values.report:
        _report(folder, run_report.Model(task, built))
    return folder


@contextlib.contextmanager
def _told(folder: Path | None) -> Iterator[None]:
    """Around training: where it came to what is not finite, says how to look into that."""
    try:
        yield
    except NonFiniteError as error:
        how = f"to see where: train --resume={folder} --replay_step={error.batch}"
        if error.batch is None:
            how = "a run with --nonfinite=stop tells the step"
        raise CommandError(f"{error}; {how}" if folder else str(error)) from error


def _folder(values: Values) -> Path:
    """The run's folder, with its flags in it."""
    if not values.resume:
        return run_folder.create(values)
    folder = Path(values.resume)
    run_folder.record_flags(folder, values)
    return folder


def _settle_rate(
    values: Values, task: build.Task, built: build.Models, strategy: Any
) -> LRFinderResult | None:
    """Finds the learning rate where it is "auto", and puts it in the place of the word.

    Workers, whose machines may round in other ways, take what the first one finds.
    """
    if values.learning_rate != AUTO:
        return None
    found = find_rate(values, task, built)
    values["learning_rate"].value = float(f"{broadcast_from_chief(strategy, found.suggestion):.2g}")
    print(f"learning rate: {values.learning_rate:g}, found by a range test", flush=True)
    return found


def _report(folder: Path, model: run_report.Model) -> None:
    """Writes the report, if matplotlib is there; the run is whole whatever goes wrong here."""
    try:
        require_matplotlib()
    except ImportError:
        return
    try:
        run_report.write(run_report.read(folder), model, folder)
    except Exception as error:
        print(f"no report: {one_line(error)}", flush=True)


def _display() -> Callback:
    return ProgressBar() if sys.stdout.isatty() else LineLogger()


def _summary(
    trainer: Trainer, task: build.Task, history: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    parts = {name: getattr(task, name) for name in build.PARTS}
    results = {
        name: trainer.evaluate(tuple(part)) for name, part in parts.items() if part is not None
    }
    return {
        **results,
        "epochs": len(history),
        "steps": int(trainer.state.step),
        "seconds": round(sum(epoch["seconds"] for epoch in history), 3),
        "execution": trainer.execution,
        "classes": task.outputs if task.target.by_class else 0,
        "feature_names": list(task.dataset.feature_names),
        "params_sha256": run_folder.params_sha256(trainer.state.params),
    }


if __name__ == "__main__":
    main()
