"""The report of one run: what its folder holds as pictures and a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.cli import build, run_folder, saved
from trainlib.cli.flag_types import Values
from trainlib.cli.flags import define_train
from trainlib.cli.optimization import build_optimization
from trainlib.cli.range_test import CURVE_FILE, read_range_test
from trainlib.cli.run_folder import FLAGS_FILE, SUMMARY_FILE
from trainlib.cli.targets import INDEX
from trainlib.metrics.base import ACTIVATIONS
from trainlib.report import curves, page, plots
from trainlib.report import history as columns
from trainlib.report import predictions as predicted
from trainlib.report.examples import worst_examples
from trainlib.report.predictions import Predictions
from trainlib.training.files import write_text

REPORT_FILE = "report.html"
MISTAKES = 10
"""Pairs of classes that are listed."""
POINTS = 1000
"""At which a schedule is drawn."""

Pictures = dict[str, Any]
"""Figures by the names of their files."""


class Run(NamedTuple):
    """What the folder of a run holds; `values`, its flags, and `summary` are None where missing."""

    name: str
    history: list[dict[str, Any]]
    values: Values | None
    summary: dict[str, Any] | None


class Model(NamedTuple):
    """The model of a finished run, and its data."""

    task: build.Task
    built: build.Models


def read(folder: Path) -> Run:
    """The run in a folder, finished or not.

    Raises:
        ValueError: there is none, or a file of it is damaged.
    """
    history = run_folder.read_history(folder)
    values = summary = None
    if (folder / FLAGS_FILE).is_file():
        values = run_folder.recorded_flags(folder, define_train)
    if values is not None and (folder / SUMMARY_FILE).is_file():
        summary = run_folder.read_summary(folder)
        for name in ("test", "feature_names"):
            if name not in summary:
                raise ValueError(f"{folder / SUMMARY_FILE}: lacks {name!r}")
    return Run(folder.resolve().name, history, values, summary)


def load_model(folder: Path, run: Run, safe_mode: bool) -> Model | None:
    """The model of a run that is finished, and its data; None of one that is not."""
    if run.values is None or run.summary is None:
        return None
    task = build.build_task(run.values, tuple(run.summary["feature_names"]))
    return Model(task, saved.load(folder, task, safe_mode))


def write(run: Run, model: Model | None, folder: Path, source: Path) -> None:
    """Writes the page and its pictures.

    Args:
        run: of `read`.
        model: of `load_model`.
        folder: where to write.
        source: the run's own folder.

    Raises:
        ImportError: matplotlib is not installed.
    """
    plots.require()
    parts = list(_parts(run, model, source))
    text = page.document(run.name, [part for part, _ in parts])
    for _, pictures in parts:
        for name, figure in pictures.items():
            plots.save(figure, folder / f"{name}.png")
    write_text(folder / REPORT_FILE, text)


def _parts(run: Run, model: Model | None, source: Path) -> Iterator[tuple[str, Pictures]]:
    """The sections of the page, each with the pictures in it."""
    warning = "" if run.summary is not None else "This run is not finished."
    yield page.heading(run.name, _command(run.values), warning), {}
    yield page.side_by_side(page.facts(_facts(run, model)), _results(run)), {}
    drawn = _curves(run, model)
    yield page.section("How it went", page.pictures(drawn.items())), drawn
    if model is not None and run.values is not None:
        yield from _of_predictions(model, run.values)
    yield page.section("Range test", page.pictures(_range_test(run, source).items())), {}
    if run.values is not None:
        flags = page.lines_of_code(run_folder.flags_text(run.values).splitlines())
        yield page.section("Flags", page.folded("all flags of the run", flags)), {}


def _command(values: Values | None) -> str:
    """`train` with the flags that are not at their defaults."""
    if values is None:
        return ""
    flags = run_folder.recorded(values)
    return " ".join(["train", *(f.serialize() for f in flags if f.value != f.default)])


def _facts(run: Run, model: Model | None) -> Iterator[tuple[str, str]]:
    """What the run is, by name."""
    values, done = run.values, len(run.history)
    if values is not None:
        yield "data set", values.dataset
    if model is not None:
        task, full = model.task, model.built.full
        sizes = {"training": task.train, "validation": task.validation, "test": task.test}
        counts = [f"{part.size:,} {name}" for name, part in sizes.items() if part is not None]
        yield "examples", ", ".join(counts)
        yield "model", f"{values.model if values else ''}, {full.count_params():,} parameters"
        yield "loss", task.loss
    elif values is not None:
        yield "model", values.model
    if values is not None:
        yield "optimizer", values.optimizer
        yield "batch size", f"{values.batch_size}"
        yield "epochs", f"{done}" if done == values.epochs else f"{done} of {values.epochs}"
    else:
        yield "epochs", f"{done}"
    yield "best epoch", page.described(*best(run))
    yield "training took", duration(columns.column(run.history, "seconds"))


def best(run: Run) -> tuple[columns.Best | None, str]:
    """The best epoch by the loss, of the validation where there is one, and the loss's name."""
    name = "val_loss" if columns.has(run.history, "val_loss") else "loss"
    return columns.best(run.history, name), name


