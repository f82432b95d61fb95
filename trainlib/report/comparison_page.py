"""The page of several runs: their curves in shared figures, and the flags in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainlib.monitors.improvement import direction
from trainlib.report import columns, curves, figures, page
from trainlib.report.run_page import REPORT_FILE, RunRecord, duration, file_name
from trainlib.training.files import write_text

UNKNOWN = "?"


def write_comparison_page(runs: Mapping[str, RunRecord], folder: Path) -> None:
    """Write the page and its pictures.

    Args:
        runs: records of the runs by name.
        folder: where to write.

    Raises:
        ImportError: matplotlib is not installed.
    """
    histories = {name: run.history for name, run in runs.items()}
    found = (name for run in runs.values() for name in columns.result_names(run.history))
    drawn = {name: curves.comparison_curves(histories, name) for name in dict.fromkeys(found)}
    unfinished = [name for name, run in runs.items() if run.summary is None]
    warning = f"Not finished: {', '.join(unfinished)}." if unfinished else ""
    title = f"{len(runs)} runs"
    sections = [
        page.heading(title, warning=warning),
        page.section("Results", _results(runs)),
        page.section("Flags that differ", _differences(runs)),
        page.section("Training", page.figure_grid(drawn.items())),
    ]
    text = page.document(title, sections)
    for name, figure in drawn.items():
        figures.save_png(figure, folder / f"{file_name(name)}.png")
    write_text(folder / REPORT_FILE, text)


def _results(runs: Mapping[str, RunRecord]) -> str:
    """Return a table with a row for each run; the best value of each column stands out."""
    tests = {name: (run.summary or {}).get("test", {}) for name, run in runs.items()}
    numbers = (
        name for test in tests.values() for name, x in test.items() if isinstance(x, (int, float))
    )
    results = list(dict.fromkeys(numbers))
    rows: list[list[Any]] = []
    for name, run in runs.items():
        test, history = tests[name], run.history
        best = page.describe_best(*columns.best_by_loss(history))
        took = duration(columns.column(history, "seconds"))
        values = [float(test[x]) if x in test else "" for x in results]
        rows.append([name, *values, best, len(history), took])
    headers = ["run", *(f"test {curves.as_words(x)}" for x in results)]
    strong = {cell for k, name in enumerate(results) for cell in _best_cells(rows, k + 1, name)}
    return page.table([*headers, "best epoch", "epochs", "training took"], rows, strong)


def _best_cells(rows: Sequence[Sequence[Any]], column: int, name: str) -> list[tuple[int, int]]:
    """Return the cells with the best value of a column; [] if its name does not say which it is."""
    values = [row[column] for row in rows if isinstance(row[column], float)]
    values = [x for x in values if x == x]
    try:
        best = min(values) if direction(name) == "min" else max(values)
    except ValueError:
        return []
    return [(i, column) for i, row in enumerate(rows) if row[column] == best]


def _differences(runs: Mapping[str, RunRecord]) -> str:
    """Return a table with a row for each flag that is not the same in all runs."""
    all_settings = [run.settings for run in runs.values()]
    rows = []
    for name in dict.fromkeys(name for settings in all_settings for name in settings):
        values = [settings.get(name, "") if settings else UNKNOWN for settings in all_settings]
        if len(set(values)) > 1:
            rows.append([name, *map(page.WrappedText, values)])
    if not rows:
        return page.note("None.")
    return page.table(["flag", *runs], rows)
