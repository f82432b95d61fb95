"""Run an experiment: what `train` does at a shell, as a function of a configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.callbacks import Callback, CSVLogger, JSONLLogger, NonFiniteError
from trainlib.data import TablePreprocessing, take
from trainlib.data.preprocessing import (
    add_preprocessing,
    read_preprocessing,
    write_preprocessing,
)
from trainlib.experiment import run_folder
from trainlib.experiment.augmentation import check_augmentation
from trainlib.experiment.building import (
    Models,
    build_models,
    describe,
    with_scaled_targets,
    with_vocabulary,
)
from trainlib.experiment.calibration import calibrate_models, check_calibration, summary_of
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.optimization import Optimization
from trainlib.experiment.parts import DataConfig
from trainlib.experiment.range_test import (
    find_learning_rate,
    is_rate_auto,
    with_learning_rate,
)
from trainlib.experiment.reporting import write_report_from_memory
from trainlib.experiment.result import (
    ExperimentResult,
    Log,
    NonFiniteRunError,
    Session,
    default_session,
)
from trainlib.experiment.saved_run import build_evaluator
from trainlib.experiment.task import PARTS, Task, build_task, held_out, training_data
from trainlib.experiment.training import (
    build_checkpoints,
    build_trainer,
    check_tensorboard,
    tensorboard_callbacks,
    tensorboard_root,
    training_callbacks,
)
from trainlib.experiment.user_functions import modules_used
from trainlib.report.figures import require_matplotlib
from trainlib.report.range_test import write_range_test
from trainlib.tools.calibration import Calibration
from trainlib.tools.loss_curve import LRFinderResult
from trainlib.training.autotune import Choice, cache_file
from trainlib.training.callback import Results, Stop, TrainingStatus, check_monitored
from trainlib.training.collectives import broadcast_from_chief
from trainlib.training.data_adapter import DataAdapter, as_data_adapter
from trainlib.training.display import format_results
from trainlib.training.evaluation import EVALUATION_BATCH_SIZE
from trainlib.training.execution import slow_precision_reason
from trainlib.training.inference import Inference
from trainlib.training.paths import absolute, printable, shown
from trainlib.training.strategies import get_strategy
from trainlib.training.trainer import Trainer


class _Prepared(NamedTuple):
    """The objects of a run, built before its first file is written."""

    config: ExperimentConfig
    task: Task
    built: Models
    trainer: Trainer
    optimization: Optimization
    callbacks: list[Callback]
    data: DataAdapter
    range_test: LRFinderResult | None


class _LastStatus(Callback):
    """Callback that stores the request that ended training."""

    stop: Stop | None = None

    def on_train_end(self, status: TrainingStatus) -> None:
        self.stop = status.stop


def run_experiment(
    config: ExperimentConfig,
    run_dir: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    session: Session | None = None,
) -> ExperimentResult:
    """Train, test and save a model as a configuration says, like `train` at a shell.

    Each of several workers calls this function; only the chief writes files.

    Args:
        config: the experiment.
        run_dir: the run folder to write, new or empty; default:
            runs/<data set>-<model>-<optimizer>-<time>.
        resume: whether to continue the run in `run_dir` from its newest checkpoint; `config` is
            then that of `trainlib.experiment.resume.resumed_config`. Default: False.
        callbacks: callbacks called before those of the configuration; default: none.
        session: how this process takes part in the run; default: by TF_CONFIG, without a log.

    Returns:
        An `ExperimentResult`.

    Raises:
        ValueError, TypeError, OSError: something that the configuration names does not exist, does
            not fit, or cannot be written.
        NonFiniteError: as `config.nonfinite` says.

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
    given = None if run_dir is None else absolute(run_dir)
    check_tensorboard(config)
    if session.is_chief and given is not None and not resume:
        run_folder.check_free(given)
    rules = read_preprocessing(given) if resume and given is not None else None
    prepared = _prepare(config, session, rules)
    with contextlib.ExitStack() as held:
        folder = _folder(prepared, given, resume, held) if session.is_chief else None
        _log_start(prepared, folder or given, session.log)
        last = _LastStatus()
        history = _fit(prepared, folder, given, [last, *callbacks], resume)
        prepared, calibration = _calibrated(prepared, last.stop, session.log)
        result = _result(prepared, folder, history, last.stop, calibration)
        if result.is_finished:
            _write_results(prepared, result, session.log)
    return result


