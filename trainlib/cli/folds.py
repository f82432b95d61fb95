"""The flag --folds of `train`: cross-validation instead of one run."""

from __future__ import annotations

from pathlib import Path

from trainlib.cli import output
from trainlib.cli.errors import CommandError, InterruptedRunError, interrupted_status
from trainlib.cli.flag_types import Group, Values
from trainlib.cli.flags import (
    define_settings,
    experiment_config,
    fixed_flags,
    given_flags,
    given_settings,
)
from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.cross_validation import cross_validate
from trainlib.experiment.fold_files import is_cross_validation, read_options
from trainlib.experiment.fold_results import (
    CrossValidationError,
    CrossValidationResult,
    FoldConfig,
)
from trainlib.experiment.resume import check_trust
from trainlib.report.run_page import REPORT_FILE
from trainlib.training.paths import absolute, shown

OF_ONE_RUN = ("verify_resume", "replay_step", "stop_after")
"""Flags of `train` that cannot be combined with --folds."""


def define_folds(values: Values) -> None:
    """Define the flags of cross-validation."""
    Group(values, "Cross-validation").integer(
        "folds",
        None,
        "Number of folds of a cross-validation, at least 2; instead of one run, a model is trained "
        "for each fold and evaluated on the examples that the fold holds out. The test examples "
        "stay unused.",
    )
    define_settings(values, FoldConfig)


def are_folds(values: Values) -> bool:
    """Return whether the flags ask for a cross-validation, or to resume one.

    Raises:
        ValueError: options of folds without --folds, or flags that are not for folds.
    """
    resumes = bool(values.resume) and is_cross_validation(Path(values.resume))
    options = [f"fold_{name}" for name in given_settings(values, FoldConfig)]
    if values.folds is None and not resumes:
        if options:
            raise ValueError(f"--{options[0]} needs --folds")
        return False
    for name in OF_ONE_RUN:
        if values[name].value:
            raise ValueError(f"--{name} is for one run, not for --folds")
    if resumes:
        if values.dry_run:
            raise ValueError("--dry_run is for a new cross-validation, not for one that is resumed")
        others = ["folds"] if values.folds is not None else []
        others += options + fixed_flags(values)
        if others or values.run_dir:
            raise ValueError(
                f"--{(others or ['run_dir'])[0]} cannot change in a cross-validation that is "
                "resumed; only --jobs may"
            )
    elif values.resume:
        raise ValueError(f"{shown(values.resume)} is not the folder of a cross-validation")
    return True


def fold_options(values: Values) -> FoldConfig | None:
    """Return the folds that the flags ask for; None for one run."""
    if values.folds is None:
        return None
    jobs = {} if values.jobs is None else {"jobs": values.jobs}
    return FoldConfig(folds=values.folds, **given_settings(values, FoldConfig), **jobs)


def run_folds(values: Values) -> None:
    """Cross-validate, and print the results on the examples held out."""
    if values.resume:
        folder = absolute(values.resume)
        config = run_folder.read_config(folder)
        check_trust(folder, config, given_flags(values))
        jobs = {} if values.jobs is None else {"jobs": values.jobs}
        _run(config, FoldConfig(**{**_fields(read_options(folder)), **jobs}), folder, resume=True)
        return
    config, options = experiment_config(values), fold_options(values)
    assert options is not None  # without --resume, --folds is given
    if values.run_dir:
        _run(config, options, absolute(values.run_dir))
        return
    with run_folder.new_folder(config, "folds-") as folder:
        _run(config, options, folder)


def _run(config: ExperimentConfig, options: FoldConfig, folder: Path, resume: bool = False) -> None:
    try:
        found = cross_validate(config, options, run_dir=folder, resume=resume, log=output.log)
    except CrossValidationError as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt as error:
        if not is_cross_validation(folder):
            raise
        raise InterruptedRunError(
            f"interrupted; resume with: train --resume={shown(folder)}",
            interrupted_status(error),
        ) from None
    _print_scores(found)
    if (folder / REPORT_FILE).is_file():
        output.print_result(f"report: {shown(folder / REPORT_FILE)}")
    output.print_result(f"run folder: {shown(folder)}")


def _fields(options: FoldConfig) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}


def _print_scores(found: CrossValidationResult) -> None:
    """Print a line for each result: its mean, the standard error and the interval."""
    percent = f"{100 * found.options.confidence:g} %"
    width = max(map(len, found.scores))
    for name, x in found.scores.items():
        interval = f"{percent} interval {x.low:.4g} to {x.high:.4g}"
        error = f"standard error {x.standard_error:.2g}"
        output.print_result(f"held out: {name:{width}}  {x.mean:.4g}  {error}  {interval}")
    parts = found.bias_variance
    if parts is not None:
        output.print_result(
            f"squared error {parts.error:.4g} = bias {parts.bias:.4g} + variance "
            f"{parts.variance:.4g}"
        )
