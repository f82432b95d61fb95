"""The page of an ensemble: its members, its gain over them, and its predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainlib.report import columns, curves, figures, page, tables
from trainlib.report.columns import History
from trainlib.report.run_page import (
    REPORT_FILE,
    Section,
    duration,
    file_name,
    loss_text,
    output_sections,
    results_table,
    sizes_text,
    test_results,
)
from trainlib.report.run_record import ModelRecord, RunRecord
from trainlib.training.files import write_text

SINGLE = {
    "gain": "gain: mean loss of the members minus loss of the ensemble",
    "gain_standard_error": "standard error of the gain over the examples",
    "disagreement": "share of the examples on which two members disagree",
    "ambiguity": "ambiguity: mean squared distance of the members from the ensemble",
}
"""Meanings of scores that are one number."""


def write_ensemble_page(
    run: RunRecord, histories: Mapping[str, History], model: ModelRecord, folder: Path
) -> None:
    """Write the page and its pictures.

    Args:
        run: record of the ensemble, finished.
        histories: histories of the members by name.
        model: record of the model of the ensemble.
        folder: where to write.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figures.require_matplotlib()
    summary = run.summary or {}
    record = summary["ensemble"]
    names = list(dict.fromkeys(n for h in histories.values() for n in columns.result_names(h)))
    drawn = {file_name(n): curves.comparison_curves(histories, n) for n in names}
    results = page.side_by_side(results_table(summary), page.description_list(_facts(run, model)))
    sections = [
        Section(page.heading(run.name, run.made)),
        Section(page.key_results(_key_results(summary, model))),
        Section(page.section("Results of the ensemble", results)),
        Section(page.section("Members", _members(record, histories))),
        Section(page.section("Gain and diversity", _gain(record["scores"]))),
        Section(page.section("Training", page.figure_grid(drawn.items())), drawn),
        *(
            section
            for name, output in model.outputs.items()
            for section in output_sections(name, output, model.test)
        ),
        Section(page.section("Flags", page.collapsed("all flags", page.code_lines(run.flags)))),
    ]
    for section in sections:
        for name, figure in section.figures.items():
            figures.save_png(figure, folder / f"{name}.png")
    text = page.document(run.name, [section.html for section in sections])
    write_text(folder / REPORT_FILE, text)


def _key_results(summary: Mapping[str, Any], model: ModelRecord) -> list[tuple[str, str]]:
    """Return the test results, and the gain of the ensemble on the test data."""
    shown = test_results(summary["test"], loss_text(model))
    found = summary["ensemble"]["scores"]["test"]
    if "gain" not in found:
        return shown
    gain, error = (columns.number(found[name]) for name in ("gain", "gain_standard_error"))
    text = tables.UNDEFINED if math.isnan(gain) else f"{gain:.3g} ± {error:.1g}"
    return [*shown, (text, "test loss gained over the mean of the members")]


def _facts(run: RunRecord, model: ModelRecord) -> list[tuple[str, str]]:
    """Return the facts about an ensemble, as names and texts."""
    settings, summary = run.settings, run.summary or {}
    temperature = summary.get("calibration", {}).get("temperature")
    return [
        ("data set", settings.get("dataset", "")),
        ("examples", sizes_text(model)),
        ("ensemble", f"{settings['ensemble']} members by {settings['ensemble_by']}"),
        ("average", f"{settings['ensemble_average']}, {settings['ensemble_weights']} weights"),
        ("model", f"{settings.get('model', '')}, {model.params:,} parameters in all"),
        ("loss", loss_text(model)),
        ("optimizer", settings.get("optimizer", "")),
        ("temperature", "" if temperature is None else f"{temperature:.4g}"),
        ("training took", f"{summary['seconds']:.3g} s in all members"),
    ]


def _members(record: Mapping[str, Any], histories: Mapping[str, History]) -> str:
    """Return a table with a row for each member, and for the ensemble, on the test examples."""
    scores = {n: x for n, x in record["scores"]["test"].items() if isinstance(x, dict)}
    rows: list[list[Any]] = [
        [
            name,
            float(record["weights"][i]),
            *(columns.number(score["members"][i]) for score in scores.values()),
            page.describe_best(*columns.best_by_loss(history)),
            duration(columns.column(history, "seconds")),
        ]
        for i, (name, history) in enumerate(histories.items())
    ]
    numbers = [columns.number(score["ensemble"]) for score in scores.values()]
    rows.append(["ensemble", 1.0, *numbers, "", ""])
    headers = ["", "weight", *(f"test {curves.as_words(n)}" for n in scores)]
    strong = [
        (i, k)
        for k in range(2, 2 + len(scores))
        for i, row in enumerate(rows)
        if row[k] == min((other[k] for other in rows if not math.isnan(other[k])), default=None)
    ]
    return tables.table([*headers, "best epoch", "training took"], rows, strong)


def _gain(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Return tables of the gain of the ensemble and the diversity of its members."""
    compared: list[list[Any]] = []
    single: dict[str, list[Any]] = {}
    for part, found in scores.items():
        for name, x in found.items():
            if isinstance(x, dict):
                numbers = [columns.number(x[key]) for key in ("mean", "std", "ensemble")]
                compared.append([part, curves.as_words(name), *numbers])
            else:
                single.setdefault(name, [SINGLE[name]]).append(columns.number(x))
    headers = ["part", "score", "mean of the members", "standard deviation", "ensemble"]
    measures = tables.table(["measure", *scores], list(single.values()))
    return page.side_by_side(tables.table(headers, compared), measures)
