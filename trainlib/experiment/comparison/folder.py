"""The folder of a comparison: its arguments, its tables, and the flags of the contenders."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.experiment import run_folder
from trainlib.experiment.comparison.options import CompareConfig
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.provenance import made_now
from trainlib.report import columns
from trainlib.report.run_page import file_name
from trainlib.tools.comparison import (
    TEST,
    VALIDATION,
    Contender,
    Difference,
    as_dict,
    part_of_tests,
)
from trainlib.training.files import as_csv, write_text

COMPARISON_FILE = "compare.json"
RESULTS_FILE = "results.csv"
DIFFERENCES_FILE = "differences.csv"
FLAGS_FOLDER = "flags"


class SavedComparison(NamedTuple):
    """The arguments of a comparison, as its folder holds them.

    Attributes:
        configs: configurations by the name of the contender.
        seeds: number of seeds.
        options: options of the comparison.
    """

    configs: Mapping[str, ExperimentConfig]
    seeds: int
    options: CompareConfig


def write_comparison(folder: Path, saved: SavedComparison) -> None:
    """Write the arguments of a comparison into its folder."""
    content = {
        "seeds": saved.seeds,
        "options": dataclasses.asdict(saved.options),
        "contenders": {name: json.loads(x.to_json()) for name, x in saved.configs.items()},
    }
    run_folder.write_json(folder / COMPARISON_FILE, content)


def read_comparison(folder: Path) -> SavedComparison:
    """Return the arguments of the comparison in a folder.

    Raises:
        ValueError: the folder is not that of a comparison, or its file is damaged.
    """
    return run_folder.read_file(folder / COMPARISON_FILE, "not a comparison", _parse)


def _parse(text: str) -> SavedComparison:
    content = json.loads(text)
    configs = {
        name: ExperimentConfig.from_json(json.dumps(x)) for name, x in content["contenders"].items()
    }
    return SavedComparison(configs, content["seeds"], CompareConfig(**content["options"]))


def write_flags(folder: Path, configs: Mapping[str, ExperimentConfig]) -> dict[str, str]:
    """Write a flag file for each contender.

    Returns:
        Paths of the files, relative to the folder, by contender.
    """
    (folder / FLAGS_FOLDER).mkdir(exist_ok=True)
    paths: dict[str, str] = {}
    for name, config in configs.items():
        stem, number = file_name(name), 1
        path = f"{FLAGS_FOLDER}/{stem}.txt"
        while path in paths.values():
            number += 1
            path = f"{FLAGS_FOLDER}/{stem}-{number}.txt"
        write_text(folder / path, config.to_flags())
        paths[name] = path
    return paths


def results_csv(contenders: Sequence[Contender], monitor: str) -> str:
    """Return the table of all runs as CSV, a row for each run, by rank and seed."""
    parts = {
        part: list(
            dict.fromkeys(name for x in contenders for run in x.runs for name in _of(run, part))
        )
        for part in (VALIDATION, TEST)
    }
    headers = [f"{part}_{name}" for part, names in parts.items() for name in names]
    rows = []
    for rank, contender in enumerate(contenders, 1):
        rate = "" if contender.learning_rate is None else contender.learning_rate
        for run in contender.runs:
            values = [run.result(part, name) for part, names in parts.items() for name in names]
            best = columns.best_epoch(run.history, monitor) if run.history else None
            row = [rank, contender.name, run.seed, rate, *map(_blank_nan, values)]
            epochs = [len(run.history), best.epoch if best else "", round(run.seconds, 3)]
            rows.append([*row, *epochs, run.failure])
    names = ["rank", "contender", "seed", "learning_rate", *headers]
    return as_csv([*names, "epochs", "best_epoch", "seconds", "failure"], rows)


def differences_csv(differences: Sequence[Difference]) -> str:
    """Return the differences between contenders as CSV, a row for each pair."""
    names = ["first", "second", "pairs", "difference", "low", "high", "effect_size", "p_value"]
    rows = [
        [x.first, x.second, x.paired.pairs, *map(_blank_nan, [*x.paired[1:], x.corrected])]
        for x in differences
    ]
    return as_csv([*names, "p_value_holm"], rows)


def summary(
    contenders: Sequence[Contender], differences: Sequence[Difference], options: CompareConfig
) -> dict[str, Any]:
    """Return the summary of a comparison: contenders by rank, and their differences."""
    name = options.monitor.removeprefix("val_")
    return {
        "monitor": options.monitor,
        "best": contenders[0].name if contenders else None,
        "tested_on": part_of_tests(contenders, name),
        "contenders": {
            x.name: {"status": x.status(options.monitor) or "complete", **as_dict(x)}
            for x in contenders
        },
        "differences": [
            {
                "first": x.first,
                "second": x.second,
                **x.paired._asdict(),
                "p_value_holm": x.corrected,
            }
            for x in differences
        ],
        **made_now(),
    }


def _of(run: Any, part: str) -> list[str]:
    """Return the names of a run's scalar results on a part of the data."""
    return [name for name, x in getattr(run, part).items() if isinstance(x, (int, float))]


def _blank_nan(value: float) -> float | str:
    return "" if math.isnan(value) else value
