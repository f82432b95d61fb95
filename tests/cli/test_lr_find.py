"""`lr_find`: the curve, the suggestion and the folder; and bad input."""

from __future__ import annotations

import csv
import json
import math
import shlex

import numpy as np
import pytest
from helpers.experiments import experiment
from helpers.modules import hide_package

import trainlib as tl
from trainlib.experiment.model_building import build_models
from trainlib.experiment.objective_building import build_loss
from trainlib.experiment.task_building import build_task
from trainlib.tools.loss_curve import RangeTest
from trainlib.tools.range_test import lr_finder

QUICK = ("--hidden=8", "--execution=graph", "--max_steps=30", "--train_examples=300")


@pytest.fixture
def found(command, tmp_path):
    """`found("--optimizer=sgd")`: the ended command, its summary and its curve."""

    def run(*arguments):
        done = command("lr_find", *QUICK, "--run_dir=run", *arguments)
        assert (done.status, done.errors) == (0, "")
        folder = tmp_path / "run"
        with (folder / "lr_find.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        curve = {name: [float(row[name]) for row in rows] for name in rows[0]}
        return done, json.loads((folder / "summary.json").read_text()), curve

    return run


def test_the_folder_has_the_curve_its_picture_the_configuration_and_a_summary(found, tmp_path):
    pytest.importorskip("matplotlib")
    done, summary, curve = found("--optimizer=nadam", "--batch_size=16")
    folder = tmp_path / "run"
    files = {path.name for path in folder.iterdir()}
    assert files == {"config.json", "flags.txt", "lr_find.csv", "lr_find.png", "summary.json"}
    assert (folder / "lr_find.png").read_bytes().startswith(b"\x89PNG")
    assert "--optimizer=nadam" in (folder / "flags.txt").read_text().splitlines()
    assert set(summary) == {"suggestion", "steepest", "tenth_of_minimum", "steps", "stopped"}
    assert list(curve) == ["step", "learning_rate", "loss", "smoothed"]
    assert curve["step"] == list(range(summary["steps"]))
    ramp = 1e-7 * 1e8 ** (np.arange(summary["steps"]) / 30)
    np.testing.assert_allclose(curve["learning_rate"], ramp, rtol=1e-12)
    assert summary["suggestion"] in curve["learning_rate"]
    assert "digits: 270 training, 30 validation, 359 test examples; mlp: 610 param" in done.err
    assert f"suggestion: learning rate {summary['suggestion']:.2g} (" in done.out
    assert done.out.endswith("run folder: run\n")


def test_the_suggestion_suits_the_model(command, tmp_path):
    assert command("lr_find", "--run_dir=run", "--execution=graph").status == 0
    suggestion = json.loads((tmp_path / "run" / "summary.json").read_text())["suggestion"]
    assert 1e-3 < suggestion < 2e-2  # of adam for digits and mlp; from 0.03 on it learns less


def test_the_printed_command_has_the_given_flags_of_train(found):
    done, summary, _ = found(
        "--model=mlp", "--param_rules=.*/bias:weight_decay=0", "--nobatch_norm"
    )
    line = next(line for line in done.out.splitlines() if line.startswith("use it: "))
    name, *flags = shlex.split(line.removeprefix("use it: "))
    assert name == "train"
    assert set(flags) == {
        "--hidden=8",
        "--execution=graph",
        "--train_examples=300",
        "--model=mlp",
        "--param_rules=.*/bias:weight_decay=0",
        "--nobatch_norm",
        f"--learning_rate={summary['suggestion']:.2g}",
    }


def test_the_result_is_that_of_lr_finder(found):
    """On the same model, data and optimizer, clipped, penalized and with a window of two."""
    flags = (
        "--optimizer=sgd",
        "--momentum=0.5",
        "--clipnorm=1",
        "--regularizer=l2",
        "--l2=0.01",
        "--batch_size=16",
        "--seed=3",
        "--learning_rate=123",
    )
    ramp = {"start_lr": 1e-3, "end_lr": 5.0, "smoothing": 0.5, "diverge_factor": 2.5}
    _, summary, curve = found(
        *flags, "--gradient_accumulation_steps=2", *(f"--{name}={x}" for name, x in ramp.items())
    )
    config = experiment(*flags, "--hidden=8", "--train_examples=300")
    task = build_task(config)
    built = build_models(config, task)
    result = lr_finder(
        built.trained,
        build_loss(config, task.loss, built.from_logits),
        lambda rate: tl.chain(tl.clip_by_norm(1.0), tl.sgd(rate, momentum=0.5)),
        tuple(task.train),
        batch_size=32,
        regularizer=tl.l2(0.01),
        seed=3,
        execution="graph",
        range_test=RangeTest(max_steps=30, **ramp),
    )
    assert curve["loss"] == pytest.approx(list(result.losses), rel=1e-5)
    assert (summary["steps"], summary["stopped"]) == (len(result.losses), result.stopped)
    assert summary["suggestion"] == pytest.approx(result.suggestion)


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("lion", marks=pytest.mark.soak)])
def test_the_suggestion_of_other_optimizers_is_inside_the_range(optimizer, found):
    _, summary, curve = found(f"--optimizer={optimizer}", "--max_steps=60")
    assert curve["learning_rate"][0] < summary["suggestion"] < curve["learning_rate"][-1]


def test_without_matplotlib_only_the_picture_is_missing(found, tmp_path, monkeypatch):
    hide_package(monkeypatch, "matplotlib")
    done, summary, _ = found()
    assert "no lr_find.png: figures need matplotlib: pip install matplotlib\n" in done.err
    assert summary["suggestion"] > 0
    assert not (tmp_path / "run" / "lr_find.png").exists()


def test_progress_has_a_line_every_tenth_of_the_steps(found):
    done, summary, curve = found()
    lines = [line for line in done.err.splitlines() if line.startswith("step ")]
    assert len(lines) == math.ceil(summary["steps"] / 3)
    assert lines[1].startswith(f"step  3/30  learning_rate {curve['learning_rate'][3]:.2e}  loss ")


@pytest.mark.soak
def test_default_folders_are_named_after_the_test_and_differ(command, tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "20260101-000000")
    for _ in range(2):
        assert command("lr_find", *QUICK).status == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    stem = "lr_find-digits-mlp-adam-20260101-000000"
    assert names == [stem, f"{stem}-2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--start_lr=0",), "start_lr must be above 0, got 0.0"),
        (("--end_lr=1e-9",), "end_lr must be above 1e-07, got 1e-09"),
        (("--max_steps=5",), "max_steps must be at least 10, got 5"),
        (("--max_steps=ten",), "flag --max_steps=ten: 'ten' is not an integer"),
        (("--smoothing=1",), "smoothing must be at least 0 and below 1, got 1.0"),
        (("--diverge_factor=1",), "diverge_factor must be above 1, got 1.0"),
        (("--batch_size=0",), "batch_size must be at least 1, got 0"),
        (("--gradient_accumulation_steps=0",), "gradient_accumulation_steps must be at least 1"),
        (("--seed=-1",), "seed must be at least 0 and at most 4294967295, got -1"),
        (("--optimizer=adm",), "unknown optimizer 'adm': did you mean 'adam'?"),
        (("--clipnorm=1", "--clipvalue=1"), "give only one of --clipvalue, --clipnorm"),
        (("--start_lr=1e3", "--end_lr=1e4", "--optimizer=sgd"), "give a smaller --start_lr"),
        (("--run_dir=full",), "run_dir full: exists already"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, message, command, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    done = command("lr_find", *QUICK, *arguments)
    assert done.status == 2
    assert done.errors.count("\n") == 1
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
