"""`run_experiment` does in Python what `train` does at a shell, and prints nothing."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest
from helpers.commands import run_command
from helpers.experiments import QUICK, RUN_FILES, experiment

import trainlib as tl
from trainlib.experiment import run, run_folder
from trainlib.experiment.partial_run import StopAfter
from trainlib.experiment.result import NonFiniteRunError, RunInterrupted, Session
from trainlib.experiment.resume import resumed_config
from trainlib.training import assembly
from trainlib.training.autotune import Autotuner, Choice

FLAGS = (
    *QUICK,
    "--dropout=0.25",
    "--optimizer=sgd",
    "--momentum=0.75",
    "--validation_split=0.25",
    "--epochs=2",
    "--batch_size=16",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: its configuration, a copy made before it, its result, and what it logged."""
    config, lines = experiment(*FLAGS), []
    before = copy.deepcopy(config)
    folder = tmp_path_factory.mktemp("runs") / "python"
    result = tl.run_experiment(config, folder, session=Session(log=lines.append))
    return config, before, result, lines


def test_python_and_a_shell_give_the_same_run(finished, tmp_path):
    _, _, result, _ = finished
    done = run_command(tmp_path, "train", *FLAGS, "--run_dir=shell")
    assert (done.status, done.errors) == (0, "")
    shell = tmp_path / "shell"
    assert run_folder.read_summary(shell)["params_sha256"] == result.params_sha256
    for name in ("flags.txt", "config.json"):
        assert (shell / name).read_text() == (result.folder / name).read_text()
    histories = [run_folder.read_history(folder) for folder in (shell, result.folder)]
    for epoch in (*histories[0], *histories[1]):
        del epoch["seconds"]
    assert histories[0] == histories[1]


def test_the_result_holds_what_the_folder_holds(finished):
    _, _, result, _ = finished
    summary = run_folder.read_summary(result.folder)
    for name in ("train", "validation", "test", "steps", "execution", "params_sha256"):
        assert getattr(result, name) == summary[name], name
    assert result.is_finished and result.stop is None
    assert [epoch["epoch"] for epoch in result.history] == [1, 2]
    assert result.model.count_params() == 64 * 8 + 8 + 8 * 10 + 10
    assert run_folder.read_config(result.folder) == result.config


def test_the_configuration_is_not_changed_and_the_result_has_what_was_settled(finished):
    config, before, result, _ = finished
    assert config == before
    assert config.norms is None and result.config.norms is False
    assert result.config.optimizer == config.optimizer


def test_progress_is_logged_and_nothing_is_printed(finished, tmp_path, capsys):
    _, _, result, lines = finished
    assert lines[0] == (
        "digits: 48 training, 16 validation, 359 test examples; mlp: 610 parameters; sgd"
    )
    assert lines[1].startswith("test: loss ")
    assert lines[2] == f"run folder: {result.folder}"
    tl.run_experiment(experiment(*QUICK), tmp_path / "run")
    assert capsys.readouterr() == ("", "")


def test_a_stopped_run_says_that_it_can_be_resumed_and_is_resumed_to_the_same_bits(
    finished, tmp_path
):
    _, _, expected, _ = finished
    folder = tmp_path / "run"
    stopped = tl.run_experiment(experiment(*FLAGS), folder, callbacks=[StopAfter(4)])
    assert not stopped.is_finished and stopped.stop.resumable
    assert stopped.test is None and stopped.steps == 4
    assert not (folder / "summary.json").exists()
    resumed = tl.run_experiment(resumed_config(folder, {}), folder, resume=True)
    assert resumed.is_finished and resumed.params_sha256 == expected.params_sha256
    assert resumed.test == expected.test


def interrupt(*unused):
    raise KeyboardInterrupt


