"""The page of a comparison: contenders over several seeds, their ranking and differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainlib.report import columns, figures, page, spread, tables
from trainlib.report.curves import as_words
from trainlib.report.run_page import MOST_RESULTS, REPORT_FILE, duration, file_name
from trainlib.tools.comparison import (
    TEST,
    VALIDATION,
    VALIDATION_PREFIX,
    Contender,
    Difference,
    against,
    part_of_tests,
)
from trainlib.training.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.05
"""Corrected p-value below which a difference is called significant."""
FEW_SEEDS = 5
"""Number of seeds up to which the page warns of weak tests."""


class ContendersReport(NamedTuple):
    """Content of the page of a comparison.

    Attributes:
        name: name of the comparison.
        contenders: the contenders, the best first.
        differences: differences between contenders.
        monitor: name of the result by which contenders are ranked.
        is_minimized: whether lower results are better.
        baseline: contender with which the others are compared; None for all pairs.
        settings: values of the flags as text, by contender and flag.
        links: path of the flag file of each contender, relative to the page.
        made: the command, the date, the first seed and the versions.
    """

    name: str
    contenders: Sequence[Contender]
    differences: Sequence[Difference]
    monitor: str
    is_minimized: bool
    baseline: str | None
    settings: Mapping[str, Mapping[str, str]]
    links: Mapping[str, str]
    made: page.Provenance = page.Provenance()

    @property
    def result(self) -> str:
        """Name of the monitored result, without `val_`."""
        return self.monitor.removeprefix(VALIDATION_PREFIX)

    @property
    def seeds(self) -> int:
        """Largest number of runs of a contender."""
        return max(len(x.runs) for x in self.contenders)


def write_contenders_page(report: ContendersReport, folder: Path) -> None:
    """Write the page and its pictures.

    Args:
        report: what it shows.
        folder: where to write.

    Raises:
        ImportError: matplotlib is not installed.
    """
    shown = [x for x in report.contenders if any(run.history for run in x.runs)]
    curves = {name: spread.spread_curves(shown, name) for name in spread.result_columns(shown)}
    finals = dict(_finals(report, shown))
    tuned = [x for x in report.contenders if x.tuning]
    tuning = {"learning_rates": spread.tuning_curves(tuned, report.monitor)} if tuned else {}
    title = f"{report.name}: {len(report.contenders)} contenders"
    sections = [
        page.heading(title, report.made, _warning(report)),
        page.key_results(_key_results(report)),
        page.advice(_conclusion(report)),
        page.description_list(_facts(report)),
        page.section("Results", _results(report), page.note(_about_results(report))),
        page.section("Differences", *_differences(report)),
        page.section("Results of each seed", page.figure_grid(finals.items())),
        page.section("Training", page.figure_grid(curves.items()), page.note(BAND)),
        page.section("Learning rates", page.figure_grid(tuning.items())),
        page.section("Flags that differ", tables.table_of_differences("flag", report.settings)),
        page.section("Failed runs", _failures(report)),
    ]
    text = page.document(title, sections)
    for name, figure in {**curves, **finals, **tuning}.items():
        figures.save_png(figure, folder / f"{file_name(name)}.png")
    write_text(folder / REPORT_FILE, text)


BAND = (
    "Lines: mean over the seeds; bands: from the least to the largest; both up to the last epoch "
    "that all seeds reached."
)


def _warning(report: ContendersReport) -> str:
    bad = [
        f"{x.name} ({status})" for x in report.contenders if (status := x.status(report.monitor))
    ]
    return f"Not ranked: {', '.join(bad)}." if bad else ""


def _facts(report: ContendersReport) -> Iterator[tuple[str, str]]:
    first = next(iter(report.settings.values()))
    yield "data set", first.get("dataset", "")
    seeds = [run.seed for run in max(report.contenders, key=lambda x: len(x.runs)).runs]
    yield "seeds", ", ".join(map(str, seeds))
    order = "lowest" if report.is_minimized else "highest"
    yield "ranked by", f"{as_words(report.monitor)} of the final model, {order} mean first"
    tunings = [len(x.tuning) for x in report.contenders if x.tuning]
    if tunings:
        yield (
            "learning rates",
            f"the best of {max(tunings)} on validation data with seed {seeds[0]}, for each",
        )
    took = [run.seconds for x in report.contenders for run in x.runs]
    yield "training took", duration(np.array(took))


def _key_results(report: ContendersReport) -> Iterator[tuple[str, str]]:
    """Yield the monitored result and the test results of the best contender."""
    best = report.contenders[0]
    if best.status(report.monitor):
        return
    words = as_words(report.monitor).replace("val ", "validation ")
    yield _spread_text(best.monitored(report.monitor)), f"{words} of the best, {best.name}"
    names = sorted(_result_names([best]), key=lambda name: name == "loss")
    for name in names[:MOST_RESULTS]:
        if text := _spread_text(best.values(TEST, name)):
            yield text, f"its test {as_words(name)}"


def _conclusion(report: ContendersReport) -> list[str]:
    """Return sentences on the contenders that differ from the best one, and those that may not."""
    best = report.contenders[0].name
    if report.seeds < 2:
        return ["One seed cannot show whether the differences are chance (--seeds=5)."]
    if report.baseline not in (None, best):
        return []
    by_verdict: dict[str, list[str]] = {"worse": [], "better": [], "may be chance": []}
    for name, x in against(report.differences, best).items():
        by_verdict[_verdict(x, report)].append(name)
    part = part_of_tests(report.contenders, report.result)
    data = f"By the {part} {as_words(report.result)}"
    texts = {
        "worse": f"{data}, {best} is better than {{}}.",
        "better": f"{data}, {best} is worse than {{}}, although it is first on validation data.",
        "may be chance": f"{data}, the difference of {best} from {{}} may be chance.",
    }
    return [texts[x].format(_listed(names)) for x, names in by_verdict.items() if names]


def _listed(names: Sequence[str]) -> str:
    """Return names as an enumeration for a sentence."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _results(report: ContendersReport) -> str:
    """Return a table with a row for each contender; the best means are emphasized."""
    names = _result_names(report.contenders)
    parts = [(part, name) for name in names for part in (VALIDATION, TEST)]
    parts = [x for x in parts if any(np.isfinite(c.values(*x)).any() for c in report.contenders)]
    parts.sort(key=lambda x: x != (VALIDATION, report.result))  # the column of the ranking first
    is_tuned = any(x.tuning for x in report.contenders)
    rows = []
    for rank, contender in enumerate(report.contenders, 1):
        status = contender.status(report.monitor)
        cells: list[Any] = ["" if status else rank, _link(report, contender.name)]
        cells += [_rate(contender)] if is_tuned else []
        cells += [_spread_text(contender.values(*part)) for part in parts]
        rows.append([*cells, *_training(contender, report.monitor), status])
    headers = ["", "contender", *(["learning rate"] if is_tuned else [])]
    headers += [f"{part} {as_words(name)}" for part, name in parts]
    table_headers = [*headers, "best epoch", "epochs", "s / run", ""]
    if not any(row[-1] for row in rows):
        rows, table_headers = [row[:-1] for row in rows], table_headers[:-1]
    strong = set(_best_cells(report, parts, 3 if is_tuned else 2))
    return tables.table(table_headers, rows, strong)


