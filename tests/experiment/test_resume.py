"""The configuration of a resumed run."""

from __future__ import annotations

import dataclasses

import pytest
from helpers.experiments import experiment

import trainlib as tl
from trainlib.experiment import run_folder
from trainlib.experiment.resume import resumed_config, resumed_ensemble


@pytest.fixture
def run(tmp_path):
    """`run("--epochs=3")`: the folder of a run that was not finished."""

    def make(*flags, finished_epochs=0):
        folder = run_folder.create(experiment("--nonorms", *flags), tmp_path / "run")
        if finished_epochs:
            run_folder.write_json(folder / "summary.json", {"epochs": finished_epochs})
        return folder

    return make


def test_without_changes_it_is_that_of_the_run(run):
    folder = run("--epochs=3", "--epsilon=1e-3")
    assert resumed_config(folder, {}) == run_folder.read_config(folder)


def test_settings_that_change_no_number_may_change(run):
    folder = run("--epochs=3")
    changes = {"epochs": 5, "keep_checkpoints": 1, "report": False, "callbacks": ["a:b"]}
    expected = dataclasses.replace(
        run_folder.read_config(folder),
        epochs=5,
        checkpoints=tl.CheckpointConfig(keep=1),
        report=False,
        callbacks=("a:b",),
    )
    assert resumed_config(folder, changes) == expected


def test_settings_of_the_run_may_be_repeated_in_either_spelling(run):
    folder = run("--epsilon=1e-3")
    for name in ("epsilon", "optimizer_epsilon"):
        assert resumed_config(folder, {name: 1e-3}) == run_folder.read_config(folder)


