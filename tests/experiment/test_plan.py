"""The plan of a run: what would be trained, without a step."""

from __future__ import annotations

import pytest
from helpers.experiments import QUICK, experiment

import trainlib.experiment.preparation as preparation
from trainlib.experiment.fold_results import FoldConfig
from trainlib.experiment.plan import plan_lines


def rows(*flags, **options):
    """The lines of a plan by their subject."""
    lines = plan_lines(experiment(*QUICK, *flags), **options)
    return {line[:10].strip(): line[12:] for line in lines}


@pytest.fixture(scope="module")
def plan():
    return rows("--optimizer=adam", "--epochs=3", run_dir="mine")


def test_it_names_the_data_the_task_and_the_model(plan):
    assert plan["data"] == "digits: 64 training, 359 test examples; inputs uint8 [8, 8]"
    assert plan["task"] == "10 classes; loss sparse_categorical_crossentropy; metrics accuracy"
    # 64 pixels to 8 units to 10 classes.
    parameters = 64 * 8 + 8 + 8 * 10 + 10
    trained = f"mlp (hidden=(8,)): {parameters} parameters, {parameters} of them trained"
    assert plan["model"] == trained
    assert plan["optimizer"] == "adam, learning rate 0.01; schedule constant"


def test_it_counts_the_steps_and_the_memory(plan):
    assert plan["steps"] == "2 batches of 32 in each of 3 epochs: 6 updates"
    # Parameters, gradients and the two moments of Adam, of 4 bytes; pixels of 1 byte, classes of 4.
    assert plan["memory"].startswith("0.0 MiB parameters, gradients and optimizer state, ")
    assert plan["run folder"] == "mine" and plan["runs"] == "1"
    assert plan["execution"].startswith("graph; ")


def test_the_last_batches_of_each_epoch_make_an_update():
    found = rows("--epochs=3", "--gradient_accumulation_steps=3")["steps"]
    assert found == "2 batches of 32 in each of 3 epochs: 3 updates"


def test_the_bytes_of_the_state_are_counted():
    found = rows("--optimizer=adam", "--hidden=1000,1000")["memory"]
    parameters = 64 * 1000 + 1000 + 1000 * 1000 + 1000 + 1000 * 10 + 10
    assert found.startswith(f"{4 * 4 * parameters / 2**20:.1f} MiB parameters, gradients and opti")


def test_it_names_what_is_frozen_and_pretrained_and_does_not_pretrain():
    flags = "--freeze=hidden_1", "--unfreeze_at=2", "--epochs=3", "--pretrain=autoencoder"
    found = rows(*flags)
    assert found["frozen"] == "hidden_1, 520 parameters; trained: hidden_1 after epoch 2"
    assert found["pretrained"] == "autoencoder, 10 epochs on digits"
    assert found["model"].endswith("610 parameters, 90 of them trained")


def test_several_runs_are_counted():
    assert rows("--ensemble=3")["runs"] == "3 members of an ensemble"
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    folds = rows(folds=FoldConfig(folds=4, repeats=2))
    assert folds["runs"] == "8: 4 folds, 2 times" and "folds-" in folds["run folder"]


@pytest.mark.parametrize(
    ("flags", "folds", "message"),
    [
        (["--ensemble=2", "--tensorboard"], None, "tensorboard is for single runs"),
        (["--ensemble=2", "--ensemble_weights=simplex"], None, "needs validation data"),
        (["--ensemble=2", "--ensemble_configs=nowhere.txt"], None, "nowhere.txt"),
        ([], 65, "folds is 65, but"),
        (["--ensemble=2"], 4, "each fold trains one model"),
    ],
)
def test_it_refuses_what_an_ensemble_and_a_cross_validation_refuse(flags, folds, message):
    if folds is not None:
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    with pytest.raises((ValueError, OSError), match=message):
        rows(*flags, folds=None if folds is None else FoldConfig(folds=folds))


def test_nothing_is_measured_or_written(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preparation, "find_learning_rate", None)
    found = rows("--learning_rate=auto", "--execution=auto", "--epochs=1000")
    assert "found by a range test before training" in found["optimizer"]
    assert "auto: a long run measures others too" in found["execution"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--epochs=499"], "graph; "),  # 998 steps
        (["--epochs=500"], "xla (auto: a long run measures others too); "),
        (["--epochs=3", "--execution=xla"], "xla; "),
        (["--epochs=3", "--precision=mixed_float16"], "xla; "),  # it is not measured
    ],
)
def test_a_run_too_short_for_xla_is_a_graph(flags, expected):
    assert rows("--execution=auto", *flags)["execution"].startswith(expected)


def test_what_a_run_refuses_is_refused():
    with pytest.raises(ValueError, match="'nothing'"):
        rows("--early_stop", "--early_stop_monitor=nothing", "--early_stop_mode=min")
