"""A trial ends where the same experiment ends in a folder, in memory."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.experiment.task import build_task

CONFIG = experiment(*QUICK, "--validation_split=0.25", "--epochs=2")


@pytest.fixture(scope="module")
def trial() -> Any:
    return tl.run_trial(CONFIG)


def test_a_trial_ends_in_the_numbers_of_the_run_in_a_folder(trial: Any, tmp_path: Path) -> None:
    run = tl.run_experiment(CONFIG, tmp_path / "run")
    for part in ("train", "validation", "test"):
        assert getattr(trial, part) == getattr(run, part)
    for ours, of_run in zip(trial.weights, run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, of_run)
    assert [x["val_loss"] for x in trial.history] == [x["val_loss"] for x in run.history]
    assert trial.config == run.config


def test_a_pickled_trial_builds_its_model(trial: Any) -> None:
    task = build_task(CONFIG)
    model = pickle.loads(pickle.dumps(trial)).build_model()
    predicted = model.predict(task.test.x, verbose=0).argmax(1)
    assert np.mean(predicted == task.test.y) == pytest.approx(trial.test["accuracy"])


def test_a_trial_takes_parts_of_the_data_in_place_of_its_own(trial: Any) -> None:
    task = build_task(CONFIG)
    other = tl.run_trial(CONFIG, task._replace(validation=None, test=None))
    assert other.train == trial.train
    assert other.validation is None and other.test is None


def test_a_trial_writes_nothing(
    trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tl.run_trial(dataclasses.replace(CONFIG, tensorboard=tl.TensorBoardConfig(), epochs=1))
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_trial_says_so() -> None:
    stop = tl.callbacks.Stop("enough")
    result = tl.run_trial(CONFIG, callbacks=[lambda status: stop])
    assert (len(result.history), result.stop) == (1, stop)


def test_rolling_back_without_checkpoints_is_refused() -> None:
    with pytest.raises(ValueError, match="nonfinite=roll_back needs the checkpoints of a run"):
        tl.run_trial(dataclasses.replace(CONFIG, nonfinite="roll_back"))
