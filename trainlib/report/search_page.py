"""The page of a search: the best trials, all results, and the importance of each parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.report import figures, page, tables
from trainlib.report.curves import as_words
from trainlib.report.run_page import REPORT_FILE, duration, file_name, test_results
from trainlib.tools.trial_records import STATES, TrialRecord, best_of
from trainlib.training.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 10
"""Number of trials in the table of the page."""
GOOD = 0.1
"""Fraction of the trials, the best ones, that are highlighted in the parallel coordinates."""
LOG_RATIO = 20.0
"""Ratio of the largest and the least value from which an axis is logarithmic."""


class SearchReport(NamedTuple):
    """What the page of a search shows.

    Attributes:
        name: name of the search.
        space: text of its space.
        monitor: the result by which trials are compared.
        is_minimized: whether lower results are better.
        trials: the finished trials.
        importances: importance of each parameter.
        test: results of the best model on the test data; None if it was not trained again.
        command: command that trains the best configuration.
        best_run: path of the report of the best configuration, relative to the page; "": none.
        made: the command of the search, its date, its seed and the versions.
    """

    name: str
    space: str
    monitor: str
    is_minimized: bool
    trials: Sequence[TrialRecord]
    importances: Mapping[str, float]
    test: Mapping[str, Any] | None
    command: str
    best_run: str = ""
    made: page.Provenance = page.Provenance()


def write_search_page(report: SearchReport, folder: Path) -> None:
    """Write the page and its pictures.

    Args:
        report: what it shows.
        folder: where to write.

    Raises:
        ImportError: matplotlib is not installed.
    """
    complete = _complete(report)
    slices = dict(_slices(report, complete))
    drawn: dict[str, Figure] = {}
    if complete:
        drawn["history"] = history_figure(report)
        if len(report.importances) > 1:
            drawn["importance"] = importance_figure(report.importances)
        if len(slices) > 1 and len(complete) > 1:
            drawn["parallel coordinates"] = parallel_figure(report, complete)
    sections = [
        page.heading(report.name, report.made),
        page.key_results(_key_results(report)),
        page.link("Report of the best model", report.best_run) if report.best_run else "",
        page.description_list(_facts(report)),
        page.section("Best trials", _table(report, complete)),
        page.section("Search", page.figure_grid(drawn.items())),
        page.section("Results by parameter", page.figure_grid(slices.items())),
        page.section("Failed trials", _failures(report)),
    ]
    text = page.document(report.name, sections)
    for name, figure in {**drawn, **slices}.items():
        figures.save_png(figure, folder / f"{file_name(name)}.png")
    write_text(folder / REPORT_FILE, text)


def _complete(report: SearchReport) -> list[TrialRecord]:
    """Return the complete trials, the best first."""
    sign = 1 if report.is_minimized else -1
    found = [trial for trial in report.trials if trial.state == "complete"]
    return sorted(found, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def _key_results(report: SearchReport) -> Iterator[tuple[str, str]]:
    """Yield the best result, and those of the best model on the test data."""
    best = best_of(report.trials, report.is_minimized)
    if best is not None:
        words = as_words(report.monitor).replace("val ", "validation ")
        yield f"{best.value:.4g}", f"best {words}, trial {best.number} of {len(report.trials)}"
    yield from test_results(report.test or {})


def _facts(report: SearchReport) -> Iterator[tuple[str, str]]:
    best = best_of(report.trials, report.is_minimized)
    counts = {state: sum(trial.state == state for trial in report.trials) for state in STATES}
    if best is not None:
        yield "best values", ", ".join(f"{k}={_text(x)}" for k, x in best.params.items())
        yield "train them", report.command
    if not report.made.command:
        yield "searched", report.space
    yield "trials", ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    yield "epochs", f"{sum(trial.epochs for trial in report.trials):,}"
    yield "training took", duration(np.array([trial.seconds for trial in report.trials]))


def _table(report: SearchReport, complete: Sequence[TrialRecord]) -> str:
    if not complete:
        return page.note("No trial is complete.")
    names = list(dict.fromkeys(name for trial in complete for name in trial.params))
    folds = len(complete[0].scores)
    spread = [f"spread of {folds} folds"] if folds > 1 else []
    rows = []
    for trial in complete[:SHOWN]:
        values = [trial.params.get(name, "") for name in names]
        of_folds = [float(np.std(trial.scores, ddof=1))] if folds > 1 else []
        rows.append([trial.number, trial.value, *of_folds, *values, trial.epochs])
    return tables.table(["trial", report.monitor, *spread, *names, "epochs"], rows)


def _failures(report: SearchReport) -> str:
    rows = [
        [trial.number, tables.WrappedText(_texts(trial)), tables.WrappedText(trial.error)]
        for trial in report.trials
        if trial.state == "failed"
    ]
    return tables.table(["trial", "parameters", "error"], rows) if rows else ""


def history_figure(report: SearchReport) -> Figure:
    """Return a figure of the result of each trial, and of the best so far.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure, axes = figures.new_figure("result of each trial", "trial", report.monitor)
    best = np.minimum if report.is_minimized else np.maximum
    for state, color in (("complete", figures.TRAIN), ("pruned", figures.MUTED)):
        points = [(t.number, t.value) for t in report.trials if t.state == state]
        if points:
            axes.scatter(*zip(*points, strict=True), s=14, color=color, label=state)
    found = [(t.number, t.value) for t in report.trials if t.state == "complete"]
    numbers, values = zip(*found, strict=True)
    line = {"color": figures.VALIDATION, "linewidth": 1.6, "label": "best so far"}
    axes.step(numbers, best.accumulate(values), where="post", **line)
    _limit(axes.set_ylim, values)
    figures.add_legend(axes)
    return figure


