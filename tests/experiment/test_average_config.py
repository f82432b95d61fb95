"""The average of a run by flag: what is averaged, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.experiment.average_config import build_average


def state_after(config: tl.AverageConfig, epochs: int, updates: int) -> list[int]:
    """Return how many states are in the average after each update of a run."""
    average = build_average(config, epochs, updates)
    assert average is not None
    state, counts = average.init([0.0]), []
    for t in range(epochs * updates):
        _, state = average.update([None], state, [float(t)])
        counts.append(int(state.count))
    return counts


def test_swa_averages_the_ends_of_the_epochs_after_its_start() -> None:
    counts = state_after(tl.AverageConfig(kind="swa", start=0.5), 4, 3)
    assert counts == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3]  # of epochs 2, 3 and 4


def test_swa_averages_every_so_many_updates() -> None:
    counts = state_after(tl.AverageConfig(kind="swa", start=0.5, every=2), 4, 3)
    assert counts == [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--ema_decay=0.9",), "ema_decay needs weight_average=ema"),
        (("--weight_average=ema", "--swa_start=0.5"), "swa_start needs weight_average=swa"),
        (("--weight_average=swa", "--swa_start=1"), "swa_start must be"),
        (("--weight_average=mean",), "unknown weight_average 'mean'"),
    ],
)
def test_flags_that_have_no_effect_are_refused(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment(*flags)


def test_fewer_than_two_states_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves fewer than two states of 2 epochs"):
        build_average(tl.AverageConfig(kind="swa"), 2, 10)


def test_a_run_saves_and_reports_the_average(tmp_path: Path) -> None:
    config = experiment(*QUICK, "--weight_average=ema", "--ema_decay=0.5", "--norms")
    result = tl.run_experiment(config, tmp_path / "run")
    plain = tl.run_trial(dataclasses.replace(config, weight_average=tl.AverageConfig()))
    saved = keras.saving.load_model(tmp_path / "run" / "model.keras")
    # w_1 and w_2 with the weights 1/3 and 2/3 are between them: w_2 is the plain run's.
    for a, b in zip(saved.get_weights(), plain.weights, strict=True):
        assert 0 < np.max(np.abs(a - b)) < 0.01
    assert result.test != plain.test


@pytest.mark.soak
def test_a_trial_cannot_continue_from_an_average() -> None:
    regressor = tl.estimators.TrainlibRegressor(
        config=tl.ExperimentConfig(weight_average=tl.AverageConfig(kind="ema")),
        hidden=[2],
        epochs=1,
        warm_start=True,
    )
    x = np.zeros([8, 2])
    regressor.fit(x, x[:, 0])
    with pytest.raises(ValueError, match="weight_average: training cannot continue"):
        regressor.fit(x, x[:, 0])