def test_settings_of_an_ensemble_may_be_repeated_in_either_spelling(run):
    folder = run("--ensemble=2", "--epsilon=1e-3")
    for name in ("epsilon", "optimizer_epsilon"):
        assert resumed_ensemble(folder, {name: 1e-3}) == run_folder.read_config(folder)
        with pytest.raises(ValueError, match=f"--{name}=0.5 (contradicts the run|set the same)"):
            resumed_ensemble(folder, {name: 0.5})


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (["--loss=mse"], {"loss": "mse"}),
        (["--metrics=acc,f1"], {"metrics": ["acc", "f1"]}),
        (["--metrics=acc,f1"], {"metrics": ["accuracy", "f1_score"]}),
        (["--model=eight", "--replace_head"], {"model": "eight", "replace_head": True}),
        (["--model=eight"], {"model": "eight/model.keras"}),
        (["--dataset=own.csv"], {"dataset": "own.csv"}),
        (["--learning_rate=0.02"], {"learning_rate": "auto"}),
        (["--execution=graph"], {"execution": "auto"}),
        (["--color_mode=rgb"], {"color_mode": "auto"}),
    ],
)
def test_the_flags_of_the_first_command_may_be_repeated(flags, changes, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eight").mkdir()
    (tmp_path / "eight" / "model.keras").touch()
    folder = run(*flags)
    assert resumed_config(folder, changes) == run_folder.read_config(folder)


def test_the_flags_of_an_ensemble_may_be_repeated(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = run("--ensemble=2", "--ensemble_configs=a.txt,b.txt", "--loss=mse")
    changes = {"ensemble": 2, "ensemble_configs": ["a.txt", "b.txt"], "loss": "mse"}
    assert resumed_ensemble(folder, changes) == run_folder.read_config(folder)
    for files in (["b.txt", "a.txt"], ["a.txt"]):
        with pytest.raises(ValueError, match="^--ensemble_configs=.* contradicts the run"):
            resumed_ensemble(folder, {"ensemble_configs": files})


def test_tensorboard_may_begin_and_end_with_a_resumed_run(run):
    folder = run("--tensorboard", "--tensorboard_steps=3", "--nonorms")
    config = resumed_config(folder, {"tensorboard": False})
    assert config.tensorboard is None
    run_folder.write_config(folder, config)
    again = resumed_config(folder, {"tensorboard": True, "tensorboard_steps": 2})
    assert again.tensorboard == tl.TensorBoardConfig(steps=2) and again.norms is False


@pytest.mark.parametrize(
    ("flags", "changes", "message"),
    [
        (
            [],
            {"optimizer": "sgd"},
            "--optimizer=sgd contradicts .*, made with --optimizer=adam: le",
        ),
        (
            [],
            {"clipnorm": 1.0},
            "--clipnorm=1.0 contradicts the run in .*, made with no --clipnorm",
        ),
        (
            ["--loss=mse"],
            {"loss": "mae"},
            "--loss=mae contradicts the run in .*, made with --loss=me",
        ),
        (["--metrics=acc"], {"metrics": ["acc", "f1"]}, "--metrics=acc,f1 contradicts the run in "),
        (
            [],
            {"learning_rate": "auto"},
            "--learning_rate=auto contradicts the run in .*, made with no",
        ),
        ([], {"loss": "mean_square"}, "unknown loss 'mean_square'"),
        ([], {"norms": True}, "--norms contradicts the run in .*, made with --nonorms"),
        (
            [],
            {"epsilon": 1.0},
            "--optimizer_epsilon=1.0 contradicts the run in .*, made with no --",
        ),
        (["--nonfinite=skip"], {"nonfinite": "none"}, "--nonfinite=none contradicts the run in "),
        (
            ["--schedule=cosine_decay"],
            {"epochs": 20},
            "--epochs=20 would change the schedule cosin",
        ),
        ([], {"epoch": 20}, "unknown flag --epoch: did you mean --epochs"),
    ],
)
def test_a_setting_that_contradicts_the_run_is_refused(flags, changes, message, run):
    with pytest.raises(ValueError, match=f"^{message}"):
        resumed_config(run(*flags), changes)


def test_epochs_cannot_change_where_an_average_starts_after_a_fraction_of_the_run(run):
    folder = run("--weight_average=swa", "--epochs=8")
    with pytest.raises(ValueError, match="^--epochs=20 would change which states --weight_averag"):
        resumed_config(folder, {"epochs": 20})
    assert resumed_config(folder, {"epochs": 8}) == run_folder.read_config(folder)


@pytest.mark.parametrize(
    "flags", [("--weight_average=swa", "--swa_start=0"), ("--weight_average=ema",)]
)
def test_epochs_may_change_where_an_average_does_not_depend_on_their_number(flags, run):
    assert resumed_config(run(*flags), {"epochs": 20}).epochs == 20


@pytest.mark.parametrize(
    ("reason", "named"), [("accuracy reached", r" \(accuracy reached\)"), ("", "")]
)
def test_a_run_that_a_callback_ended_cannot_be_extended(reason, named, run):
    folder = run("--epochs=9", finished_epochs=3)
    run_folder.write_json(folder / "summary.json", {"epochs": 3, "stop": reason})
    for epochs in (9, 20):
        with pytest.raises(ValueError, match=f"was ended by a callback{named}, so that it cannot"):
            resumed_config(folder, {"epochs": epochs})


def test_epochs_cannot_change_where_a_custom_schedule_takes_the_length_of_the_run(
    run, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "schedules_of_runs.py").write_text(
        "def linear(learning_rate, total_steps):\n"
        "    return lambda step: learning_rate * (1 - step / total_steps)\n"
    )
    folder = run("--schedule=schedules_of_runs:linear")
    with pytest.raises(ValueError, match="^--epochs=20 would change the schedule schedules_of_run"):
        resumed_config(folder, {"epochs": 20})
    assert resumed_config(folder, {"epochs": 10}) == run_folder.read_config(folder)


def test_epochs_may_change_where_a_custom_schedule_is_a_function_of_the_step(
    run, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "schedules_of_steps.py").write_text(
        "def inverse(step):\n    return 1 / (1 + step)\n"
    )
    folder = run("--schedule=schedules_of_steps:inverse")
    assert resumed_config(folder, {"epochs": 20}).epochs == 20


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("tune.json", "a search, not of a run: resume it with tune --resume=run$"),
        ("compare.json", "a comparison, not of a run: resume it with compare --resume=run$"),
        ("folds.json", "a cross-validation, not of a run: resume it with train --resume=run$"),
    ],
)
def test_the_folder_of_several_runs_is_refused(file, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = run()
    (folder / file).touch()
    for resumed in (resumed_config, resumed_ensemble):
        with pytest.raises(ValueError, match=f"^run is the folder of {message}"):
            resumed(folder, {})


def test_policies_for_steps_that_are_not_finite_may_change_where_steps_are_tested(run):
    config = resumed_config(run("--nonfinite=stop"), {"nonfinite": "skip"})
    assert config.nonfinite == "skip"


def test_a_finished_run_needs_more_epochs_unless_a_step_is_replayed(run):
    folder = run("--epochs=3", finished_epochs=3)
    with pytest.raises(ValueError, match="is finished, with 3 epochs: give more --epochs"):
        resumed_config(folder, {})
    assert resumed_config(folder, {"epochs": 4}).epochs == 4
    assert resumed_config(folder, {}, to_replay=True).epochs == 3


def test_a_run_made_without_safe_mode_asks_for_it_again(tmp_path):
    config = dataclasses.replace(experiment("--epochs=3"), safe_mode=False)
    run_folder.create(config, tmp_path / "a")
    with pytest.raises(ValueError, match="give --safe_mode=false again if you trust them"):
        resumed_config(tmp_path / "a", {})
    assert not resumed_config(tmp_path / "a", {"safe_mode": False}).safe_mode
    assert resumed_config(tmp_path / "a", {"safe_mode": True}).safe_mode