def importance_figure(importances: Mapping[str, float]) -> Figure:
    """Return a figure of the importance of each parameter.

    Raises:
        ImportError: matplotlib is not installed.
    """
    title = "importance of each parameter (PED-ANOVA)"
    figure, axes = figures.new_figure(title, "share", "")
    ordered = sorted(importances.items(), key=lambda item: item[1])
    names, shares = zip(*ordered, strict=True)
    bars = axes.barh(names, shares, color=figures.TRAIN)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=figures.SMALL_FONT, color=figures.INK)
    axes.set_xlim(0, max(shares) * 1.2)
    return figure


def parallel_figure(report: SearchReport, complete: Sequence[TrialRecord]) -> Figure:
    """Return a figure with a line for each trial through its parameters and its result.

    Args:
        report: the search.
        complete: the complete trials, the best first.

    Raises:
        ImportError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(name for trial in complete for name in trial.params))
    width = max(6.4, 1.5 * len(names))
    figure, axes = figures.new_figure("trials by their parameters", "", "", size=(width, 3.8))
    scales = [_Scale([trial.params.get(name) for trial in complete]) for name in names]
    scales.append(_Scale([trial.value for trial in complete]))
    positions = range(len(scales))
    good = max(1, round(GOOD * len(complete)))
    for k, trial in reversed(list(enumerate(complete))):
        values = [*(trial.params.get(name) for name in names), trial.value]
        heights = [scale.at(value) for scale, value in zip(scales, values, strict=True)]
        style: dict[str, Any] = {"color": figures.MUTED, "linewidth": 0.8, "alpha": 0.5}
        if k < good:
            label = f"best {good} trials" if good > 1 else "best trial"
            label = label if k == 0 else "_"
            style = {"color": figures.VALIDATION, "linewidth": 1.4, "label": label}
        axes.plot(positions, heights, **style)
    for position, scale in enumerate(scales):
        for height, text in scale.ticks():
            axes.annotate(
                text, (position, height), (3, 0), textcoords="offset points",
                fontsize=figures.SMALL_FONT, va="center", color=figures.INK,
            )  # fmt: skip
    axes.set_xticks(positions, [*names, report.monitor])
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(scales) - 0.5)
    figures.add_legend(axes)
    return figure


class _Scale:
    """Maps the values of a parameter to [0, 1]; a trial that lacks it has no point."""

    def __init__(self, values: Sequence[Any]) -> None:
        given = [value for value in values if value is not None]
        self.words = _words(given)
        self.is_log = not self.words and _is_log(given)
        numbers = [] if self.words else [self._number(value) for value in given]
        self.low, self.high = min(numbers, default=0.0), max(numbers, default=1.0)

    def _number(self, value: Any) -> float:
        return float(np.log(value)) if self.is_log else float(value)

    def at(self, value: Any) -> float:
        """Return the height of a value; NaN for None."""
        if value is None:
            return float("nan")
        if self.words:
            return self.words.index(str(value)) / max(len(self.words) - 1, 1)
        return (self._number(value) - self.low) / ((self.high - self.low) or 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Return heights and texts of some values."""
        if self.words:
            return [(self.at(word), word) for word in self.words]
        heights = (0.0, 0.5, 1.0)
        numbers = [self.low + height * (self.high - self.low) for height in heights]
        values = [float(np.exp(x)) if self.is_log else x for x in numbers]
        return [(height, f"{x:.3g}") for height, x in zip(heights, values, strict=True)]


def _slices(report: SearchReport, complete: Sequence[TrialRecord]) -> Iterator[tuple[str, Figure]]:
    """Yield a figure of the results by the values of each parameter."""
    for name in dict.fromkeys(name for trial in complete for name in trial.params):
        found = [(trial.params[name], trial.value) for trial in complete if name in trial.params]
        values, results = zip(*found, strict=True)
        words = _words(values)
        options: dict[str, Any] = {"xscale": "log"} if not words and _is_log(values) else {}
        figure, axes = figures.new_figure(
            f"{report.monitor} by {name}", name, report.monitor, **options
        )
        places = [words.index(str(x)) for x in values] if words else values
        axes.scatter(places, results, s=14, color=figures.TRAIN)
        if words:
            axes.set_xticks(range(len(words)), words)
            axes.set_xlim(-0.5, len(words) - 0.5)
        elif not options and all(isinstance(x, int) for x in values):
            axes.xaxis.get_major_locator().set_params(integer=True)
        _limit(axes.set_ylim, results)
        yield name, figure


def _words(values: Sequence[Any]) -> list[str]:
    """Return the values of a categorical parameter; [] for a numerical one."""
    if not any(isinstance(value, str) for value in values):
        return []
    return sorted({str(value) for value in values})


def _is_log(values: Sequence[Any]) -> bool:
    """Return whether numbers are shown on a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) / min(values) >= LOG_RATIO


def _limit(set_limits: Any, values: Sequence[float]) -> None:
    """Limit an axis to the usual values: those of diverged trials may be far outside."""
    low, middle, high = np.percentile(values, (0, 50, 100))
    first, third = np.percentile(values, (25, 75))
    reach = 6 * (third - first)
    low, high = max(low, middle - reach), min(high, middle + reach)
    margin = 0.06 * ((high - low) or abs(middle) or 1.0)
    set_limits(low - margin, high + margin)


def _texts(trial: TrialRecord) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in trial.params.items())


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
