"""An autoencoder trains and predicts in an experiment whose targets are its inputs."""

from __future__ import annotations

import numpy as np
import pytest

import trainlib as tl
from trainlib.cli.predict import Predicted, to_csv
from trainlib.data import load_dataset
from trainlib.experiment.run_evaluation import evaluate_run
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import read_saved_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The result of a short run on digits."""
    config = tl.ExperimentConfig(
        data=tl.DataConfig(train_examples=100, validation_split=0.2),
        model=tl.config("autoencoder", hidden=[8, 4]),
        epochs=2,
        execution="graph",
    )
    return tl.run_experiment(config, tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.soak
def test_the_loss_is_the_error_of_scaled_inputs(finished):
    x = load_dataset("digits").test.x
    error = (finished.model(x).numpy() - x / 16) ** 2
    assert finished.test["loss"] == pytest.approx(error.mean(), rel=1e-5)
    assert set(finished.test) == {"loss", "mean_absolute_error"}
    assert finished.history[-1]["loss"] < finished.history[0]["loss"]


def test_the_saved_run_is_evaluated_and_predicts_the_reconstructions(finished):
    run = read_saved_run(finished.folder)
    assert evaluate_run(run) == finished.test
    found = predict_run(run)
    np.testing.assert_allclose(found, finished.model(load_dataset("digits").test.x), atol=1e-5)
    header, first = to_csv({"": Predicted(found[:1])}).splitlines()
    assert header.split(",")[::63] == ["prediction0", "prediction63"]
    assert len(first.split(",")) == 64


@pytest.mark.soak
def test_columns_are_reconstructed_in_standard_deviations(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(5, 3, size=(60, 3)).astype("float32"), rng.normal(size=60)
    np.savez(tmp_path / "own.npz", x=x, y=y)
    config = tl.ExperimentConfig(
        dataset=str(tmp_path / "own.npz"),
        model=tl.config("autoencoder", hidden=[2]),
        epochs=1,
        execution="graph",
        report=False,
    )
    result = tl.run_experiment(config, tmp_path / "run")
    targets = tl.models.reconstruction_targets(result.model, x)
    assert abs(targets.mean()) < 0.3 and 0.7 < targets.std() < 1.3
    assert result.train["loss"] < 3


def test_a_loss_of_classes_is_refused(tmp_path):
    config = tl.ExperimentConfig(model="autoencoder", loss="categorical_crossentropy")
    with pytest.raises(ValueError, match="loss categorical_crossentropy is for classes"):
        tl.run_experiment(config, tmp_path / "run")