def duration(seconds: np.ndarray) -> str:
    """The sum of seconds in words."""
    total = float(np.nansum(seconds))
    if total < 120:
        return f"{total:.3g} s"
    minutes, rest = divmod(round(total), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _results(run: Run) -> str:
    """A row for each part of the data, a column for each result that is a number."""
    if run.summary is None:
        return ""
    results = {part: run.summary[part] for part in build.PARTS if part in run.summary}
    names = [name for name, x in results["test"].items() if isinstance(x, (int, float))]
    rows = [[part, *(float(of[name]) for name in names)] for part, of in results.items()]
    title = page.note("Results of the saved model")
    return title + page.table(["part", *map(curves.words, names)], rows)


def _curves(run: Run, model: Model | None) -> Pictures:
    history = run.history
    drawn = {name: curves.learning_curve(history, name) for name in columns.names(history)}
    if columns.has(history, columns.RATE):
        schedule = None if model is None else _schedule(run, model)
        drawn["learning_rate"] = curves.learning_rate(history, schedule)
    scaling = (name for name in columns.SCALING if columns.has(history, name))
    drawn |= {name: curves.plain(history, name) for name in scaling}
    if columns.norms(history):
        drawn["norms"] = curves.norms(history)
    return {file_name(name): figure for name, figure in drawn.items()}


def _schedule(run: Run, model: Model) -> tuple[np.ndarray, np.ndarray] | None:
    """Places in epochs and the rates there; None where the rate is no function of the step."""
    values = run.values
    assert values is not None
    steps = -(-model.task.train.size // values.batch_size)
    rate = build_optimization(values, steps).rate
    if rate is None:
        return None
    total = steps * int(columns.epochs(run.history)[-1])
    places = np.unique(np.linspace(0, total - 1, POINTS).round().astype(np.int64))
    return (places + 1) / steps, np.asarray(rate(places), np.float64)


def _of_predictions(model: Model, values: Values) -> Iterator[tuple[str, Pictures]]:
    """What the model predicts of the test part."""
    task = model.task
    found = _predictions(model, values)
    names: list[str] = []
    if task.target.by_class:
        names = list(task.dataset.class_names) or [str(k) for k in range(task.outputs)]
        counts = predicted.confusion(found, task.outputs)
        kinds = {"confusion_counts": False, "confusion_shares": True}
        if task.outputs > predicted.WRITTEN:
            del kinds["confusion_counts"]
        drawn = {
            file: predicted.confusion_matrix(counts, names, normalized)
            for file, normalized in kinds.items()
        }
        body = page.pictures(drawn.items(), _mistakes(counts, names), large=True)
    else:
        drawn = {
            "residuals": predicted.residuals(found),
            "residual_histogram": predicted.residual_histogram(found),
        }
        body = page.pictures(drawn.items(), large=True)
    yield page.section("Predictions of the test part", body), drawn
    x_max, features = task.dataset.x_max, task.dataset.feature_names
    worst = worst_examples(found, task.test.x, x_max, names, features)
    yield page.section("Test examples with the highest loss", worst), {}


def _predictions(model: Model, values: Values) -> Predictions:
    task, built = model.task, model.built
    outputs = saved.evaluator(built, values, task).predict(task.test.x).astype(np.float32)
    loss = build.build_loss(values, task.loss, built.from_logits)
    losses = np.asarray(loss(task.test.y, outputs), np.float64)
    if not task.target.by_class:
        return Predictions(task.test.y, outputs.reshape(-1), None, losses)
    scores = outputs
    if built.from_logits:
        scores = np.asarray(ACTIVATIONS[str(task.target.activation)](outputs))
    true = task.test.y if task.target.form == INDEX else task.test.y.argmax(axis=1)
    name = "confidence" if task.target.activation else "score"
    return Predictions(true, scores.argmax(axis=1), scores, losses, name)


def _mistakes(counts: np.ndarray, names: list[str]) -> str:
    """The pairs of classes that are taken for one another most often, as a table."""
    pairs = predicted.most_mistaken(counts, MISTAKES)
    rows = [[names[p.true], names[p.predicted], p.times, f"{p.share:.1%}"] for p in pairs]
    headers = ["true", "taken for", "times", "of the class"]
    return page.note("Most frequent mistakes") + page.table(headers, rows) if rows else ""


def _range_test(run: Run, folder: Path) -> Pictures:
    """The curve of the range test that the run began with, if it did; its PNG is there already."""
    if not (folder / CURVE_FILE).is_file():
        return {}
    rates, losses, smoothed = read_range_test(folder)
    marks = {} if run.values is None else {"learning rate": float(run.values.learning_rate)}
    title = "the loss by learning rate"
    return {"lr_find": plots.range_test(rates, losses, smoothed, marks, title)}


def file_name(name: str) -> str:
    """The name of a result as that of a file."""
    return "".join(c if c.isalnum() or c in "_-." else "_" for c in name)