def _prepare(
    config: ExperimentConfig, session: Session, rules: TablePreprocessing | None = None
) -> _Prepared:
    """Build everything and resolve "auto"; errors are raised before any file is written."""
    task = build_task(config, rules)
    with session.start_barrier():
        strategy = get_strategy(config.strategy, config.replicas)  # before devices are used
    built = build_models(config, task)
    task = with_scaled_targets(task, built)
    check_calibration(config, task, built)
    data = training_data(config, task)
    range_test = None
    if is_rate_auto(config):
        range_test = find_learning_rate(config, task, built)
        # Workers take the chief's: their machines may round differently.
        rate = float(f"{broadcast_from_chief(strategy, range_test.suggestion):.2g}")
        config = with_learning_rate(config, rate)
        session.log(f"learning rate: {rate:g}, found by a range test")
    trainer, optimization = build_trainer(config, task, built)
    callbacks = training_callbacks(config, task, session.log)
    arrays = _names_of_arrays(trainer, task)
    names = trainer.context.result_names(task.validation is not None)
    check_monitored(callbacks, names, [*arrays, *(f"val_{name}" for name in arrays)])
    adapter = as_data_adapter("data", data, config.batch_size)
    check_augmentation(trainer, adapter)
    trainer.autotune(adapter, epochs=config.epochs)
    # The record of the run holds the choices, so that a repetition gives the same bits.
    imports, code_path = modules_used(config, built.full)
    config = dataclasses.replace(
        config,
        execution=trainer.execution,
        data=_resolved_data(config, task),
        model=with_vocabulary(config, task),
        norms=config.reports_norms,
        imports=imports,
        code_path=code_path,
    )
    return _Prepared(config, task, built, trainer, optimization, callbacks, adapter, range_test)


def _resolved_data(config: ExperimentConfig, task: Task) -> DataConfig:
    """Return the settings of the data, with the size and the colors of the images of a folder."""
    images = task.dataset.image_options
    if images is None:
        return config.data
    return dataclasses.replace(config.data, image_size=images.size, color_mode=images.color_mode)


def _names_of_arrays(trainer: Trainer, task: Task) -> list[str]:
    """Return the names of the results that are arrays, after tracing the evaluation.

    Raises:
        ValueError: the loss or a metric does not fit the model, or a part of the data makes no
            batches of the size that a stateful layer takes.
    """
    stateful = trainer.context.stateful
    if stateful is not None:
        for name in PARTS:
            if (examples := getattr(task, name)) is not None:
                trainer.context.adapt(f"the {name} part", task.arrays(examples))
    # The batch size of the evaluation at the end, which then needs no other trace.
    rows = min(EVALUATION_BATCH_SIZE, task.train.size) if stateful is None else stateful[1]
    results = trainer.context.trace_evaluation(task.arrays(take(task.train, rows)), rows)
    return [name for name, value in results.items() if isinstance(value, list)]


def _folder(
    prepared: _Prepared, run_dir: Path | None, resume: bool, held: contextlib.ExitStack
) -> Path:
    """Return the run folder, locked, with the configuration and the rules of a table in it."""
    if not resume:
        folder = run_folder.create(prepared.config, run_dir)
        held.enter_context(run_folder.locked(folder))
        if prepared.task.dataset.preprocessing is not None:
            write_preprocessing(folder, prepared.task.dataset.preprocessing)
        return folder
    if run_dir is None:
        raise ValueError("resume needs run_dir, the folder of the run")
    held.enter_context(run_folder.locked(run_dir))
    run_folder.write_config(run_dir, prepared.config)
    return run_dir


def _log_start(prepared: _Prepared, folder: Path | None, log: Log) -> None:
    """Write the range test's curve, and log what is run and how."""
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
    if slow := slow_precision_reason(config.precision):
        log(f"precision: {slow}")
    if config.tensorboard is not None:
        log(f"tensorboard --logdir={shown(tensorboard_root(config, folder or Path()))}")
    if trainer.context.choice is not None and trainer.context.choice.source != "default":
        log(_describe_choice(trainer.context.choice))
    if config.param_rules:
        log("\n".join(prepared.optimization.table(trainer.state.params)))


