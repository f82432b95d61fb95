"""The page of a run shows what its records hold, and no more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers.predictions import classified, numbers

from trainlib.report.examples import ExampleData
from trainlib.report.page import Provenance
from trainlib.report.range_test import LossCurve
from trainlib.report.run_page import duration, write_run_page
from trainlib.report.run_record import ModelRecord, OutputRecord, RunRecord

pytest.importorskip("matplotlib")

HISTORY = [
    {"epoch": 1, "loss": 2.0, "val_loss": 1.5, "seconds": 100.0, "learning_rate": 0.1},
    {"epoch": 2, "loss": 1.0, "val_loss": 1.25, "seconds": 50.0, "learning_rate": 0.1},
]
SETTINGS = {
    "dataset": "digits",
    "model": "mlp",
    "optimizer": "adam",
    "batch_size": "32",
    "epochs": "2",
    "learning_rate": "0.01",
}
SUMMARY = {"train": {"loss": 1.0}, "test": {"loss": 1.125, "matrix": [[1]]}}
FINISHED = RunRecord(
    "name",
    HISTORY,
    SETTINGS,
    flags=("--dataset=digits", "--seed=0"),
    made=Provenance(
        "train --epochs=2", "2026-01-02 03:04 UTC", "7", {"trainlib": "1.2", "Keras": "3.4"}
    ),
    summary=SUMMARY,
)
CURVE = LossCurve(*np.array([[1e-4, 1e-3, 1e-2], [3.0, 2.0, 1.0], [3.0, 2.5, 2.0]]))


def model_record(predictions, class_names=()):
    """The record of a model that made these predictions."""
    data = ExampleData(np.zeros((len(predictions.true), 2)), class_names=class_names)
    outputs = {"": OutputRecord("the_loss", predictions, data.class_names)}
    return ModelRecord({"train": 1400, "test": 40}, 1234, outputs, data)


@pytest.fixture
def write(tmp_path):
    """`write(run, model)`: the page, and the names of its pictures."""

    def run(record, model=None):
        write_run_page(record, model, tmp_path)
        names = {path.stem for path in tmp_path.glob("*.png")}
        return (tmp_path / "report.html").read_text(encoding="utf-8"), names

    return run


def test_a_finished_run_has_its_command_its_facts_its_results_and_its_flags(write):
    text, pictures = write(FINISHED, model_record(classified(40, 3), ("a", "b", "c")))
    assert "<code><span>train</span> <span>--epochs=2</span></code>" in text
    assert "2026-01-02 03:04 UTC · seed 7 · trainlib 1.2 · Keras 3.4" in text
    assert "<strong>1.125</strong><span>test loss (the loss)</span>" in text
    assert "<strong>1.25</strong><span>lowest validation loss, epoch 2 of 2</span>" in text
    for name, fact in (
        ("data set", "digits"),
        ("examples", "1,400 training, 40 test"),
        ("model", "mlp, 1,234 parameters"),
        ("loss", "the_loss"),
        ("epochs", "2"),
        ("learning rate", "0.1"),
        ("training took", "2 min 30 s"),
    ):
        assert f"<dt>{name}</dt><dd>{fact}</dd>" in text
    assert '<td>test</td><td class="number">1.125</td>' in text
    assert "<code>--seed=0</code>" in text
    assert "not finished" not in text
    predictions = {"confusion_matrix", "precision_recall", "reliability"}
    assert pictures == {"loss", "loss_ratio"} | predictions
    assert text.count("<svg ") == len(pictures)


def test_results_that_were_not_finite_are_not_written_as_numbers(write):
    summary = {"train": {"loss": None, "accuracy": 0.5}, "test": {"loss": 2.5, "accuracy": None}}
    text, _ = write(dataclasses.replace(FINISHED, summary=summary))
    for cells in (("-", "0.5000"), ("2.500", "-")):
        assert "".join(f'<td class="number">{x}</td>' for x in cells) in text
    assert ">-</" in text[: text.index("<table")]  # in large type too


def test_numbers_have_residuals_in_place_of_confusions(write):
    text, pictures = write(FINISHED, model_record(numbers(40)))
    assert pictures == {"loss", "loss_ratio", "residuals", "residual_histogram"}
    assert "confusion" not in text


def test_a_learning_rate_that_changes_has_a_figure(write):
    history = [{**x, "learning_rate": 0.1 / x["epoch"]} for x in HISTORY]
    text, pictures = write(RunRecord("name", history, SETTINGS))
    assert "learning_rate" in pictures and "<dt>learning rate</dt>" not in text


def test_the_report_of_an_unfinished_run_says_that_it_is_not_finished(write):
    text, pictures = write(RunRecord("name", HISTORY, {**SETTINGS, "epochs": "5"}))
    assert "This run is not finished." in text
    assert "<dt>epochs</dt><dd>2 of 5</dd>" in text
    assert "<h2>Flags</h2>" not in text and "Results of the saved model" not in text
    assert pictures == {"loss", "loss_ratio"}


def test_a_run_whose_flags_are_unknown_shows_its_history(write):
    text, pictures = write(RunRecord("name", HISTORY, {}))
    assert "<dt>epochs</dt><dd>2</dd>" in text and "<dt>model</dt>" not in text
    assert pictures == {"loss", "loss_ratio"}


def test_the_range_test_is_shown_with_the_learning_rate_of_the_run(write):
    text, pictures = write(RunRecord("name", HISTORY, SETTINGS, range_test=CURVE))
    assert "<h2>Range test</h2>" in text and ">learning rate: 0.01</text>" in text
    assert "lr_find" not in pictures  # the test has written it


def test_norms_and_loss_scales_have_figures_of_their_own(write):
    history = [{"epoch": 1, "loss": 1.0, "gradient_norm": 2.0, "loss_scale": 32768.0}]
    _, pictures = write(RunRecord("name", history, {}))
    assert pictures == {"loss", "norms", "loss_scale"}


def test_names_of_results_become_file_names(write):
    _, pictures = write(RunRecord("name", [{"epoch": 1, "a/<b> c": 1.0}], {}))
    assert pictures == {"a__b__c"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [([1.5, 2.25], "3.75 s"), ([119.0], "119 s"), ([150.0], "2 min 30 s"), ([7265.0], "2 h 1 min")],
)
def test_durations_have_two_units_at_most(seconds, text):
    assert duration(np.array(seconds)) == text


def test_epochs_without_a_duration_are_left_out():
    assert duration(np.array([1.0, np.nan])) == "1 s"
