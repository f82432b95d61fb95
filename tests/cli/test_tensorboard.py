"""`train --tensorboard`: where events are written, what they hold, and invalid flags."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def points(folder, tag):
    return [(e.step, tf.make_ndarray(e.tensor_proto)) for e in read(folder).Tensors(tag)]


def history(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(quick_runs):
    """Return the folder of a run of three epochs of 6 batches, with everything switched on."""
    return quick_runs(
        "--tensorboard",
        "--tensorboard_steps=4",
        "--histogram_epochs=2",
        "--train_examples=107",
        "--layer_statistics",
        "--validation_split=0.1",
        "--batch_size=16",
        "--epochs=3",
    )


def test_the_history_is_written_into_the_run_folder(run):
    lines = history(run)
    names = {"loss", "accuracy", "learning_rate", "gradient_norm", "update_norm"}
    for name in names:
        expected = [(6 * (i + 1), np.float32(line[name])) for i, line in enumerate(lines)]
        assert points(run / "tensorboard" / "train", f"epoch/{name}") == expected
    expected = [(6 * (i + 1), np.float32(line["val_loss"])) for i, line in enumerate(lines)]
    assert points(run / "tensorboard" / "validation", "epoch/loss") == expected
    steps = [step for step, _ in points(run / "tensorboard" / "train", "step/loss")]
    assert steps == [4, 8, 12, 16]


def test_histograms_pictures_graph_and_settings_are_written(run):
    train = read(run / "tensorboard" / "train")
    assert [e.step for e in train.Tensors("weights/hidden_1/kernel")] == [12]
    assert [e.step for e in train.Tensors("gradients/outputs/bias")] == [12]
    assert [e.step for e in train.Tensors("first_layer/hidden_1/kernel")] == [12]
    assert [e.step for e in train.Tensors("gradient_std/hidden_1/kernel")] == [12]
    assert [e.step for e in train.Tensors("activation_mean/hidden_1")] == [12]
    assert 0 <= float(points(run / "tensorboard" / "train", "dead/activation_1")[0][1]) <= 1
    assert train.Tensors("inputs") and train.Graph().node
    assert (run / "tensorboard" / "train" / "projector_config.pbtxt").is_file()
    assert len((run / "tensorboard" / "train" / "metadata.tsv").read_text().splitlines()) == 11
    root = read(run / "tensorboard")
    content = root.SummaryMetadata(hparams.SESSION_START_INFO_TAG).plugin_data.content
    flags = hparams.parse_session_start_info_plugin_data(content).hparams
    assert flags["learning_rate"].number_value == 0.01
    assert flags["hidden"].string_value == "8"
    assert flags["optimizer"].string_value == "adam"
    assert not {"run_dir", "tensorboard", "tensorboard_steps", "momentum"} & set(flags)
    assert "final/val_loss" in root.Tags()["tensors"]


@pytest.mark.soak
def test_a_shared_folder_has_a_folder_of_the_name_of_the_run(quick, tmp_path):
    flags = ("--tensorboard", "--tensorboard_dir=all", "--histogram_epochs=0")
    done = quick(*flags, "--run_dir=runs/a")
    assert (done.status, done.errors) == (0, "")
    assert "\ntensorboard --logdir=all\n" in done.err
    assert points(tmp_path / "all" / "a" / "train", "epoch/loss")
    assert not (tmp_path / "runs" / "a" / "tensorboard").exists()


def test_by_default_nothing_is_written(quick, tmp_path):
    done = quick("--run_dir=a")
    assert "tensorboard" not in done.err
    assert not (tmp_path / "a" / "tensorboard").exists()
    assert "gradient_norm" not in history(tmp_path / "a")[0]
    assert "--nonorms\n" in (tmp_path / "a" / "flags.txt").read_text()


@pytest.mark.parametrize(
    ("flags", "there"),
    [
        (["--norms"], True),
        pytest.param(["--tensorboard"], True, marks=pytest.mark.soak),
        (["--tensorboard", "--nonorms"], False),
    ],
)
def test_norms_are_reported_with_tensorboard_or_by_their_own_flag(flags, there, quick, tmp_path):
    """The command that shows TensorBoard is printed."""
    off = ["--histogram_epochs=0"] if "--tensorboard" in flags else []
    done = quick("--run_dir=a", *flags, *off)
    assert (done.status, done.errors) == (0, "")
    shown = "\ntensorboard --logdir=a/tensorboard\n" in done.err
    assert shown == ("--tensorboard" in flags)
    assert ("gradient_norm" in history(tmp_path / "a")[0]) == there
    assert ("--norms\n" in (tmp_path / "a" / "flags.txt").read_text()) == there


@pytest.mark.soak
def test_a_resumed_run_continues_the_same_curves(run, command, tmp_path):
    flags = (
        "--hidden=8",
        "--learning_rate=0.01",
        "--execution=graph",
        "--train_examples=107",
        "--batch_size=16",
        "--epochs=3",
        "--noreport",
    )
    begun = ("--tensorboard", "--tensorboard_steps=4", "--stop_after=8", "--run_dir=a")
    assert command("train", *flags, *begun).status == 75
    assert command("train", "--resume=a").status == 0
    for name in ("epoch/loss", "epoch/gradient_norm", "step/loss"):
        expected = points(run / "tensorboard" / "train", name)
        assert points(tmp_path / "a" / "tensorboard" / "train", name) == expected


@pytest.mark.soak
def test_tensorboard_may_be_switched_on_when_a_run_is_resumed(quick_runs, command):
    folder = quick_runs()
    done = command("train", f"--resume={folder}", "--epochs=2", "--tensorboard")
    assert (done.status, done.errors) == (0, "")
    lines = history(folder)
    assert "gradient_norm" not in lines[1]
    expected = [(2 * (i + 1), np.float32(line["loss"])) for i, line in enumerate(lines)]
    assert points(folder / "tensorboard" / "train", "epoch/loss") == expected
    done = command("train", f"--resume={folder}", "--epochs=3", "--norms")
    assert done.status == 2
    assert "--norms contradicts the run in" in done.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tensorboard_dir=x"], "--tensorboard_dir needs --tensorboard"),
        (["--tensorboard_steps=5"], "--tensorboard_steps needs --tensorboard"),
        (["--histogram_epochs=5"], "--histogram_epochs needs --tensorboard"),
        (
            ["--tensorboard", "--tensorboard_steps=0"],
            "--tensorboard_steps must be at least 1, got 0",
        ),
        (
            ["--tensorboard", "--histogram_epochs=-1"],
            "--histogram_epochs must be at least 0, got -1",
        ),
    ],
)
def test_invalid_flags_are_refused(flags, message, quick, tmp_path):
    done = quick("--run_dir=a", *flags)
    assert (done.status, done.err) == (2, f"train: {message}\n")
    assert not (tmp_path / "a").exists()


def test_a_missing_package_gets_one_line_that_says_what_to_install(quick, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else found(name)
    )
    done = quick("--tensorboard")
    assert done.status == 2
    assert done.err.count("\n") == 1 and "pip install tensorboard" in done.err
