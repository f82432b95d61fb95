"""The page of a search: what it says of the best trial, its figures, and failed trials."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from trainlib.report.search_page import SearchReport, write_search_page  # noqa: E402
from trainlib.tools.trial_records import TrialRecord  # noqa: E402


def report(trials, importances):
    command = "train --flagfile=search/best.txt"
    return SearchReport(
        "search", "rate=log(1,9)", "val_loss", True, trials, importances, {"loss": 0.25}, command
    )


TRIALS = [
    TrialRecord(0, "complete", 0.5, {"rate": 0.01, "kind": "sgd"}, (0.5,), 3, 1.0),
    TrialRecord(1, "failed", None, {"rate": 9.0, "kind": "sgd"}, error="NonFiniteError: <loss>"),
    TrialRecord(2, "complete", 0.125, {"rate": 0.5, "kind": "adam", "beta": 0.5}, (0.125,), 3, 2.0),
    TrialRecord(3, "pruned", 2.0, {"rate": 0.3, "kind": "sgd"}, (2.0,), 1, 0.5),
]


def test_the_page_shows_the_best_trial_its_figures_and_the_failures(tmp_path):
    write_search_page(report(TRIALS, {"rate": 0.75, "kind": 0.25}), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "<strong>0.125</strong><span>best validation loss, trial 2 of 4</span>" in text
    assert "rate=0.5, kind=adam, beta=0.5" in text
    assert "2 complete, 1 pruned, 1 failed" in text
    assert (
        "<strong>0.25</strong><span>test loss</span>" in text
        and "train --flagfile=search/best.txt" in text
    )
    assert "NonFiniteError: &lt;loss&gt;" in text
    rows = text[text.index("<tbody>") :].split("<tr>")[1:3]
    assert ["<td" in row and row.split(">")[1].split("<")[0] for row in rows] == ["2", "0"]
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    names = {"history", "importance", "parallel_coordinates", "rate", "kind", "beta"}
    assert pictures == names and text.count("<svg") == len(names)


def test_a_search_without_complete_trials_has_a_page(tmp_path):
    write_search_page(report(TRIALS[1:2], {}), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "No trial is complete." in text and "<svg" not in text
