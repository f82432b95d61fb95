"""A trial ends where the same experiment ends in a folder, in memory."""

from __future__ import annotations

import dataclasses
import gc
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.executions import soak_except
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.data.examples import pick
from trainlib.experiment.task_building import build_task
from trainlib.training import autotune

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


def test_a_trial_is_not_timed_and_says_how_it_was_executed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[str] = []

    def speed(self: Any, execution: str, work: Any) -> float:
        timed.append(execution)
        return 1.0

    monkeypatch.setattr(autotune.Autotuner, "_speed", speed)
    monkeypatch.setattr(autotune, "_can_run", lambda execution, work: False)  # under XLA
    config = dataclasses.replace(CONFIG, execution="auto", batch_size=8, epochs=170)
    result = tl.run_trial(config)
    assert len(result.history) * 6 >= autotune.Autotuner().min_steps
    assert (result.config.execution, timed) == ("graph", [])


def test_rolling_back_without_checkpoints_is_refused() -> None:
    with pytest.raises(ValueError, match="nonfinite=roll_back needs the checkpoints of a run"):
        tl.run_trial(dataclasses.replace(CONFIG, nonfinite="roll_back"))


MODEL = tl.config("mlp", hidden=[4], dropout=0.2)
FULL: dict[str, Any] = {
    "model": MODEL,
    "optimizer": tl.config("sgd", learning_rate=0.1, momentum=0.9),
    "clipping": tl.config("clip_by_global_norm", global_clipnorm=1.0),
    "regularizer": tl.config("l1_l2", l1=1e-3, l2=1e-3),
    "schedule": tl.config("cosine_decay"),
}
"""An experiment with numbers of every kind, and below it others."""
OTHER: dict[str, Any] = {
    "model": tl.config("mlp", hidden=[4], dropout=0.5, initializer="orthogonal"),
    "optimizer": tl.config("sgd", learning_rate=0.02, momentum=0.5),
    "clipping": tl.config("clip_by_global_norm", global_clipnorm=0.1),
    "regularizer": tl.config("l1_l2", l1=0.1, l2=0.0),
    "schedule": tl.config("exponential_decay", decay_rate=0.1),
    "seed": 3,
}


def same_numbers(a: tl.TrialResult, b: tl.TrialResult) -> bool:
    equal = [np.array_equal(x, y) for x, y in zip(a.weights, b.weights, strict=True)]
    losses = [[epoch["loss"] for epoch in x.history] for x in (a, b)]
    return all(equal) and losses[0] == losses[1] and a.validation == b.validation


@pytest.fixture(scope="module")
def used() -> tl.TrainerPool:
    """Return a pool with the programs of `FULL`."""
    pool = tl.TrainerPool()
    tl.run_trial(dataclasses.replace(CONFIG, **FULL), pool=pool)
    return pool


@pytest.fixture(scope="module")
def full(used: tl.TrainerPool) -> tl.TrialResult:
    return tl.run_trial(dataclasses.replace(CONFIG, **FULL), pool=used)


@pytest.mark.parametrize("name", soak_except("model", "schedule", names=OTHER))
def test_each_number_is_a_value_of_shared_programs(
    name: str, used: tl.TrainerPool, full: tl.TrialResult
) -> None:
    traces = used.traces
    other = tl.run_trial(dataclasses.replace(CONFIG, **{**FULL, name: OTHER[name]}), pool=used)
    assert (used.misses, used.traces) == (1, traces)
    assert not same_numbers(full, other)


@pytest.mark.soak
def test_a_trial_with_shared_programs_is_that_with_its_own(used: tl.TrainerPool) -> None:
    config = dataclasses.replace(CONFIG, **{**FULL, **OTHER})
    assert same_numbers(tl.run_trial(config, pool=used), tl.run_trial(config))


@pytest.mark.soak
def test_shared_programs_train_as_those_of_a_run_with_constants(
    used: tl.TrainerPool, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, **{**FULL, **OTHER})
    shared, run = tl.run_trial(config, pool=used), tl.run_experiment(config, tmp_path / "run")
    for ours, of_run in zip(shared.weights, run.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, of_run, rtol=1e-5, atol=1e-7)
    assert shared.test == pytest.approx(run.test, rel=1e-5)
    rates = [[epoch["learning_rate"] for epoch in x.history] for x in (shared, run)]
    assert rates[0] == rates[1]


def test_parts_of_other_sizes_and_scales_share_programs(data_dir: Path) -> None:
    config = tl.ExperimentConfig(
        dataset="california_housing",
        data=tl.DataConfig(data_dir=str(data_dir)),
        model=tl.config("mlp", hidden=[2]),
        epochs=1,
        execution="graph",
    )
    task, pool = build_task(config), tl.TrainerPool()
    rows = np.arange(task.train.size)
    parts = [
        task._replace(train=pick(task.train, fold), test=None)
        for fold in (rows[:165], rows[500:677])
    ]
    tl.run_trial(config, parts[0], pool=pool)
    shared = tl.run_trial(config, parts[1], pool=pool)
    assert pool.misses == 1
    assert same_numbers(shared, tl.run_trial(config, parts[1]))


def test_a_diverged_trial_leaves_programs_for_the_next(
    used: tl.TrainerPool, full: tl.TrialResult
) -> None:
    config = dataclasses.replace(CONFIG, **FULL)
    rate = tl.config("sgd", learning_rate=1e30, momentum=0.9)
    with pytest.raises(tl.callbacks.NonFiniteError):
        tl.run_trial(dataclasses.replace(config, optimizer=rate), pool=used)
    assert same_numbers(full, tl.run_trial(config, pool=used))


@pytest.mark.soak
def test_two_hundred_trials_do_not_grow(used: tl.TrainerPool) -> None:
    def memory() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 2**20

    def trial(i: int) -> None:
        rate = tl.config("sgd", learning_rate=0.1 / (1 + i), momentum=0.9)
        tl.run_trial(
            dataclasses.replace(CONFIG, **{**FULL, "optimizer": rate, "seed": i}), pool=pool
        )

    pool = tl.TrainerPool()
    for i in range(20):
        trial(i)
    gc.collect()
    before, traces = memory(), pool.traces
    for i in range(200):
        trial(i)
    gc.collect()
    assert pool.traces == traces and pool.misses == 1
    assert memory() - before < 20
