"""The page of several runs: their curves in shared figures, and the flags in which they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainlib.monitors.improvement import direction
from trainlib.report import columns, curves, figures, page
from trainlib.report.run_page import REPORT_FILE, RunRecord, duration, file_name
from trainlib.training.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_comparison_page(
    runs: Mapping[str, RunRecord], folder: Path, links: Mapping[str, str] | None = None
) -> None:
    """Write the page and its pictures. Runs of different data have tables and figures of their own.

    Args:
        runs: records of the runs by name.
        folder: where to write.
        links: paths of the runs' reports, relative to the folder. Default: None, no links.

    Raises:
        ImportError: matplotlib is not installed.
    """
    unfinished = [name for name, run in runs.items() if run.summary is None]
    warning = f"Not finished: {', '.join(unfinished)}." if unfinished else ""
    title = f"{len(runs)} runs"
    settings = {name: run.settings for name, run in runs.items()}
    results, training = [], []
    drawn: dict[str, Figure] = {}
    groups = _by_data(runs)
    for data, group in groups.items():
        on = f" on {data}" if len(groups) > 1 else ""
        found = _curves(group, f"{data}_" if len(groups) > 1 else "")
        results.append(page.section(f"Results{on}", _results(group, links or {})))
        training.append(page.section(f"Training{on}", page.figure_grid(found.items())))
        drawn |= found
    differences = page.section("Flags that differ", page.table_of_differences("flag", settings))
    sections = [page.heading(title, warning=warning), *results, differences, *training]
    text = page.document(title, sections)
    for name, figure in drawn.items():
        figures.save_png(figure, folder / f"{file_name(name)}.png")
    write_text(folder / REPORT_FILE, text)


def _by_data(runs: Mapping[str, RunRecord]) -> dict[str, dict[str, RunRecord]]:
    """Return runs by the data that they are about, each the best on validation data first."""
    groups: dict[str, dict[str, RunRecord]] = {}
    for name, run in sorted(runs.items(), key=lambda item: _rank(item[1])):
        data = [run.settings.get(x, "") for x in ("dataset", "target")]
        groups.setdefault(" ".join(filter(None, data)), {})[name] = run
    return groups


def _rank(run: RunRecord) -> float:
    """Return the best loss on validation data; infinity without one."""
    best = columns.best_epoch(run.history, columns.VALIDATION_PREFIX + "loss")
    return math.inf if best is None else best.value


def _curves(runs: Mapping[str, RunRecord], prefix: str) -> dict[str, Figure]:
    """Return the figures of runs of the same data, by name."""
    histories = {name: run.history for name, run in runs.items()}
    found = (name for run in runs.values() for name in columns.result_names(run.history))
    return {
        prefix + name: curves.comparison_curves(histories, name) for name in dict.fromkeys(found)
    }


def _results(runs: Mapping[str, RunRecord], links: Mapping[str, str]) -> str:
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
        shown = page.Link(name, links[name]) if name in links else name
        rows.append([shown, *values, best, len(history), took])
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
