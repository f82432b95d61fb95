"""The page that compares several runs: their curves, and the flags in which they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trainlib.monitors.improvement import direction
from trainlib.report import columns, curves, figures, page, tables
from trainlib.report.run_page import REPORT_FILE, duration, file_name, test_results
from trainlib.report.run_record import RunRecord
from trainlib.training.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALIDATION_LOSS = columns.VALIDATION_PREFIX + "loss"
SEVERAL_TASKS = (
    "Runs are compared with those of the same data, targets and loss; the results of others do not "
    "say which is better."
)


def write_comparison_page(
    runs: Mapping[str, RunRecord], folder: Path, links: Mapping[str, str] | None = None
) -> None:
    """Write the page and its pictures, with tables and figures for the runs of each task.

    Args:
        runs: records of the runs by name.
        folder: folder to write to.
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
    groups = _by_task(runs)
    for task, group in groups.items():
        on = f" on {task}" if len(groups) > 1 else ""
        found = _curves(group, f"{task}_" if len(groups) > 1 else "")
        best = page.key_results(_key_results(group))
        results.append(page.section(f"Results{on}", best, _results(group, links or {})))
        training.append(page.section(f"Training{on}", page.figure_grid(found.items())))
        drawn |= found
    if len(groups) > 1:
        results.insert(0, page.note(SEVERAL_TASKS))
    differences = page.section("Flags that differ", tables.table_of_differences("flag", settings))
    sections = [page.heading(title, warning=warning), *results, *training, differences]
    text = page.document(title, sections)
    for name, figure in drawn.items():
        figures.save_png(figure, folder / f"{file_name(name)}.png")
    write_text(folder / REPORT_FILE, text)


class _Task(NamedTuple):
    """Settings and names of losses that runs must share so that their results can be compared."""

    data: str
    kind: str
    loss: str
    reconstructs: str
    outputs: str


def _task_of(run: RunRecord) -> _Task:
    """Return the task of a run, given its flags and its history."""

    def get(flag: str) -> str:
        return run.settings.get(flag, "")

    data = " ".join(filter(None, (get("dataset"), get("target"))))
    loss = "" if get("loss") == "auto" else get("loss")
    reconstructs = get("model") if get("model") == "autoencoder" else ""
    results = columns.result_names(run.history)
    losses = [name.removesuffix("_loss") for name in results if name.endswith("_loss")]
    outputs = ["outputs", *losses, get("output_losses"), get("loss_weights")]
    shown = " ".join(filter(None, outputs)) if losses else ""
    return _Task(data, get("task"), loss, reconstructs, shown)


def _by_task(runs: Mapping[str, RunRecord]) -> dict[str, dict[str, RunRecord]]:
    """Return runs by the text of their task, ordered by their validation loss."""
    groups: dict[_Task, dict[str, RunRecord]] = {_task_of(run): {} for run in runs.values()}
    for name, run in sorted(runs.items(), key=lambda item: _rank(item[1])):
        groups[_task_of(run)][name] = run
    differs = [len({task[k] for task in groups}) > 1 for k in range(len(_Task._fields))]
    texts = {
        task: ", ".join(x for k, x in enumerate(task) if x and (k == 0 or differs[k]))
        for task in groups
    }
    return {texts[task]: group for task, group in groups.items()}


def _rank(run: RunRecord) -> float:
    """Return the lowest validation loss; infinity without one."""
    best = columns.best_epoch(run.history, VALIDATION_LOSS)
    return math.inf if best is None else best.value


def _key_results(runs: Mapping[str, RunRecord]) -> list[tuple[str, str]]:
    """Return the lowest validation loss, and the test results of that run."""
    name, run = next(iter(runs.items()))
    best = columns.best_epoch(run.history, VALIDATION_LOSS)
    if best is None:
        return []
    lowest = f"{best.value:.4g}", f"lowest validation loss: {name}, epoch {best.epoch}"
    test = test_results((run.summary or {}).get("test", {}))
    return [lowest, *((value, f"its {words}") for value, words in test)]


def _curves(runs: Mapping[str, RunRecord], prefix: str) -> dict[str, Figure]:
    """Return the figures of runs of the same data, by name."""
    histories = {name: run.history for name, run in runs.items()}
    found = (name for run in runs.values() for name in columns.result_names(run.history))
    return {
        prefix + name: curves.comparison_curves(histories, name) for name in dict.fromkeys(found)
    }


def _results(runs: Mapping[str, RunRecord], links: Mapping[str, str]) -> str:
    """Return a table with a row for each run; the best value of each column is emphasized."""
    tests = {
        name: columns.scalars((run.summary or {}).get("test", {})) for name, run in runs.items()
    }
    results = list(dict.fromkeys(name for test in tests.values() for name in test))
    rows: list[list[Any]] = []
    for name, run in runs.items():
        test, history = tests[name], run.history
        best = columns.best_epoch(history, VALIDATION_LOSS)
        lowest = ["", ""] if best is None else [best.value, best.epoch]
        values = [test.get(x, "") for x in results]
        took = duration(columns.column(history, "seconds"))
        shown = tables.Link(name, links[name]) if name in links else name
        rows.append([shown, *lowest, *values, len(history), took, run.made.date])
    headers = ["run", "lowest validation loss", "its epoch"]
    headers += [f"test {curves.as_words(x)}" for x in results]
    judged = [(1, VALIDATION_LOSS), *((k, name) for k, name in enumerate(results, 3))]
    strong = {cell for k, name in judged for cell in _best_cells(rows, k, name)}
    headers += ["epochs", "training took", "date"]
    width = len(headers) - (not any(row[-1] for row in rows))
    return tables.table(headers[:width], [row[:width] for row in rows], strong)


def _best_cells(rows: Sequence[Sequence[Any]], column: int, name: str) -> list[tuple[int, int]]:
    """Return the cells with the best value of a column; [] if its direction is not known."""
    values = [row[column] for row in rows if isinstance(row[column], float)]
    values = [x for x in values if x == x]
    try:
        best = min(values) if direction(name) == "min" else max(values)
    except ValueError:
        return []
    return [(i, column) for i, row in enumerate(rows) if row[column] == best]
