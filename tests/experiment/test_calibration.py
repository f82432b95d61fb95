"""`calibrate`: the saved model has the temperature, and the results are its own."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.experiment import run_folder
from trainlib.experiment.run_evaluation import evaluate_run
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import read_saved_run
from trainlib.experiment.task_building import build_task

FLAGS = (*QUICK, "--train_examples=400", "--validation_split=0.5", "--epochs=4")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The result of a run without and with a temperature."""
    folder, found = tmp_path_factory.mktemp("runs"), []
    for name, flags in (("plain", ()), ("calibrated", ("--calibrate",))):
        found.append(tl.run_experiment(experiment(*FLAGS, *flags), folder / name))
    return found


@pytest.mark.soak
def test_the_likelihood_on_the_validation_data_is_higher_and_in_the_summary(runs):
    plain, calibrated = runs
    assert plain.calibration == {} and plain.params_sha256 == calibrated.params_sha256
    found = calibrated.calibration["validation"]
    assert found.nll_after < found.nll_before == pytest.approx(plain.validation["loss"], rel=1e-5)
    assert calibrated.validation["loss"] == pytest.approx(found.nll_after, rel=1e-5)
    assert calibrated.test["accuracy"] == plain.test["accuracy"]
    summary = run_folder.read_summary(calibrated.folder)["calibration"]
    assert summary["temperature"] == found.temperature
    assert summary["validation"]["ece_after"] == found.ece_after
    assert summary["test"]["nll_after"] == pytest.approx(calibrated.test["loss"], rel=1e-5)
    assert "calibration" not in run_folder.read_summary(plain.folder)


@pytest.mark.soak
def test_evaluate_and_predict_use_the_temperature(runs):
    _, calibrated = runs
    run = read_saved_run(calibrated.folder)
    assert evaluate_run(run) == pytest.approx(calibrated.test, rel=1e-5)
    test = build_task(calibrated.config).test
    p = predict_run(run)
    nll = -np.log(p[np.arange(test.size), test.y].astype("float64")).mean()
    assert nll == pytest.approx(calibrated.test["loss"], rel=1e-4)
    saved = keras.saving.load_model(calibrated.folder / "model.keras")
    scale = 1 / calibrated.calibration["test"].temperature
    assert saved.get_layer("temperature").scale == pytest.approx(scale)


def test_a_custom_model_that_ends_as_the_message_demands_is_calibrated(dataset, tmp_path):
    layers = [keras.Input((2,)), keras.layers.Dense(3), keras.layers.Softmax()]
    keras.Sequential(layers).save(tmp_path / "own.keras")
    y = np.arange(150) % 3
    x = np.random.default_rng(0).normal(np.eye(3)[y, :2])
    flags = (*FLAGS, "--train_examples=100", "--learning_rate=0.1", "--calibrate")
    flags = (*(flag for flag in flags if "hidden" not in flag), f"--model={tmp_path}/own.keras")
    result = tl.run_experiment(experiment(dataset(x=x, y=y), *flags), tmp_path / "run")
    saved = keras.saving.load_model(tmp_path / "run" / "model.keras")
    scale = 1 / result.calibration["test"].temperature
    assert saved.get_layer("temperature").scale == pytest.approx(scale)
    p = predict_run(read_saved_run(tmp_path / "run"))
    test = build_task(result.config).test
    nll = -np.log(p[np.arange(test.size), test.y].astype("float64")).mean()
    assert nll == pytest.approx(result.test["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--validation_split=0",), "^calibrate needs validation data"),
        (("--task=regression",), "^calibrate is for classifiers; loss mean_squared_error"),
        (("--loss=hinge",), "^calibrate: a temperature needs a model whose last layer"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_a_folder_is_made(flags, message, tmp_path):
    config = dataclasses.replace(experiment(*FLAGS, "--calibrate", *flags))
    with pytest.raises(ValueError, match=message):
        tl.run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
