"""`train`: train a model on a data set, and write a run folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.callbacks import Callback, LineLogger, ProgressBar, StopAfter  # noqa: E402
from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.broken_pipe import ignore_broken_pipe  # noqa: E402
from trainlib.cli.distributed.session import WorkerSecret, worker_session  # noqa: E402
from trainlib.cli.errors import (  # noqa: E402
    CommandError,
    InterruptedRunError,
    interrupted_status,
)
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import (  # noqa: E402
    COMMON,
    define_experiment,
    experiment_config,
    function_topics,
    given_flags,
)
from trainlib.cli.folds import are_folds, define_folds, fold_options, run_folds  # noqa: E402
from trainlib.cli.signals import StopOnSignal  # noqa: E402
from trainlib.core.checks import check_integer  # noqa: E402
from trainlib.experiment import run_folder  # noqa: E402
from trainlib.experiment.config import ExperimentConfig  # noqa: E402
from trainlib.experiment.ensemble import run_ensemble  # noqa: E402
from trainlib.experiment.ensemble_average import result_lines  # noqa: E402
from trainlib.experiment.flat import flag_text, flatten  # noqa: E402
from trainlib.experiment.plan import plan_lines  # noqa: E402
from trainlib.experiment.replay import replay_step  # noqa: E402
from trainlib.experiment.result import (  # noqa: E402
    ExperimentResult,
    NonFiniteRunError,
    RunInterrupted,
    Session,
)
from trainlib.experiment.resume import resumed_config, resumed_ensemble  # noqa: E402
from trainlib.experiment.run import run_experiment  # noqa: E402
from trainlib.experiment.verify_resume import DifferentBitsError, verify_resume  # noqa: E402
from trainlib.training.display import LoggedLines  # noqa: E402
from trainlib.training.paths import shown  # noqa: E402

ABOUT = """
train: train a model on a data set, and write a run folder.

  train --dataset=fashion_mnist --model=mlp --optimizer=nadam --epochs=5
  train --dataset=houses.csv --folds=5    (cross-validation instead of one run)
  train --help=nadam    (the flags of one optimizer, loss, metric, model, ...)