@pytest.mark.parametrize("at", ["_fit", "save_model", "_write_report"])
def test_an_interrupted_run_is_finished_only_if_this_process_wrote_its_summary(
    at, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    tl.run_experiment(experiment(*QUICK), folder)
    monkeypatch.setattr(run_folder if at == "save_model" else run, at, interrupt)
    config = dataclasses.replace(resumed_config(folder, {"epochs": 2}), report=True)
    with pytest.raises(RunInterrupted) as error:
        tl.run_experiment(config, folder, resume=True)
    assert (error.value.folder, error.value.is_finished) == (folder, at == "_write_report")


def test_a_run_that_diverges_names_its_folder_and_its_batch(tmp_path):
    flags = ("--optimizer=sgd", "--learning_rate=1e30", "--nonfinite=stop", "--batch_size=8")
    with pytest.raises(NonFiniteRunError) as error:
        tl.run_experiment(experiment(*QUICK, *flags), tmp_path / "run")
    assert error.value.folder == tmp_path / "run" and error.value.batch >= 1


def test_an_occupied_folder_is_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already; choose another"):
        tl.run_experiment(experiment("--dataset=nowhere.npz"), tmp_path)


def test_a_folder_is_needed_to_resume():
    with pytest.raises(ValueError, match="^resume needs run_dir, the folder of the run$"):
        tl.run_experiment(experiment(*QUICK), resume=True)


def test_workers_other_than_the_chief_write_nothing(tmp_path):
    folder = tmp_path / "run"
    result = tl.run_experiment(experiment(*QUICK), folder, session=Session(is_chief=False))
    assert result.folder is None and result.test["accuracy"] >= 0
    assert not (folder / "summary.json").exists() and not (folder / "config.json").exists()


def test_the_files_of_a_run_are_those_of_the_contract(finished):
    _, _, result, _ = finished
    assert {path.name for path in result.folder.iterdir()} == RUN_FILES
    assert json.loads((result.folder / "config.json").read_text())["dataset"] == "digits"


def choosing(monkeypatch, execution, is_kept=True):
    """Make the autotuner choose an execution, as if it had measured."""
    choice = Choice(execution, {"graph": 1.0, "xla": 2.0}, "measured", is_kept)
    monkeypatch.setattr(Autotuner, "choose", lambda self, default, work, measures: choice)
    monkeypatch.setattr(assembly, "steps_to_compile", lambda model: 0)


@pytest.mark.soak
def test_what_the_autotuner_chose_is_said_and_recorded_and_repeated_from_the_record(
    tmp_path, monkeypatch
):
    """Two times of one command may choose differently; the record of each repeats its bits."""
    config = experiment(*(flag for flag in FLAGS if not flag.startswith("--execution")))
    runs, lines = {}, []
    for execution in ("graph", "xla"):
        choosing(monkeypatch, execution)
        folder = tmp_path / execution
        runs[execution] = tl.run_experiment(config, folder, session=Session(log=lines.append))
        assert runs[execution].execution == execution
        assert f"--execution={execution}\n" in (folder / "flags.txt").read_text()
    said = [line for line in lines if line.startswith("execution: ")]
    assert said == [f"execution: {name} (steps/s: graph 1, xla 2)" for name in runs]
    choosing(monkeypatch, "graph")
    recorded = run_folder.read_config(tmp_path / "xla")
    again = tl.run_experiment(recorded, tmp_path / "again")
    assert again.execution == "xla" and again.params_sha256 == runs["xla"].params_sha256
    part = tl.run_experiment(recorded, tmp_path / "part", callbacks=[StopAfter(4)])
    resumed = tl.run_experiment(resumed_config(part.folder, {}), part.folder, resume=True)
    assert resumed.params_sha256 == runs["xla"].params_sha256


def test_a_choice_that_cannot_be_kept_is_said_with_the_flag_that_repeats_it(tmp_path, monkeypatch):
    choosing(monkeypatch, "graph", is_kept=False)
    lines = []
    flags = [flag for flag in QUICK if not flag.startswith("--execution")]
    tl.run_experiment(experiment(*flags), tmp_path / "run", session=Session(log=lines.append))
    (said,) = [line for line in lines if line.startswith("execution: ")]
    assert said.endswith(
        "may choose another and round differently: --execution=graph repeats this one"
    )
