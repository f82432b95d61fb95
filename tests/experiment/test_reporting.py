"""Run folders are read into the records that reports show."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import trainlib as tl
from trainlib.experiment.predictions import predict_test
from trainlib.experiment.reporting import (
    model_record,
    read_record,
    read_records,
    write_comparison,
    write_report,
)
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import build_saved_task, load_models, read_saved_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a short run on digits."""
    config = tl.ExperimentConfig(
        data=tl.DataConfig(train_examples=100),
        model=tl.config("mlp", hidden=[8]),
        optimizer=tl.config("adam", learning_rate=0.01),
        schedule=tl.config("exponential_decay", decay_steps=10, decay_rate=0.5),
        epochs=2,
        execution="graph",
        report=False,
    )
    return tl.run_experiment(config, tmp_path_factory.mktemp("runs") / "run").folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def loaded(finished):
    """The configuration of the run, its task and its model."""
    run = read_saved_run(finished)
    task = build_saved_task(run)
    return run.config, task, load_models(run, task)


def test_the_record_of_a_finished_run_is_complete(finished):
    record = read_record(finished)
    assert record.name == "run"
    assert [results["epoch"] for results in record.history] == [1, 2]
    assert record.settings["optimizer"] == "adam" and record.settings["epochs"] == "2"
    assert record.flags == tuple((finished / "flags.txt").read_text().splitlines())
    assert record.summary == json.loads((finished / "summary.json").read_text())
    assert record.range_test is None


def test_the_command_has_the_flags_that_are_not_at_their_defaults(finished):
    name, *flags = read_record(finished).made.command.split()
    assert name == "train"
    assert {"--train_examples=100", "--hidden=8", "--epochs=2"} <= set(flags)
    assert not any(flag.startswith(("--dataset", "--seed", "--batch_size")) for flag in flags)


def test_a_run_without_a_summary_is_not_finished(folder):
    (folder / "summary.json").unlink()
    assert read_record(folder).summary is None
    (folder / "config.json").unlink()
    assert read_record(folder).settings == {}


def test_predictions_and_losses_are_those_of_the_saved_model(loaded, finished):
    found = predict_test(*loaded)[""]
    np.testing.assert_allclose(found.scores, predict_run(read_saved_run(finished)), atol=1e-6)
    np.testing.assert_array_equal(found.true, loaded[1].test.y)
    np.testing.assert_array_equal(found.predicted, found.scores.argmax(1))
    loss = json.loads((finished / "summary.json").read_text())["test"]["loss"]
    assert found.losses.mean() == pytest.approx(loss, rel=1e-5)


def test_the_record_of_a_model_has_its_schedule_by_epoch(loaded, finished):
    record = model_record(*loaded, read_record(finished).history)
    assert record.sizes == {"train": 90, "validation": 10, "test": 359}
    positions, rates = record.schedule
    steps = 3  # 90 examples in batches of 32
    np.testing.assert_allclose(positions, np.arange(1, 2 * steps + 1) / steps)
    np.testing.assert_allclose(rates, 0.01 * 0.5 ** (np.arange(2 * steps) / 10), rtol=1e-6)


def test_runs_of_the_same_name_are_named_by_path(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other" / "run")
    assert list(read_records([folder])) == ["run"]
    assert list(read_records([folder, other])) == [folder.as_posix(), other.as_posix()]
    with pytest.raises(ValueError, match="is given twice"):
        read_records([folder, tmp_path / "other" / ".." / "run"])


def test_reports_are_written_into_folders_that_they_make(folder, tmp_path):
    pytest.importorskip("matplotlib")
    write_report(folder, tmp_path / "a" / "b")
    write_comparison([folder], tmp_path / "c")
    for path in (tmp_path / "a" / "b", tmp_path / "c"):
        assert (path / "report.html").is_file() and (path / "loss.png").is_file()


def test_a_model_that_cannot_be_loaded_leaves_no_report(folder, tmp_path):
    (folder / "model.keras").write_text("x")
    with pytest.raises(ValueError, match="not a Keras model"):
        write_report(folder, tmp_path / "a")
    assert not (tmp_path / "a").exists()
