"""The folder of a cross-validation: the results of its folds, its tables and its report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.flat import flatten
from trainlib.experiment.fold_results import CrossValidationResult, FoldConfig, FoldResult
from trainlib.experiment.provenance import command_line, made_now, provenance
from trainlib.experiment.task import Task
from trainlib.report.figures import require_matplotlib
from trainlib.report.folds_page import write_folds_page
from trainlib.training.files import as_csv, read_text, write_atomically, write_text
from trainlib.training.paths import shown

OPTIONS_FILE = "folds.json"
IDENTITY = "identity"
"""The entry of `folds.json` with texts that identify the data and the folds."""
MAY_CHANGE = ("jobs", "confidence", "code_path", "data_dir", "report", "safe_mode")
"""Settings that may change when a cross-validation is resumed."""
TABLE_FILE = "folds.csv"
PREDICTIONS_FILE = "out_of_fold.csv"
FOLDS_FOLDER = "folds"


def write_options(folder: Path, options: FoldConfig, identity: Mapping[str, str]) -> None:
    """Write the options of the folds, and texts that identify the data, into the folder."""
    (folder / FOLDS_FOLDER).mkdir()
    content = {**dataclasses.asdict(options), IDENTITY: dict(identity)}
    run_folder.write_json(folder / OPTIONS_FILE, content)


def check_resumed(
    folder: Path, config: ExperimentConfig, options: FoldConfig, identity: Mapping[str, str]
) -> None:
    """Raise `ValueError` if the folder is of other settings, folds or data."""
    held = flatten(run_folder.read_config(folder)) | dataclasses.asdict(read_options(folder))
    given = flatten(config) | dataclasses.asdict(options)
    held |= json.loads(read_text(folder / OPTIONS_FILE)).get(IDENTITY, identity)
    given |= identity
    for name in {**held, **given}:
        if name not in MAY_CHANGE and held.get(name) != given.get(name):
            raise ValueError(
                f"the cross-validation in {shown(folder)} has {name} {held.get(name)}, here it is "
                f"{given.get(name)}: give the same, or begin a new one in another folder"
            )


def is_cross_validation(folder: Path) -> bool:
    """Return whether a folder is that of a cross-validation."""
    return (folder / OPTIONS_FILE).is_file()


def read_options(folder: Path) -> FoldConfig:
    """Return the options of the folds.

    Raises:
        ValueError: the file is damaged.
    """
    file = folder / OPTIONS_FILE
    try:
        fields = json.loads(read_text(file))
        return FoldConfig(**{name: x for name, x in fields.items() if name != IDENTITY})
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{shown(file)}: {error}") from error


def write_result(folder: Path, number: int, result: FoldResult) -> None:
    """Write the result of a fold, its predictions first; a failed fold is not written."""
    if result.predictions is None:
        return
    file = folder / FOLDS_FOLDER / f"fold_{number:03d}"
    predictions = result.predictions
    write_atomically(file.with_suffix(".npy"), lambda aside: _save(aside, predictions))
    run_folder.write_json(file.with_suffix(".json"), result._replace(predictions=None)._asdict())


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_results(folder: Path, count: int) -> dict[int, FoldResult]:
    """Return the results of the finished folds, by number.

    Raises:
        ValueError: a file is damaged.
    """
    found = {}
    for number in range(count):
        file = folder / FOLDS_FOLDER / f"fold_{number:03d}.json"
        if file.is_file():
            try:
                result = FoldResult(**json.loads(read_text(file)))
                predictions = np.load(file.with_suffix(".npy"), allow_pickle=False)
            except (ValueError, TypeError, OSError) as error:
                raise ValueError(f"{shown(file)}: {error}") from error
            found[number] = result._replace(
                train=run_folder.with_nan(result.train),
                validation=result.validation and run_folder.with_nan(result.validation),
                held_out=run_folder.with_nan(result.held_out),
                predictions=predictions,
            )
    return found


def write_summary(found: CrossValidationResult, task: Task) -> None:
    """Write the tables, the summary and, if configured and possible, the report."""
    folder = found.folder
    assert folder is not None
    write_text(folder / TABLE_FILE, _table(found))
    write_text(folder / PREDICTIONS_FILE, _predictions(found, task))
    summary = {**summary_of(found), **made_now()}
    run_folder.write_json(folder / run_folder.SUMMARY_FILE, summary)
    if not found.config.report:
        return
    try:
        require_matplotlib()
    except ImportError:
        return
    names = _class_names(found, task)
    command = command_line("train", found.config, found.options, folds=found.options.folds)
    made = provenance(command, found.config, summary)
    write_folds_page(found, task.dataset.name, names, folder, made)


def summary_of(found: CrossValidationResult) -> dict[str, Any]:
    """Return the scores of a cross-validation, for `summary.json`."""
    parts = found.bias_variance
    return {
        "held_out": {name: x._asdict() for name, x in found.scores.items()},
        "train": {name: x._asdict() for name, x in found.train_scores.items()},
        "bias_variance": None if parts is None else parts._asdict(),
        "folds": len(found.folds),
        "failures": {str(k): x.failure for k, x in enumerate(found.folds) if x.failure},
        "seconds": round(sum(x.seconds for x in found.folds), 3),
    }


def _table(found: CrossValidationResult) -> str:
    """Return a row for each fold as CSV."""
    held_out, train = list(found.scores), list(found.train_scores)
    header = ["repeat", "fold", "train_examples", "held_out_examples", "epochs", "seconds"]
    header += held_out + [f"train_{name}" for name in train] + ["failure"]
    rows = []
    for split, x in zip(found.splits, found.folds, strict=True):
        sizes = x.train_size, len(split.held_out), x.epochs, x.seconds
        results = [*_values(x.held_out, held_out), *_values(x.train, train)]
        rows.append([x.repeat, x.fold, *sizes, *results, x.failure or ""])
    return as_csv(header, rows)


def _values(results: Mapping[str, Any], names: list[str]) -> list[Any]:
    return [results.get(name, "") for name in names]


def _class_names(found: CrossValidationResult, task: Task) -> tuple[str, ...]:
    """Return the names of the classes; () for numbers."""
    if not task.target.by_class:
        return ()
    count = max(found.out_of_fold.shape[-1], int(found.targets.max()) + 1)
    return task.dataset.class_names or tuple(str(k) for k in range(count))


def _predictions(found: CrossValidationResult, task: Task) -> str:
    """Return a row for each example and repeat as CSV: its target, its fold and the prediction."""
    names, columns = _class_names(found, task), found.out_of_fold.shape[-1]
    begin = "p" if all(name.isdigit() for name in names) else "p_"
    predicted = ["prediction"] if columns == 1 else [f"prediction{k}" for k in range(columns)]
    if len(names) == columns:
        predicted = [begin + name for name in names]
    rows = []
    for split, x in zip(found.splits, found.folds, strict=True):
        for example in split.held_out:
            target = found.targets[example]
            shown_target = names[target] if names else f"{float(np.ravel(target)[0]):.7g}"
            values = found.out_of_fold[x.repeat, example]
            rows.append(
                [x.repeat, x.fold, example, shown_target, *(f"{float(v):.7g}" for v in values)]
            )
    return as_csv(["repeat", "fold", "example", "target", *predicted], rows)
