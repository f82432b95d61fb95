"""The page of one run: `report.html` and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.report import columns, curves, figures, page, predictions, reconstructions, tables
from trainlib.report.augmentation import AugmentedExamples, augmentation_sheet
from trainlib.report.class_scores import class_curves, class_table, precision_recall_figure
from trainlib.report.columns import LEARNING_RATE
from trainlib.report.diagnosis import diagnose
from trainlib.report.examples import ExampleData, worst_examples
from trainlib.report.predictions import CONFIDENCE, Predictions
from trainlib.report.range_test import LossCurve, curve_figure
from trainlib.report.reconstructions import Reconstructions
from trainlib.report.reliability import reliability_figure
from trainlib.report.run_record import ModelRecord, OutputRecord, RunRecord
from trainlib.training.files import write_text

REPORT_FILE = "report.html"
PARTS = ("train", "validation", "test")
"""Parts of the data with results in the summary."""
MOST_CONFUSIONS = 10
"""Number of confused pairs of classes that are listed."""
MOST_RESULTS = 4
"""Number of results on the test data in large type."""
Figures = dict[str, Any]
"""Figures by the names of their files."""


class Section(NamedTuple):
    """A section of the page.

    Attributes:
        html: its HTML.
        figures: its figures, each of which is also written as a file of its own.
    """

    html: str
    figures: Figures = {}


def write_run_page(run: RunRecord, model: ModelRecord | None, folder: Path) -> None:
    """Write the page and its pictures.

    Args:
        run: record of the run.
        model: record of its model; None if the run is not finished.
        folder: where to write.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figures.require_matplotlib()
    sections = list(_sections(run, model))
    text = page.document(run.name, [section.html for section in sections])
    for section in sections:
        for name, figure in section.figures.items():
            figures.save_png(figure, folder / f"{name}.png")
    write_text(folder / REPORT_FILE, text)


def _sections(run: RunRecord, model: ModelRecord | None) -> Iterator[Section]:
    warning = "" if run.summary is not None else "This run is not finished."
    yield Section(page.heading(run.name, run.made, warning))
    yield Section(page.key_results(_key_results(run, model)))
    yield Section(page.advice(diagnose(run.history, run.settings, run.summary)))
    facts = page.description_list(_facts(run, model))
    title = "Settings" if run.summary is None else "Results of the saved model"
    yield Section(page.section(title, page.side_by_side(results_table(run.summary), facts)))
    if run.pretraining:
        yield _pretraining_section(run.pretraining)
    drawn = _curves(run, model)
    yield Section(page.section("Training", page.figure_grid(drawn.items())), drawn)
    if model is not None:
        for name, output in model.outputs.items():
            yield from output_sections(name, output, model.test)
        if model.augmented is not None:
            yield _augmentation_section(model.augmented, model.test.x_max)
    if run.range_test is not None:
        yield _range_test_section(run.range_test, run.settings)
    if run.flags:
        code = page.code_lines(run.flags)
        yield Section(page.section("Flags", page.collapsed("all flags of the run", code)))


def _key_results(run: RunRecord, model: ModelRecord | None) -> Iterator[tuple[str, str]]:
    """Yield the results on the test data, and the best one on validation data."""
    test = (run.summary or {}).get("test", {})
    yield from test_results(test, "" if model is None else loss_text(model))
    best, name = columns.best_by_loss(run.history)
    if best is not None:
        words = curves.as_words(name).replace("val ", "validation ")
        yield f"{best.value:.4g}", f"lowest {words}, epoch {best.epoch} of {len(run.history)}"


def test_results(test: Mapping[str, Any], loss: str = "") -> list[tuple[str, str]]:
    """Return the results on the test data in large type, metrics before the loss, and their names.

    Args:
        test: the results by name.
        loss: name of the loss. Default: "", unknown.
    """
    found = columns.scalars(test)
    names = sorted(found, key=lambda name: (name.endswith("_loss"), name == "loss"))
    called = {"loss": f"loss ({loss})" if loss else "loss"}
    return [
        (tables.number_text(found[x]), f"test {curves.as_words(called.get(x, x))}")
        for x in names[:MOST_RESULTS]
    ]