def _describe_choice(choice: Choice) -> str:
    """Return how the execution was chosen, and how a run with the same bits chooses it."""
    if choice.source == "cache":
        return f"execution: {choice.execution}, as measured by an earlier run of this kind"
    measured = ", ".join(f"{name} {speed:,.0f}" for name, speed in choice.speeds.items())
    line = f"execution: {choice.execution} (steps/s: {measured})"
    if choice.is_kept:
        return line
    return (
        f"{line}; {cache_file().parent} cannot be written, so that the next run may choose "
        f"another and round differently: --execution={choice.execution} repeats this one"
    )


def _fit(
    prepared: _Prepared,
    folder: Path | None,
    run_dir: Path | None,
    callbacks: Sequence[Callback],
    resume: bool,
) -> list[Results]:
    """Train, and write the history into the folder if this process has one."""
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
    """Add the run folder to an error about numbers that are not finite."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteRunError(str(error), error.batch, folder) from error


def _calibrated(
    prepared: _Prepared, stop: Stop | None, log: Log
) -> tuple[_Prepared, dict[str, Calibration]]:
    """Return a finished run with the temperature in its model, if that is asked for."""
    if not prepared.config.calibrate or (stop is not None and stop.resumable):
        return prepared, {}
    built, found = calibrate_models(prepared.config, prepared.task, prepared.built)
    changes = (f"{part} {x.ece_before:.4f} -> {x.ece_after:.4f}" for part, x in found.items())
    temperature = found["validation"].temperature
    log(f"temperature {temperature:.4g}: expected calibration error on {', '.join(changes)}")
    return prepared._replace(built=built), found


def _result(
    prepared: _Prepared,
    folder: Path | None,
    history: list[Results],
    stop: Stop | None,
    calibration: dict[str, Calibration],
) -> ExperimentResult:
    """Return the result of a run, with those of the parts where it is finished."""
    trainer, task = prepared.trainer, prepared.task
    results: dict[str, Results | None] = dict.fromkeys(PARTS)
    if stop is None or not stop.resumable:
        parts = {name: getattr(task, name) for name in PARTS}
        evaluated: Inference = trainer
        if calibration:
            evaluated = build_evaluator(prepared.config, task, prepared.built)
        results |= {
            name: evaluated.evaluate(task.arrays(x)) for name, x in parts.items() if x is not None
        }
    return ExperimentResult(
        config=prepared.config,
        folder=folder,
        history=history,
        steps=int(trainer.state.step),
        seconds=round(sum(epoch["seconds"] for epoch in history), 3),
        execution=trainer.execution,
        params_sha256=run_folder.params_sha256(trainer.state.params),
        model=prepared.built.full,
        stop=stop,
        calibration=calibration,
        **results,
    )


def _write_results(prepared: _Prepared, result: ExperimentResult, log: Log) -> None:
    """Write the model, the summary and the report of a finished run."""
    folder = result.folder
    if folder is not None:
        file = folder / run_folder.MODEL_FILE
        run_folder.save_model(file, result.model)
        if (rules := prepared.task.dataset.preprocessing) is not None:
            add_preprocessing(file, rules)
        run_folder.write_json(folder / run_folder.SUMMARY_FILE, _summary(prepared.task, result))
    guess = prepared.task.dataset.guess.partition(",")[0]
    title = f"test ({guess}, guessed)" if guess else "test"
    log(f"{title}: {format_results(result.test or {})}")
    log(f"run folder: {None if folder is None else shown(folder)}")
    if folder is not None and result.config.report:
        _write_report(prepared, folder, log)


def _write_report(prepared: _Prepared, folder: Path, log: Log) -> None:
    """Write the report, if matplotlib is installed; an error in it does not fail the run."""
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
        "execution": result.execution,
        "classes": task.outputs if task.target.by_class else 0,
        "class_names": list(task.dataset.class_names) if task.target.by_class else [],
        "feature_names": list(task.dataset.feature_names),
        "params_sha256": result.params_sha256,
    }