"""
WORKER_SETTINGS = ("data_dir", "strategy", "worker_timeout")
"""Settings that may differ between workers."""
PATHS = ("dataset", "model", "tensorboard_dir")
"""Settings that may be paths: compared relative to the working directory of each worker."""
COMMON_OF_RUN = ("resume", "folds", "run_dir", "dry_run", "config")
"""The flags of a run that the short help shows, after those of an experiment."""


def main() -> None:
    """Run the command."""
    common = (*COMMON, *COMMON_OF_RUN)
    work = ignore_broken_pipe(train)
    app.run(app.CommandLine("train", ABOUT, define, work, topics=function_topics(), common=common))


def define(values: Values) -> None:
    """Define the flags of `train`: those of an experiment, and those of this run only."""
    define_experiment(values)
    define_run_dir(values)
    Group(values, "Run").boolean(
        "dry_run",
        False,
        "Print the plan of the run and check its settings; the plan has data, task, model, memory, "
        "steps and execution. Nothing is trained or written.",
    )
    Group(values, "Ensemble").integer(
        "jobs",
        None,
        "Processes that train members of an ensemble, or folds; default: 1, or for an ensemble as "
        "many as there are cores if the first member took long.",
    )
    group = Group(values, "Checkpoints")
    group.path("resume", None, "Folder of a run to resume; it continues at its newest checkpoint.")
    group.integer(
        "replay_step",
        None,
        "With --resume: repeat this step, counted from 1; the range of every tensor in it is "
        "printed, and nothing is written.",
    )
    group.integer(
        "stop_after",
        None,
        "Stop the run after this number of batches; with a checkpoint, as SIGTERM does.",
    )
    group.boolean(
        "verify_resume",
        False,
        "Check that a stopped and resumed run ends in the same bits; instead of training, with "
        "these flags.",
    )
    group.integer(
        "verify_steps", 100, "With --verify_resume: batches before the stop, and after it."
    )
    define_folds(values)
    define_workers(values)


def define_workers(values: Values) -> None:
    """Define the flags of a run with several workers."""
    group = Group(values, "Workers")
    group.path(
        "worker_secret_file",
        None,
        "File with a secret by which workers authenticate each other; at least 16 bytes, the same "
        "for all workers; default: the environment variable TRAINLIB_WORKER_SECRET. Workers on "
        "several machines need one.",
    )
    group.boolean(
        "insecure_workers",
        False,
        "Allow workers on several machines without a secret; only for networks that nobody else "
        "can reach.",
    )


def define_run_dir(values: Values) -> None:
    """Define the flag for the folder of a new run."""
    Group(values, "Run").path(
        "run_dir",
        None,
        "Run folder to write, new or empty; default: runs/<data set>-<model>-<optimizer>-<time>.",
    )


def train(values: Values) -> None:
    """Run the experiment that the flags describe; of several workers, the chief reports."""
    if are_folds(values) and not values.dry_run:
        run_folds(values)
        return
    config = _config(values)
    output.detail(config.to_flags().rstrip())
    if values.dry_run:
        _print_plan(config, values)
        return
    if not config.ensemble.is_one:
        _train_ensemble(config, values)
        return
    if values.jobs is not None:
        raise ValueError("--jobs needs --folds, or --ensemble, a number of models of at least 2")
    if values.verify_resume:
        _verify_resume(config, values.verify_steps)
        return
    if values.replay_step is not None:
        output.print_result(replay_step(config, Path(values.resume), values.replay_step))
        return
    _train_one(config, values)


def _train_one(config: ExperimentConfig, values: Values) -> None:
    """Train one model, as one worker of possibly several; a signal stops it with a checkpoint."""
    folder = values.resume or values.run_dir
    stop_after = _stop_after(values.stop_after)

    def check() -> None:
        if folder and not values.resume:
            run_folder.check_free(Path(folder))

    with (
        worker_session(
            config.strategy,
            config.worker_timeout,
            _compared_flags(config),
            check,
            WorkerSecret(values.worker_secret_file, values.insecure_workers),
        ) as worker,
        StopOnSignal() as signals,
    ):

        @contextlib.contextmanager
        def start(fingerprint: Callable[[], str]) -> Iterator[None]:
            with worker.start_barrier(fingerprint):
                yield
            signals.install_handlers()  # again: the servers that have started replaced them

        session = Session(worker.is_chief, start, output.log, output.print_result)
        callbacks = [*(_displays() if worker.is_chief else []), signals, *stop_after]
        result = _run(config, folder, bool(values.resume), callbacks, session)
        signals.raise_if_stopped(result.folder)


def _print_plan(config: ExperimentConfig, values: Values) -> None:
    """Print what the run would do."""
    if values.run_dir:
        run_folder.check_free(Path(values.run_dir))
    for line in plan_lines(config, values.resume or values.run_dir, fold_options(values)):
        output.print_result(line)


def _config(values: Values) -> ExperimentConfig:
    """Return the configuration of the flags; for a resumed run, its own with their changes."""
    if not values.resume:
        if values.replay_step is not None:
            raise ValueError("--replay_step needs --resume, the folder of the run")
        return experiment_config(values)
    if values.run_dir:
        raise ValueError("--resume continues in the folder of the run: leave --run_dir out")
    to_replay = values.replay_step is not None
    ensemble = resumed_ensemble(Path(values.resume), given_flags(values))
    if ensemble is not None:
        return ensemble
    return resumed_config(Path(values.resume), given_flags(values), to_replay)


def _train_ensemble(config: ExperimentConfig, values: Values) -> None:
    """Train the ensemble that the flags describe."""
    for flag in ("stop_after", "replay_step", "verify_resume"):
        if values[flag].value:
            raise ValueError(f"--{flag} is for runs of one model: leave it out for an ensemble")
    folder = values.resume or values.run_dir
    try:
        result = run_ensemble(
            config, folder, resume=bool(values.resume), jobs=values.jobs, log=output.log
        )
    except RunInterrupted as error:
        raise _interrupted(error) from error
    for line in result_lines(result):
        output.print_result(line)


def _stop_after(batches: int | None) -> list[Callback]:
    """Return the callback of --stop_after, if it is given."""
    if batches is None:
        return []
    check_integer("stop_after", batches, at_least=1)
    return [StopAfter(batches, f"--stop_after={batches}")]


def _compared_flags(config: ExperimentConfig) -> dict[str, str]:
    """Return the flags that must be equal on all workers, as they are written, by name."""
    flat = flatten(config)
    written = {name: shown(x) if name in PATHS else x for name, x in flat.items()}
    return {name: flag_text(name, x) for name, x in written.items() if name not in WORKER_SETTINGS}


def _run(
    config: ExperimentConfig,
    folder: str | None,
    resume: bool,
    callbacks: list[Callback],
    session: Session,
) -> ExperimentResult:
    """Run the experiment; the message of an error that ends it names the next command."""
    try:
        return run_experiment(config, folder, resume=resume, callbacks=callbacks, session=session)
    except RunInterrupted as error:
        raise _interrupted(error) from error
    except NonFiniteRunError as error:
        how = "a run with --nonfinite=stop names the step"
        if error.folder and error.batch is not None:
            how = f"to see where: train --resume={shown(error.folder)} --replay_step={error.batch}"
        raise CommandError(f"{error}; {how}" if error.folder else str(error)) from error


def _interrupted(error: RunInterrupted) -> InterruptedRunError:
    """Return the error of an interrupted run, whose message names the next command."""
    how = f"resume with: train --resume={shown(error.folder)}"
    if error.is_finished:
        how = f"the run is finished but for its report: report {shown(error.folder)}"
    return InterruptedRunError(f"interrupted; {how}", interrupted_status(error))


def _verify_resume(config: ExperimentConfig, steps: int) -> None:
    try:
        output.print_result(verify_resume(config, steps, output.log))
    except DifferentBitsError as error:
        raise CommandError(str(error)) from error


def _displays() -> list[Callback]:
    """Return the display of a run: a bar in a terminal, with lines for the log file, or lines."""
    if not output.has_progress_bar():
        return [LineLogger(LoggedLines(output.log))]
    from rich.console import Console

    return [ProgressBar(Console(stderr=True)), LineLogger(LoggedLines(output.log_to_file))]


if __name__ == "__main__":
    main()
