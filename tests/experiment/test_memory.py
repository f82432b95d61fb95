"""Models that do not fit into the memory are refused before they are built."""

from __future__ import annotations

import keras
import pytest
from helpers.experiments import experiment

from trainlib.experiment import memory
from trainlib.experiment.memory import check_memory
from trainlib.experiment.task_building import build_task
from trainlib.training.memory import free_memory

DIGITS = experiment("--train_examples=40")


@pytest.fixture(scope="module")
def task():
    """The digits: 64 features, 10 classes."""
    return build_task(DIGITS)


@pytest.mark.parametrize(
    ("flags", "copies"),
    [
        (["--optimizer=adam"], 4),
        (["--optimizer=sgd"], 2),
        (["--optimizer=sgd", "--momentum=0.9"], 3),
        (["--optimizer=adam", "--precision=float64"], 8),
        (["--optimizer=adam", "--strategy=mirrored", "--replicas=2"], 8),
    ],
)
def test_a_model_needs_its_parameters_gradients_and_slots(flags, copies, task, monkeypatch):
    config = experiment("--hidden=3000", *flags)
    needed = 4 * (65 * 3000 + 3001 * 10) * copies
    monkeypatch.setattr(memory, "free_memory", lambda: needed)
    check_memory(config, task)
    monkeypatch.setattr(memory, "free_memory", lambda: needed - 1)
    with pytest.raises(ValueError, match=r"^hidden=3000: model mlp has 2.25e\+05 parameters"):
        check_memory(config, task)


@pytest.mark.parametrize("flags", [["--hidden=1999"], ["--model=cnn", "--depth=1"]])
def test_the_parameters_of_small_models_are_not_counted(flags, task, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1)
    check_memory(experiment(*flags), task)


def test_counting_leaves_nothing_behind_in_keras(task):
    config = experiment("--hidden=100000,100000")  # 40 GB, if it were built
    assert memory._count_parameters(config, task) == 65 * 10**5 + (10**5 + 1) * (10**5 + 10)
    with keras.StatelessScope():  # it initializes what such scopes have left
        pass


def test_the_free_memory_of_this_machine_is_known():
    assert free_memory() is None or free_memory() > 2**20