def _facts(run: RunRecord, model: ModelRecord | None) -> Iterator[tuple[str, str]]:
    """Yield the facts about a run, as names and texts."""
    settings = run.settings
    yield "data set", settings.get("dataset", "")
    name = settings.get("model", "")
    if model is not None:
        yield "examples", sizes_text(model)
        yield "model", f"{name}, {model.params:,} parameters"
        yield "loss", loss_text(model)
    else:
        yield "model", name
    yield from _transfer_facts((run.summary or {}).get("transfer", {}))
    yield "optimizer", settings.get("optimizer", "")
    average = settings.get("weight_average", "none")
    details = ", ".join(f"{k} {v}" for k, v in settings.items() if k.startswith(f"{average}_"))
    yield "average of the parameters", "" if average == "none" else f"{average}, {details}"
    rates = columns.column(run.history, LEARNING_RATE)
    yield "learning rate", f"{rates[0]:.4g}" if is_constant(rates) else ""
    yield "batch size", settings.get("batch_size", "")
    done, planned = f"{len(run.history)}", settings.get("epochs", "")
    temperature = (run.summary or {}).get("calibration", {}).get("temperature")
    yield "temperature", "" if temperature is None else f"{temperature:.4g}"
    yield "epochs", done if planned in ("", done) else f"{done} of {planned}"
    yield "training took", duration(columns.column(run.history, "seconds"))


