"""`compare`: train several configurations with several seeds, rank them, and test differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
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
    fixed_flags,
    function_topics,
    given_flags,
    given_settings,
)
from trainlib.cli.progress import lines_with_bar  # noqa: E402
from trainlib.experiment.comparison import folder as folders  # noqa: E402
from trainlib.experiment.comparison.options import CompareConfig  # noqa: E402
from trainlib.experiment.comparison.variants import vary_flags  # noqa: E402
from trainlib.experiment.config import ExperimentConfig  # noqa: E402
from trainlib.experiment.flat import flatten, unflatten  # noqa: E402
from trainlib.experiment.resume import check_trust  # noqa: E402
from trainlib.report.run_page import REPORT_FILE  # noqa: E402
from trainlib.training.files import read_text  # noqa: E402
from trainlib.training.paths import absolute, expanded, shown  # noqa: E402

ABOUT = """
compare: train several configurations with several seeds, rank them by their results on validation
data, and test whether their differences are chance.

  compare --vary='optimizer={sgd,momentum,nesterov,adam}' --seeds=5 --tune_learning_rate
    --dataset=fashion_mnist --model=mlp --hidden=300,100 --epochs=10 --jobs=2
  compare --flagfiles=small.txt,runs/large --seeds=5
  compare --resume=runs/compare-fashion_mnist-mlp-sgd-20260101-120000 --seeds=10

The flags of train hold for every contender. --vary gives several values to a flag: each value is
a contender, or each combination of values if --vary is repeated. The optimizers momentum and
nesterov are sgd with momentum 0.9. The run folder has results.csv, differences.csv, summary.json
and report.html, and the flag file of each contender in the folder flags.
"""
MAY_CHANGE = ("baseline", "jobs")
"""Options that may change when a comparison is resumed, besides the number of seeds."""
SEEDS = 5
OWN_COMMON = ("vary", "flagfiles", "seeds", "tune_learning_rate", "jobs", "resume")
"""The flags of a comparison that the short help shows."""


def main() -> None:
    """Run the command `compare`."""
    common = (*OWN_COMMON, *OF_SEVERAL, "run_dir", "config")
    work = ignore_broken_pipe(compare)
    app.run(
        app.CommandLine("compare", ABOUT, define, work, topics=function_topics(), common=common)
    )


def define(values: Values) -> None:
    """Define the flags of `compare`, then those of an experiment."""
    group = Group(values, "Comparison")
    group.texts(
        "vary",
        "Flags that vary, and their values. Example: 'optimizer={sgd,adam}; depth={1,2}'. It may "
        "be given several times.",
        "FLAGS",
    )
    group.strings(
        "flagfiles",
        None,
        "Flag files or run folders, one for each contender; instead of --vary.",
        "PATHS",
    )
    group.integer("seeds", SEEDS, "Number of runs of each contender; the first seed is --seed.")
    define_settings(values, CompareConfig)
    group.path("resume", None, "Folder of a comparison to resume; --seeds may be larger.")
    define_experiment(values)
    Group(values, "Run").path(
        "run_dir",
        None,
        "Folder to write to, new or empty; default: "
        "runs/compare-<data set>-<model>-<optimizer>-<time>.",
    )


def compare(values: Values) -> None:
    """Compare, and print the contenders."""
    configs, seeds, options = _resumed(values) if values.resume else _new(values)
    from trainlib.experiment.comparison.compare import ComparisonInterrupted, compare
    from trainlib.experiment.comparison.running import NoContenderError

    folder = values.resume or values.run_dir
    resume = bool(values.resume)
    try:
        with lines_with_bar(
            lambda status: _line(status, options), _best, lambda status: status.runs
        ) as on_run:
            result = compare(configs, seeds, options, run_dir=folder, resume=resume, on_run=on_run)
    except NoContenderError as error:
        raise CommandError(str(error)) from error
    except ComparisonInterrupted as error:
        raise InterruptedRunError(
            f"interrupted after {error.finished} of {error.runs} runs; resume with: "
            f"compare --resume={shown(error.folder)}",
            interrupted_status(error),
        ) from error
    _print_ranking(result)
    if (result.folder / REPORT_FILE).is_file():
        output.print_result(f"report: {shown(result.folder / REPORT_FILE)}")
    output.print_result(f"run folder: {shown(result.folder)}")


def _new(values: Values) -> tuple[Mapping[str, ExperimentConfig], int, CompareConfig]:
    if bool(values.vary) == bool(values.flagfiles):
        raise ValueError(
            "give --vary, as in --vary='optimizer={sgd,adam}', or --flagfiles, one of both"
        )
    options = CompareConfig(**given_settings(values, CompareConfig))
    given = given_flags(values)
    if values.vary:
        return vary_flags(given, "; ".join(values.vary)), values.seeds, options
    configs: dict[str, ExperimentConfig] = {}
    for text in values.flagfiles:
        path = expanded(text)
        name = path.resolve().name if path.is_dir() else path.stem
        if name in configs:
            raise ValueError(f"--flagfiles: two are named {name}: rename one of them")
        configs[name] = _read(path, given)
    return configs, values.seeds, options


def _read(path: Path, given: Mapping[str, Any]) -> ExperimentConfig:
    """Return the configuration of a flag file or a run's folder, with the given flags."""
    file = path / "flags.txt" if path.is_dir() else path
    try:
        config = ExperimentConfig.from_flags(read_text(file))
        return unflatten(ExperimentConfig, {**flatten(config), **given})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{shown(file)}: {error}") from error