def _best_cells(
    report: ContendersReport, parts: Sequence[tuple[str, str]], first: int
) -> Iterator[tuple[int, int]]:
    """Yield the cells with the best mean of each column."""
    for k, part in enumerate(parts):
        means = {
            i: float(x.values(*part).mean())
            for i, x in enumerate(report.contenders)
            if not x.status(report.monitor)
        }
        history = [{"epoch": i, part[1]: mean} for i, mean in means.items()]
        best = columns.best_epoch(history, part[1]) if history else None
        if best is not None:
            yield from ((i, first + k) for i, mean in means.items() if mean == best.value)


def _training(contender: Contender, monitor: str) -> list[Any]:
    """Return the means of best epoch, epochs and seconds over the runs of a contender."""
    runs = [run for run in contender.runs if run.history]
    if not runs:
        return ["", "", ""]
    best = [columns.best_epoch(run.history, monitor) for run in runs]
    epochs = [float(x.epoch) for x in best if x is not None]
    lengths = [float(len(run.history)) for run in runs]
    seconds = float(np.mean([run.seconds for run in runs]))
    return [float(np.mean(epochs)) if epochs else "", float(np.mean(lengths)), seconds]


def _rate(contender: Contender) -> str:
    if contender.learning_rate is None:
        return ""
    mark = " (end of the range)" if contender.is_rate_at_end else ""
    return f"{contender.learning_rate:g}{mark}"


