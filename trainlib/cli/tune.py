"""`tune`: search for the configuration with the best result on the validation data."""

from __future__ import annotations

import dataclasses
from typing import Any

from trainlib.cli.lazy_import import defer

defer("tensorflow", "keras")

from trainlib.cli import app, output  # noqa: E402
from trainlib.cli.broken_pipe import ignore_broken_pipe  # noqa: E402
from trainlib.cli.errors import CommandError, InterruptedRunError, interrupted_status  # noqa: E402
from trainlib.cli.flag_types import Group, Values  # noqa: E402
from trainlib.cli.flags import (  # noqa: E402
    OF_SEVERAL,
    define_experiment,
    define_settings,
    experiment_config,
    fixed_flags,
    function_topics,
    given_flags,
    given_settings,
)
from trainlib.cli.progress import lines_with_bar  # noqa: E402
from trainlib.experiment import run_folder  # noqa: E402
from trainlib.experiment.config import ExperimentConfig  # noqa: E402
from trainlib.experiment.resume import check_trust  # noqa: E402
from trainlib.experiment.search import folder as folders  # noqa: E402
from trainlib.experiment.search.options import TuneConfig  # noqa: E402
from trainlib.experiment.search.space import FORMS  # noqa: E402
from trainlib.tools.trial_records import TrialRecord  # noqa: E402
from trainlib.training.paths import absolute, shown  # noqa: E402

ABOUT = f"""
tune: search for the settings of train with the best validation result.

  tune --dataset=california_housing --search='learning_rate=log(3e-4,3e-2); depth=int(0,3);
    width=int(1,100); optimizer={{sgd,nadam}}' --trials=60 --jobs=2 --epochs=100 --early_stop
  tune --resume=runs/tune-california_housing-mlp-adam-20260101-120000 --trials=100

The flags of train hold for every trial. --search lists the flags that vary, separated by
semicolons: {FORMS}. A hyperparameter varies only in trials whose functions have
it. The run folder has trials.csv, report.html, best.txt (the flags of the best trial, for
train --flagfile=FILE) and best, the run with these flags; only that run uses the test data.
"""
MAY_CHANGE = ("trials", "jobs", "refit", "pruner", "storage")
"""Options that may change when a search is resumed."""
OWN_COMMON = ("search", "trials", "sampler", "monitor", "jobs", "resume")
"""The flags of a search that the short help shows."""


def main() -> None:
    """Run the command `tune`."""
    common = (*OWN_COMMON, *OF_SEVERAL, "run_dir", "config")
    work = ignore_broken_pipe(tune)
    app.run(app.CommandLine("tune", ABOUT, define, work, topics=function_topics(), common=common))


def define(values: Values) -> None:
    """Define the flags of `tune`, then those of an experiment."""
    group = Group(values, "Search")
    group.string("search", None, "The settings that vary, and their values.", "SPACE")
    define_settings(values, TuneConfig)
    group.path("resume", None, f"Folder of a search to resume; {', '.join(MAY_CHANGE)} may change.")
    define_experiment(values)
    Group(values, "Run").path(
        "run_dir",
        None,
        "Folder to write to, new or empty; default: "
        "runs/tune-<data set>-<model>-<optimizer>-<time>.",
    )


def tune(values: Values) -> None:
    """Search, and print the best configuration."""
    config, space, options = _resumed(values) if values.resume else _new(values)
    from trainlib.experiment.search.result import NoTrialError, SearchInterrupted
    from trainlib.experiment.search.tune import tune

    folder = values.resume or values.run_dir
    try:
        with lines_with_bar(_line, _best, lambda status: status.trials) as on_trial:
            result = tune(
                config,
                space,
                options,
                run_dir=folder,
                resume=bool(values.resume),
                on_trial=on_trial,
                log=output.log,
            )
    except NoTrialError as error:
        raise CommandError(str(error)) from error
    except SearchInterrupted as error:
        raise InterruptedRunError(
            f"interrupted after {error.finished} of {error.trials} trials; resume with: "
            f"tune --resume={shown(error.folder)}",
            interrupted_status(error),
        ) from error
    output.print_result(f"best: {options.monitor} {result.value:.4g}  {_texts(result.params)}")
    best_flags = shown(result.folder / folders.BEST_FLAGS)
    output.print_result(f"train it: train --flagfile={best_flags}")
    output.print_result(f"run folder: {shown(result.folder)}")


def _new(values: Values) -> tuple[ExperimentConfig, str, TuneConfig]:
    if values.search is None:
        raise ValueError("--search must be given, as in --search='learning_rate=log(1e-4,1e-1)'")
    options = TuneConfig(**given_settings(values, TuneConfig))
    return experiment_config(values), values.search, options


def _resumed(values: Values) -> tuple[ExperimentConfig, str, TuneConfig]:
    """Return the options of the search in a folder, with those that the flags change."""
    given = given_settings(values, TuneConfig)
    others = [name for name in given if name not in MAY_CHANGE]
    others += fixed_flags(values)
    others += [name for name in ("search", "run_dir") if values[name].present]
    if others:
        raise ValueError(
            f"--{others[0]} cannot change in a search that is resumed; only "
            f"{', '.join(f'--{name}' for name in MAY_CHANGE)} may"
        )
    folder = absolute(values.resume)
    saved = folders.read_search(folder)
    options = dataclasses.replace(saved.options, **given)
    config = run_folder.read_config(folder)
    check_trust(folder, config, given_flags(values))
    return config, saved.space, options


def _line(status: Any) -> str:
    """Return the line about a trial that has ended."""
    trial: TrialRecord = status.last
    width = len(str(status.trials))
    result = trial.error if trial.value is None else f"{trial.value:.4g}"
    if trial.state == "pruned":
        result += " pruned"
    head = f"{status.finished:{width}d}/{status.trials}  trial {trial.number}: {result}"
    return "  ".join([head, *filter(None, [_best(status)]), _texts(trial.params)])


def _best(status: Any) -> str:
    return "" if status.best is None else f"best {status.best.value:.4g}"


def _texts(params: Any) -> str:
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )


if __name__ == "__main__":
    main()