def _transfer_facts(transfer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the facts about transfer learning: which layers were reused, and which were frozen."""
    head = ", with a new head" if transfer.get("new_head") else ""
    yield "starts from", f"{transfer['model']}{head}" if "model" in transfer else ""
    later = {name: x["after"] for x in transfer.get("unfrozen", ()) for name in x["layers"]}
    until = (
        f"{x} (until epoch {later[x]})" if x in later else x for x in transfer.get("frozen", ())
    )
    yield "frozen layers", ", ".join(until)


def duration(seconds: np.ndarray) -> str:
    """Return the sum of seconds as text, such as "2 min 30 s"."""
    total = float(np.nansum(seconds))
    if total < 120:
        return f"{total:.3g} s"
    minutes, rest = divmod(round(total), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def is_constant(values: np.ndarray) -> bool:
    """Return whether all values are the same number."""
    return bool(np.isfinite(values).all() and np.ptp(values) == 0)


def results_table(summary: Mapping[str, Any] | None) -> str:
    """Return a table of the scalar results on each part of the data; "" without a summary."""
    if summary is None:
        return ""
    results = {part: columns.scalars(summary[part]) for part in PARTS if part in summary}
    names = list(results["test"])
    rows = [[part, *(found[name] for name in names)] for part, found in results.items()]
    return tables.table(["part", *map(curves.as_words, names)], rows)


def sizes_text(model: ModelRecord) -> str:
    """Return the number of examples in each part of the data."""
    words = {"train": "training"}
    return ", ".join(f"{size:,} {words.get(part, part)}" for part, size in model.sizes.items())


def loss_text(model: ModelRecord) -> str:
    """Return the name of the loss; if the losses of the outputs differ, the name of each."""
    losses = {name: output.loss for name, output in model.outputs.items()}
    same = len(set(losses.values())) == 1
    shown = losses.items() if not same else [("", next(iter(losses.values())))]
    return ", ".join(f"{name} {loss}".strip() for name, loss in shown)


def _curves(run: RunRecord, model: ModelRecord | None) -> Figures:
    """Return the figures of the history."""
    history = run.history
    drawn = {name: curves.learning_curve(history, name) for name in columns.result_names(history)}
    rates = columns.column(history, LEARNING_RATE)
    if columns.has_column(history, LEARNING_RATE) and not is_constant(rates):
        schedule = None if model is None else model.schedule
        drawn["learning_rate"] = curves.learning_rate_curve(history, schedule)
    if np.isfinite(columns.validation_ratio(history)).any():
        drawn["loss_ratio"] = curves.validation_ratio_curve(history)
    scaling = (name for name in columns.LOSS_SCALING if columns.has_column(history, name))
    drawn |= {name: curves.plain_curve(history, name) for name in scaling}
    if columns.norm_names(history):
        drawn["norms"] = curves.norm_curves(history)
    return {file_name(name): figure for name, figure in drawn.items()}


def output_sections(name: str, output: OutputRecord, test: ExampleData) -> Iterator[Section]:
    """Yield the sections of an output: its errors on the test examples, and the worst of them."""
    title, found = f", output {name}" if name else "", output.predictions
    if isinstance(found, Reconstructions):
        features = test.feature_names
        drawn: Figures = {"reconstruction_errors": reconstructions.error_histogram(found)}
        typical = reconstructions.typical_examples(found, features)
        yield Section(page.section("Reconstructions of test examples", typical))
        worst = reconstructions.worst_reconstructions(found, features)
        grid = page.figure_grid(drawn.items())
        yield Section(page.section("Test examples with the highest loss", worst, grid), drawn)
        return
    section = _prediction_section(f"Predictions of the test examples{title}", found, output)
    prefix = f"{file_name(name)}_" if name else ""
    yield section._replace(figures={f"{prefix}{key}": x for key, x in section.figures.items()})
    worst = worst_examples(found, test._replace(class_names=output.class_names))
    yield Section(page.section(f"Test examples with the highest loss{title}", worst))


def _prediction_section(title: str, found: Predictions, output: OutputRecord) -> Section:
    """Return the errors on the test examples: confusions of classes, or residuals."""
    names = output.class_names
    if found.scores is None:
        drawn = {
            "residuals": predictions.residual_figure(found),
            "residual_histogram": predictions.residual_histogram(found),
        }
        return Section(page.section(title, page.figure_grid(drawn.items())), drawn)
    counts = predictions.confusion_counts(found, len(names))
    curves_of_classes = class_curves(found, len(names))
    drawn = {
        "confusion_matrix": predictions.confusion_matrix_figure(counts, names),
        "precision_recall": precision_recall_figure(curves_of_classes, names),
    }
    if found.score_name == CONFIDENCE:
        drawn["reliability"] = reliability_figure(found)
    scores = class_table(counts, curves_of_classes, names), _confusions(counts, names)
    body = page.figure_grid(drawn.items()) + page.side_by_side(*scores)
    return Section(page.section(title, body), drawn)


def _confusions(counts: np.ndarray, names: Any) -> str:
    """Return a table of the pairs of classes that are confused most often."""
    pairs = predictions.most_frequent_confusions(counts, MOST_CONFUSIONS)
    rows = [[names[p.true], names[p.predicted], p.examples, f"{p.fraction:.1%}"] for p in pairs]
    table = tables.table(["true", "predicted", "examples", "of the true class"], rows)
    return page.subsection("Most frequent confusions", table) if rows else ""


def _augmentation_section(examples: AugmentedExamples, x_max: float) -> Section:
    """Return training images before and after augmentation; nothing for other examples."""
    sheet = augmentation_sheet(examples, x_max)
    return Section(page.section("Augmented training examples", sheet) if sheet else "")


def _pretraining_section(stages: Sequence[Mapping[str, Any]]) -> Section:
    """Return the curves of the stages in which hidden layers were trained without labels."""
    drawn = {
        file_name(f"pretraining_{stage['stage']}"): curves.learning_curve(
            stage["history"],
            "loss",
            f"squared error, {stage['stage']}, {stage['examples']:,} examples",
        )
        for stage in stages
    }
    return Section(
        page.section("Pretraining without labels", page.figure_grid(drawn.items())), drawn
    )


def _range_test_section(curve: LossCurve, settings: Mapping[str, str]) -> Section:
    """Return the curve of the range test; its picture was written by the test."""
    rate = settings.get("learning_rate", "")
    marks = {"learning rate": float(rate)} if rate else {}
    figure = curve_figure(curve, marks, "loss by learning rate in a range test")
    grid = page.figure_grid([("lr_find", figure)])
    return Section(page.section("Range test", grid))


def file_name(name: str) -> str:
    """Return the name of a result as a file name."""
    return "".join(c if c.isalnum() or c in "_-." else "_" for c in name)
