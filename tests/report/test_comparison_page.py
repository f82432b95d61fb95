"""The page of several runs shows their curves together, and the flags in which they differ."""

from __future__ import annotations

import re

import pytest

from trainlib.report.comparison_page import write_comparison_page
from trainlib.report.run_record import RunRecord

pytest.importorskip("matplotlib")


def record(name, loss, settings, test=None, **results):
    """The record of a run of one epoch."""
    history = [{"epoch": 1, "seconds": 1.0, "loss": loss, **results}]
    summary = None if test is None else {"test": test}
    return RunRecord(name, history, settings, summary=summary)


@pytest.fixture
def write(tmp_path):
    """`write(run, run)`: the page, and the names of its pictures."""

    def run(*records, **links):
        write_comparison_page({record.name: record for record in records}, tmp_path, links)
        names = {path.stem for path in tmp_path.glob("*.png")}
        return (tmp_path / "report.html").read_text(encoding="utf-8"), names

    return run


def test_the_best_result_of_each_column_stands_out(write):
    text, pictures = write(
        record("a", 2.0, {}, test={"loss": 0.5, "accuracy": 0.75}),
        record("b", 1.0, {}, test={"loss": 0.25, "accuracy": 0.5}),
    )
    cells = ("0.5000", "<strong>0.7500</strong>"), ("<strong>0.2500</strong>", "0.5000")
    for loss, accuracy in cells:
        assert f'<td class="number">{loss}</td><td class="number">{accuracy}</td>' in text
    assert "<h1>2 runs</h1>" in text and pictures == {"loss"}


def test_a_result_that_was_not_finite_is_not_the_best(write):
    text, _ = write(
        record("a", 2.0, {}, test={"loss": None, "accuracy": 0.75}),
        record("b", 1.0, {}, test={"loss": 0.25, "accuracy": None}),
    )
    cells = ("-", "<strong>0.7500</strong>"), ("<strong>0.2500</strong>", "-")
    for loss, accuracy in cells:
        assert f'<td class="number">{loss}</td><td class="number">{accuracy}</td>' in text


def test_results_that_only_one_run_has_are_shown(write):
    text, pictures = write(record("a", 2.0, {}, auc=0.5), record("b", 1.0, {}))
    assert pictures == {"loss", "auc"}
    assert "Not finished: a, b." in text


def test_only_flags_that_differ_are_listed(write):
    text, _ = write(
        record("a", 2.0, {"optimizer": "adam", "seed": "0"}),
        record("b", 1.0, {"optimizer": "nadam", "seed": "0"}),
        record("c", 1.0, {}),
    )
    cells = "".join(f'<td class="long">{x}</td>' for x in ("adam", "nadam", "?"))
    assert f"<td>optimizer</td>{cells}" in text


def test_equal_flags_are_said_to_be_so(write):
    text, _ = write(record("a", 2.0, {"seed": "0"}), record("b", 1.0, {"seed": "0"}))
    assert '<h2>Flags that differ</h2>\n<p class="muted">None.</p>' in text


def test_runs_are_sorted_by_their_results_on_validation_data_and_link_to_their_reports(write):
    runs = [record(name, 1.0, {}, val_loss=loss) for name, loss in (("a", 2.0), ("b", 1.0))]
    text, _ = write(*runs, a="../a/report.html")
    first, second = (
        text.index("<td>b</td>"),
        text.index('<td><a href="../a/report.html">a</a></td>'),
    )
    assert first < second


@pytest.mark.parametrize(
    ("settings", "results", "text"),
    [
        ({"loss": "huber"}, {}, "digits, huber"),
        ({"task": "regression"}, {}, "digits, regression"),
        ({"model": "autoencoder"}, {}, "digits, autoencoder"),
        ({"target": "age"}, {}, "digits age"),
        ({}, {"main_loss": 1.0, "aux_loss": 2.0}, "digits, outputs main aux"),
    ],
)
def test_runs_of_another_task_on_the_same_data_are_not_ranked_with_others(
    settings, results, text, write
):
    first = {"dataset": "digits", "loss": "auto"}
    shown, _ = write(
        record("a", 2.0, first, val_loss=2.0),
        record("b", 1.0, first | settings, val_loss=1.0, **results),
    )
    titles = re.findall("<h2>Results on (.*)</h2>", shown)
    assert titles == ["digits", text] and "Runs are compared with those of the same" in shown


def test_runs_of_different_data_have_tables_and_figures_of_their_own(write):
    text, pictures = write(
        record("a", 2.0, {"dataset": "digits"}), record("b", 1.0, {"dataset": "mnist"})
    )
    for name in ("digits", "mnist"):
        assert f"<h2>Results on {name}</h2>" in text and f"<h2>Training on {name}</h2>" in text
    assert pictures == {"digits_loss", "mnist_loss"}
