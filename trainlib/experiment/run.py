"""`run_experiment`: train, evaluate and save a model, as `train` does at a shell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainlib.callbacks import Callback, CSVLogger, JSONLLogger, NonFiniteError
from trainlib.data.preprocessing import (
    add_preprocessing,
    read_preprocessing,
    write_preprocessing,
)
from trainlib.experiment import run_folder
from trainlib.experiment.calibration import summary_of
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.model_building import describe
from trainlib.experiment.preparation import (
    LastStatus,
    PreparedRun,
    calibrated,
    evaluate_parts,
    prepare_run,
)
from trainlib.experiment.pretraining import (
    pretraining_summary,
    read_pretraining,
    write_pretraining,
)
from trainlib.experiment.provenance import made_now
from trainlib.experiment.reporting import write_report_from_memory
from trainlib.experiment.result import (
    ExperimentResult,
    Log,
    NonFiniteRunError,
    RunInterrupted,
    Session,
    default_session,
)
from trainlib.experiment.task import PARTS, Task, held_out, outputs_summary
from trainlib.experiment.task_building import build_task
from trainlib.experiment.training import (
    build_checkpoints,
    check_tensorboard,
    tensorboard_callbacks,
    tensorboard_root,
)
from trainlib.experiment.transfer import transfer_summary
from trainlib.report.figures import require_matplotlib
from trainlib.report.range_test import write_range_test
from trainlib.tools.calibration import Calibration
from trainlib.training.autotune import Choice, choices_folder
from trainlib.training.callback import Results, Stop
from trainlib.training.display import format_results
from trainlib.training.execution import slow_precision_reason
from trainlib.training.files import check_can_write
from trainlib.training.paths import absolute, existing_part, printable, shown


def run_experiment(
    config: ExperimentConfig,
    run_dir: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    session: Session | None = None,
) -> ExperimentResult:
    """Train, evaluate and save a model, like `train` at a shell.

    In a multi-worker run each worker calls this function; only the chief writes files.

    Args:
        config: the experiment.
        run_dir: run folder to write, new or empty. Default: None,
            runs/<data set>-<model>-<optimizer>-<time>.
        resume: whether to continue the run in `run_dir` from its newest checkpoint; `config` is
            then that of `trainlib.experiment.resume.resumed_config`. Default: False.
        callbacks: callbacks called before those of the configuration. Default: none.
        session: the part of this process in the run. Default: None, according to TF_CONFIG, without
            a log.

    Returns:
        An `ExperimentResult`.

    Raises:
        ValueError, TypeError, OSError: something that the configuration names does not exist, does
            not suit the data, or cannot be written.
        NonFiniteError: a number is not finite, and `config.nonfinite` is "epoch" or "stop".
        RunInterrupted: the run was interrupted; it can be resumed unless `is_finished`.

    Example:
        >>> import tempfile
        >>> config = tl.ExperimentConfig(
        ...     data=tl.DataConfig(train_examples=64),
        ...     model=tl.config("mlp", hidden=[8]),
        ...     epochs=2,
        ...     execution="graph",
        ...     report=False,
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = tl.run_experiment(config, folder)
        >>> len(result.history), sorted(result.test)
        (2, ['accuracy', 'loss'])
    """
    session = session or default_session()
    check_tensorboard(config)
    given = run_folder.given_path(run_dir, resume, "run", writes=session.is_chief)
    rules = read_preprocessing(given) if resume and given is not None else None
    if session.is_chief and not resume:  # before what may take long, such as pretraining
        path = given or absolute(run_folder.default_path(config))
        check_can_write("run_dir", path / run_folder.CONFIG_FILE, in_new_folder=True)
    begun = resume and given is not None and run_folder.has_checkpoint(given)
    prepared = prepare_run(config, build_task(config, rules), session, pretrains=not begun)
    with contextlib.ExitStack() as held:
        folder = _folder(prepared, given, resume, held) if session.is_chief else None
        held.enter_context(_named_if_interrupted(folder))
        if folder is not None:
            write_pretraining(folder, prepared.pretraining)
        _log_start(prepared, folder or given, session.log)
        last = LastStatus()
        history = _fit(prepared, folder, given, [last, *callbacks], resume)
        prepared.built.plan.restore(prepared.built.full)
        prepared, calibration = calibrated(prepared, last.stop, session.log)
        result = _result(prepared, folder, history, last.stop, calibration)
        if result.is_finished:
            _write_results(prepared, result, session)
    return result


@contextlib.contextmanager
def _named_if_interrupted(folder: Path | None, is_finished: bool = False) -> Iterator[None]:
    """Turn an interrupt into `RunInterrupted`, which names the run folder."""
    try:
        yield
    except RunInterrupted:
        raise
    except KeyboardInterrupt as error:
        if folder is None:
            raise
        raise RunInterrupted(folder, is_finished) from error


def _folder(
    prepared: PreparedRun, run_dir: Path | None, resume: bool, held: contextlib.ExitStack
) -> Path:
    """Make and lock the run folder; write the configuration and the rules of a table into it."""
    if run_dir is None or not resume:
        existed = existing_part(run_dir or absolute(run_folder.RUNS) / "a run")
        folder = run_folder.create(prepared.config, run_dir)
        held.enter_context(run_folder.locked(folder))  # first: no folder of another is removed
        held.enter_context(run_folder.removed_if_refused(folder, existed))
        if prepared.task.dataset.preprocessing is not None:
            write_preprocessing(folder, prepared.task.dataset.preprocessing)
        return folder
    held.enter_context(run_folder.locked(run_dir))
    held.enter_context(run_folder.restored_if_refused(run_dir))
    run_folder.write_config(run_dir, prepared.config)
    return run_dir


def _log_start(prepared: PreparedRun, folder: Path | None, log: Log) -> None:
    """Write the curve of the range test, and log the experiment."""
    config, task, trainer = prepared.config, prepared.task, prepared.trainer
    if folder is not None and prepared.range_test is not None:
        title = f"{config.optimizer.name} on {task.dataset.name}"
        write_range_test(folder, prepared.range_test, title, log)
    dataset = task.dataset
    if dataset.guess:
        log(f"task (guessed): {dataset.guess}; --task decides it")
    for line in dataset.notes:
        log(f"{printable(dataset.name)}: {line}")
    log(describe(config, task, prepared.built))
    if frozen := prepared.built.plan.describe():
        log(frozen)
    if slow := slow_precision_reason(config.precision):
        log(f"precision: {slow}")
    if config.tensorboard is not None:
        log(f"tensorboard --logdir={shown(tensorboard_root(config, folder or Path()))}")
    if trainer.context.choice is not None and trainer.context.choice.source != "default":
        log(_describe_choice(trainer.context.choice))
    if config.param_rules or config.transfer.layer_decay != 1:
        log("\n".join(prepared.optimization.table(trainer.state.params)))


def _describe_choice(choice: Choice) -> str:
    """Return a line on how the execution was chosen, and how to choose the same one again."""
    if choice.source == "cache":
        return f"execution: {choice.execution}, as measured by an earlier run of this kind"
    measured = ", ".join(f"{name} {speed:,.0f}" for name, speed in choice.speeds.items())
    line = f"execution: {choice.execution} (steps/s: {measured})"
    if choice.is_kept:
        return line
    return (
        f"{line}; {choices_folder()} cannot be written, so that the next run may choose "
        f"another and round differently: --execution={choice.execution} repeats this one"
    )


def _fit(
    prepared: PreparedRun,
    folder: Path | None,
    run_dir: Path | None,
    callbacks: Sequence[Callback],
    resume: bool,
) -> list[Results]:
    """Train, and write the history into the run folder if this process has one."""
    config, task = prepared.config, prepared.task
    files: list[Callback] = []
    if folder is not None:
        files = [
            JSONLLogger(folder / run_folder.HISTORY_FILE),
            CSVLogger(folder / run_folder.TABLE_FILE),
        ]
    shared = folder or run_dir or Path()  # workers other than the chief only read checkpoints
    events = tensorboard_callbacks(config, folder or Path("run"), task, prepared.built)
    with _naming_folder(folder):
        return prepared.trainer.fit(
            prepared.data,
            epochs=config.epochs,
            validation_data=held_out(task),
            callbacks=[*callbacks, *prepared.callbacks, *files, *events],
            checkpoints=build_checkpoints(config, shared, resume),
            verbose=0,
        )


@contextlib.contextmanager
def _naming_folder(folder: Path | None) -> Iterator[None]:
    """Add the run folder to errors about numbers that are not finite."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteRunError(str(error), error.batch, folder) from error


def _result(
    prepared: PreparedRun,
    folder: Path | None,
    history: list[Results],
    stop: Stop | None,
    calibration: dict[str, Calibration],
) -> ExperimentResult:
    """Return the result of a run; if it is finished, with results on the parts of the data."""
    trainer = prepared.trainer
    return ExperimentResult(
        config=prepared.config,
        folder=folder,
        history=history,
        steps=int(trainer.state.step),
        seconds=round(sum(epoch["seconds"] for epoch in history), 3),
        execution=trainer.execution,
        params_sha256=run_folder.params_sha256(trainer.weights[0]),
        model=prepared.built.full,
        stop=stop,
        calibration=calibration,
        **evaluate_parts(prepared, stop, calibration),
    )


def _write_results(prepared: PreparedRun, result: ExperimentResult, session: Session) -> None:
    """Write the model, the summary and the report of a finished run."""
    folder = result.folder
    if folder is not None:
        more = transfer_summary(result.config, prepared.built.plan)
        more |= pretraining_summary(result.config, read_pretraining(folder))
        write_model_and_summary(folder, prepared.task, result, more)
    with _named_if_interrupted(folder, is_finished=True):
        guess = prepared.task.dataset.guess.partition(",")[0]
        title = f"test ({guess}, guessed)" if guess else "test"
        log = session.log_result or session.log
        log(f"{title}: {format_results(result.test or {})}")
        log(f"run folder: {None if folder is None else shown(folder)}")
        if folder is not None and result.config.report:
            _write_report(prepared, folder, session.log)


def write_model_and_summary(
    folder: Path, task: Task, result: ExperimentResult, more: Mapping[str, Any] | None = None
) -> None:
    """Write the model of a finished run, the rules of its table, and the summary.

    Args:
        folder: folder of the run.
        task: data of the run, with its loss and targets.
        result: result of the run.
        more: further entries of the summary. Default: None.
    """
    file = folder / run_folder.MODEL_FILE
    run_folder.save_model(file, result.model)
    if (rules := task.dataset.preprocessing) is not None:
        add_preprocessing(file, rules)
        write_preprocessing(folder, rules)
    content = {**_summary(task, result), **(more or {})}
    run_folder.write_json(folder / run_folder.SUMMARY_FILE, content)


def _write_report(prepared: PreparedRun, folder: Path, log: Log) -> None:
    """Write the report if matplotlib is installed; errors in it are logged, not raised."""
    try:
        require_matplotlib()
    except ImportError:
        return
    try:
        write_report_from_memory(folder, prepared.config, prepared.task, prepared.built)
    except Exception as error:
        log(f"no report: {' '.join(str(error).split())}")


def _summary(task: Task, result: ExperimentResult) -> dict[str, Any]:
    parts = {name: getattr(result, name) for name in PARTS}
    return {
        **{name: results for name, results in parts.items() if results is not None},
        **summary_of(result.calibration),
        "epochs": len(result.history),
        "steps": result.steps,
        "seconds": result.seconds,
        "stop": None if result.stop is None else result.stop.reason,
        "execution": result.execution,
        "classes": task.outputs if task.target.by_class else 0,
        "class_names": list(task.dataset.class_names) if task.target.by_class else [],
        "feature_names": list(task.dataset.feature_names),
        **outputs_summary(task),
        "params_sha256": result.params_sha256,
        **made_now(),
    }