def _spread_text(values: np.ndarray) -> tables.NumberText:
    """Return mean and standard deviation of the finite values as text."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return tables.NumberText()
    spread = float(finite.std(ddof=1)) if finite.size > 1 else math.nan
    return tables.with_spread(float(finite.mean()), spread)


def _about_results(report: ContendersReport) -> str:
    text = "Means of the final models over the seeds"
    text += ", ± their standard deviation." if report.seeds > 1 else "; one seed shows no spread."
    if any(x.is_rate_at_end for x in report.contenders):
        text += (
            " A learning rate at the end of the range may not be the best: try more beyond it with "
            "--learning_rates."
        )
    return text


def _differences(report: ContendersReport) -> Iterator[str]:
    """Yield the table of differences from the baseline or the best contender, and its notes."""
    if report.seeds < 2:
        yield page.note("Differences need two seeds or more: give --seeds=5.")
        return
    reference = report.baseline or report.contenders[0].name
    found = against(report.differences, reference)
    if not found:
        yield page.note("No two contenders have results of all seeds.")
        return
    rows = []
    for contender in report.contenders:
        if (x := found.get(contender.name)) is not None:
            paired = x.paired
            interval = f"{paired.low:.3g} to {paired.high:.3g}"
            interval = interval if math.isfinite(paired.low) else ""
            numbers = [paired.mean, interval, paired.effect, paired.p_value, x.corrected]
            rows.append([contender.name, *numbers, _verdict(x, report)])
    part = part_of_tests(report.contenders, report.result)
    headers = [f"{part} {as_words(report.result)}: minus {reference}", "mean difference"]
    headers += ["95 % interval", "effect size", "p", "p corrected", ""]
    yield tables.table(headers, rows)
    yield page.note(_about_differences(report, part, reference))


def _verdict(difference: Difference, report: ContendersReport) -> str:
    if not difference.corrected < LEVEL:
        return "may be chance"
    return "better" if (difference.paired.mean < 0) == report.is_minimized else "worse"


def _about_differences(report: ContendersReport, part: str, reference: str) -> str:
    tests = len(report.differences)
    pairs = f"all {tests} pairs" if report.baseline is None else f"{tests} pairs with {reference}"
    data = "" if part == TEST else " There is no test part: the validation part chose the ranking."
    text = (
        f"Paired t-tests over {report.seeds} seeds, corrected by Holm's method for {pairs}; "
        f"called better or worse below {LEVEL}. Effect size: the mean difference divided by its "
        f"standard deviation over the seeds.{data} The seeds vary initial weights and order, and "
        "random splits of the data: the tests say what other seeds would show, not other data."
    )
    if report.seeds <= FEW_SEEDS:
        text += (
            f" With {report.seeds} seeds only differences that are large beside their spread are "
            "found, and that they may be chance does not say that there is none."
        )
    return text


def _finals(report: ContendersReport, shown: Sequence[Contender]) -> Iterator[tuple[str, Figure]]:
    for part in (VALIDATION, TEST):
        for name in _result_names(shown):
            if any(np.isfinite(x.values(part, name)).any() for x in shown):
                yield f"{part}_{name}", spread.result_dots(shown, part, name)


def _result_names(contenders: Sequence[Contender]) -> list[str]:
    """Return the names of the scalar results of the runs."""
    found = (
        (name, x)
        for contender in contenders
        for run in contender.runs
        for name, x in {**run.validation, **run.test}.items()
    )
    return list(dict.fromkeys(name for name, x in found if isinstance(x, (int, float))))


def _link(report: ContendersReport, name: str) -> Any:
    return tables.Link(name, report.links[name]) if name in report.links else name


def _failures(report: ContendersReport) -> str:
    rows = [
        [contender.name, str(run.seed), tables.WrappedText(run.failure)]
        for contender in report.contenders
        for run in contender.runs
        if run.failure
    ]
    return tables.table(["contender", "seed", "failure"], rows) if rows else ""
