"""A saved run is evaluated, predicts and is read as `run_experiment` left it."""

from __future__ import annotations

import dataclasses
import shutil

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.data import load_dataset
from trainlib.experiment.run_evaluation import evaluate_run
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import read_saved_run, with_data

ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The result of a short run on digits, in the folder `run`."""
    config = tl.ExperimentConfig(
        data=tl.DataConfig(train_examples=200, validation_split=0.2),
        model=tl.config("mlp", hidden=[8]),
        regularizer=tl.config("l2", l2=0.01),
        epochs=1,
        execution="graph",
        report=False,
    )
    return tl.run_experiment(config, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(finished):
    """The saved run."""
    return read_saved_run(finished.folder)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_each_part_has_the_results_of_the_run(part, run, finished):
    assert evaluate_run(run, part) == getattr(finished, part)


def test_a_part_that_the_run_did_not_keep_is_refused(run):
    config = tl.ExperimentConfig(data=tl.DataConfig(validation_split=0.0))
    with pytest.raises(ValueError, match="part validation: the run kept no examples for it"):
        evaluate_run(run._replace(config=config), "validation")


def test_predictions_of_the_test_examples_are_those_of_the_saved_model(run):
    model = keras.saving.load_model(run.folder / "model.keras")
    expected = model.predict(load_dataset("digits").test.x, verbose=0)
    np.testing.assert_allclose(predict_run(run), expected, rtol=1e-4, atol=1e-6)
    assert run.classes == 10


def test_in_mixed_precision_the_predictions_are_those_that_are_evaluated(run):
    config = dataclasses.replace(run.config, precision="mixed_bfloat16", regularizer=None)
    run, y = run._replace(config=config), load_dataset("digits").test.y
    p = predict_run(run)[np.arange(len(y)), y].astype(np.float64)
    assert -np.log(p).mean() == pytest.approx(evaluate_run(run)["loss"], rel=1e-6)


def test_examples_in_a_file_are_predicted(run, tmp_path):
    x = load_dataset("digits").test.x[:5]
    np.savez(tmp_path / "new.npz", x=x)
    found = predict_run(run, str(tmp_path / "new.npz"))
    np.testing.assert_allclose(found, predict_run(run)[:5], rtol=1e-4, atol=1e-6)


def test_another_data_set_keeps_the_target_only_if_it_is_a_table(run, tmp_path):
    config = tl.ExperimentConfig(dataset="a.csv", data=tl.DataConfig(target="kind"))
    run = run._replace(config=config)
    assert with_data(run, "b.csv.gz").config.data.target == "kind"
    assert with_data(run, "b.csv.gz").takes_all
    np.savez(tmp_path / "b.npz", x_test=ROWS)
    assert with_data(run, str(tmp_path / "b.npz")).config.data.target is None
    assert not with_data(run, str(tmp_path / "b.npz")).takes_all
    assert with_data(run) == run


def test_a_file_that_was_moved_is_found_in_the_folder_that_is_given(run, tmp_path):
    run = run._replace(config=tl.ExperimentConfig(dataset="/gone/a.csv"))
    assert with_data(run, data_dir=str(tmp_path)).config.dataset == "/gone/a.csv"
    (tmp_path / "a.csv").write_text("a,y\n1,2\n")
    moved = with_data(run, data_dir=str(tmp_path))
    assert moved.config.dataset == str(tmp_path / "a.csv") and not moved.takes_all


def test_examples_of_another_shape_are_refused(run, tmp_path):
    np.savez(tmp_path / "wide.npz", x=ROWS)
    with pytest.raises(ValueError, match="takes examples of shape"):
        predict_run(run, str(tmp_path / "wide.npz"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "not a run, because it has no config.json"),
        ("config.json", "{", "config.json: Expecting property name"),
        ("summary.json", None, "the run is not finished, because it has no summary.json"),
        ("summary.json", "{}", "summary.json: lacks 'test'"),
    ],
)
def test_a_broken_run_is_refused(file, content, message, finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "broken")
    (tmp_path / "broken" / file).unlink()
    if content is not None:
        (tmp_path / "broken" / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_saved_run(tmp_path / "broken")


@pytest.mark.parametrize(
    ("loss", "name"),
    [("auto", "p"), ("binary_crossentropy", "p"), ("hinge", "score"), ("mine:loss", "score")],
)
def test_only_probabilities_are_named_so(loss, name, run):
    assert run._replace(config=tl.ExperimentConfig(loss=loss)).score_name == name