def _resumed(values: Values) -> tuple[Mapping[str, ExperimentConfig], int, CompareConfig]:
    """Return the options of the comparison in a folder, with those that the flags change."""
    given = given_settings(values, CompareConfig)
    others = [name for name in given if name not in MAY_CHANGE]
    others += fixed_flags(values)
    others += [name for name in ("vary", "flagfiles", "run_dir") if values[name].present]
    if others:
        raise ValueError(
            f"--{others[0]} cannot change in a comparison that is resumed; only --seeds, "
            f"{', '.join(f'--{name}' for name in MAY_CHANGE)} may"
        )
    saved = folders.read_comparison(absolute(values.resume))
    for config in saved.configs.values():
        check_trust(Path(values.resume), config, given_flags(values))
    seeds = values.seeds if values["seeds"].present else saved.seeds
    return saved.configs, seeds, dataclasses.replace(saved.options, **given)


def _line(status: Any, options: CompareConfig) -> str:
    """Return the line about a run that has ended."""
    key, run = status.key, status.run
    rate = "" if key.learning_rate is None else f"  learning_rate {key.learning_rate:g}"
    result = run.failure or f"{options.monitor} {run.monitored(options.monitor):.4g}"
    width = len(str(status.runs))
    head = f"{status.finished:{width}d}/{status.runs}  {key.contender}  seed {key.seed}{rate}"
    best = _best(status)
    return f"{head}  {result}  {best}" if best else f"{head}  {result}"


def _best(status: Any) -> str:
    return "" if status.best is None else f"best {status.best[0]} {status.best[1]:.4g}"


def _print_ranking(result: Any) -> None:
    """Print a line for each contender, the best first."""
    monitor = result.options.monitor
    width = max(len(x.name) for x in result.contenders)
    for rank, contender in enumerate(result.contenders, 1):
        status = contender.status(monitor)
        values = contender.monitored(monitor)
        spread = f" ± {values.std(ddof=1):.2g}" if len(values) > 1 else ""
        rate = contender.learning_rate
        found = "" if rate is None else f"  learning_rate {rate:g}"
        text = status or f"{monitor} {values.mean():.4g}{spread}"
        place = "-" if status else str(rank)
        output.print_result(f"{place}  {contender.name:{width}}  {text}{found}")


if __name__ == "__main__":
    main()
