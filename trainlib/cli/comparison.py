"""The report of several runs: their curves in one picture, and what they differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainlib.cli import run_folder, run_report
from trainlib.cli.flag_types import format_value
from trainlib.cli.run_report import REPORT_FILE, Run
from trainlib.monitors.improvement import direction
from trainlib.report import curves, page, plots
from trainlib.report import history as columns
from trainlib.training.files import write_text

UNKNOWN = "?"


def read(folders: Sequence[Path]) -> dict[str, Run]:
    """The runs by the names of their folders, or by their paths where two have one name.

    Raises:
        ValueError: one is given twice, is no run, or is damaged.
    """
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"run {folder} is given twice")
    runs = [run_report.read(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):
        runs = [
            run._replace(name=folder.as_posix()) for run, folder in zip(runs, folders, strict=True)
        ]
    return {run.name: run for run in runs}


def write(runs: Mapping[str, Run], folder: Path) -> None:
    """Writes the page and its pictures into a folder.

    Raises:
        ImportError: matplotlib is not installed.
    """
    histories = {name: run.history for name, run in runs.items()}
    names = list(dict.fromkeys(x for run in runs.values() for x in columns.names(run.history)))
    drawn = {name: curves.comparison(histories, name) for name in names}
    unfinished = [name for name, run in runs.items() if run.summary is None]
    warning = f"Not finished: {', '.join(unfinished)}." if unfinished else ""
    text = page.document(
        f"{len(runs)} runs",
        [
            page.heading(f"{len(runs)} runs", warning=warning),
            page.section("Results", _results(runs)),
            page.section("Flags that differ", _differences(runs)),
            page.section("How they went", page.pictures(drawn.items())),
        ],
    )
    for name, figure in drawn.items():
        plots.save(figure, folder / f"{run_report.file_name(name)}.png")
    write_text(folder / REPORT_FILE, text)


def _results(runs: Mapping[str, Run]) -> str:
    """A row for each run; the best of each column stands out."""
    tests = {name: (run.summary or {}).get("test", {}) for name, run in runs.items()}
    results = list(
        dict.fromkeys(
            name
            for test in tests.values()
            for name, x in test.items()
            if isinstance(x, (int, float))
        )
    )
    rows: list[list[Any]] = []
    for name, run in runs.items():
        took = run_report.duration(columns.column(run.history, "seconds"))
        best = page.described(*run_report.best(run))
        of_test = [float(tests[name][x]) if x in tests[name] else "" for x in results]
        rows.append([name, *of_test, best, len(run.history), took])
    headers = ["run", *(f"test {curves.words(x)}" for x in results)]
    bold = {place for k, name in enumerate(results) for place in _best_rows(rows, k + 1, name)}
    return page.table([*headers, "best epoch", "epochs", "training took"], rows, bold)


def _best_rows(rows: Sequence[Sequence[Any]], column: int, name: str) -> list[tuple[int, int]]:
    """Where the best values of a column are; none where its name does not tell what is better."""
    values = [row[column] for row in rows if isinstance(row[column], float)]
    values = [x for x in values if x == x]
    try:
        best = min(values) if direction(name) == "min" else max(values)
    except ValueError:
        return []
    return [(i, column) for i, row in enumerate(rows) if row[column] == best]


def _differences(runs: Mapping[str, Run]) -> str:
    """A row for each flag that is not the same in all runs."""
    by_run = [_flags(run) for run in runs.values()]
    names = list(dict.fromkeys(name for flags in by_run for name in flags))
    rows = []
    for name in names:
        values = [flags.get(name, UNKNOWN if not flags else "") for flags in by_run]
        if len(set(values)) > 1:
            rows.append([name, *map(page.Words, values)])
    if not rows:
        return page.note("None.")
    return page.table(["flag", *runs], rows)


def _flags(run: Run) -> dict[str, str]:
    """The values of a run's flags as text; "" for none."""
    if run.values is None:
        return {}
    return {
        flag.name: "" if flag.value is None else format_value(flag.value)
        for flag in run_folder.recorded(run.values)
    }
