"""What a run writes into its folder is read back, and existing files are left alone."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import tensorflow as tf
from helpers.experiments import experiment

from trainlib.experiment import run_folder


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "digits-mlp-adam"),
        (("--dataset=own.v2.csv.gz",), "own.v2-mlp-adam"),
        (("--dataset=a/own.npz", "--model=b/net.keras", "--optimizer=sgd"), "own-net-sgd"),
        (("--model=package.module:function",), "digits-package.module.function-adam"),
    ],
)
def test_the_default_folder_is_named_after_the_experiment_and_the_time(arguments, name):
    path = run_folder.default_path(experiment(*arguments))
    assert path.parent.name == "runs"
    assert re.fullmatch(re.escape(name) + r"-\d{8}-\d{6}", path.name)


def test_a_new_folder_holds_the_configuration_as_json_and_as_flags(tmp_path):
    config = experiment(
        "--hidden=8,4",
        "--batch_norm",
        "--optimizer=sgd",
        "--nonesterov",
        "--regularizer=l1",
        "--l1=1e-9",
    )
    path = run_folder.create(config, Path("a/b"))
    assert path.resolve() == tmp_path / "a" / "b"
    lines = (path / "flags.txt").read_text().splitlines()
    assert {"--hidden=8,4", "--batch_norm", "--nonesterov", "--l1=1e-09", "--epochs=10"} <= {*lines}
    assert all(line.startswith("--") for line in lines)
    assert not any(line.startswith(("--run_dir", "--target", "--clipnorm")) for line in lines)
    assert json.loads((path / "config.json").read_text())["epochs"] == 10
    assert run_folder.read_config(path) == config


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "a").mkdir()
    assert (run_folder.create(experiment(), Path("a")) / "config.json").is_file()


def test_existing_files_are_refused_and_left_as_they_are(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("a", "file"):
        with pytest.raises(ValueError, match=f"^run_dir {name}: exists already; choose another"):
            run_folder.create(experiment(), Path(name))
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine", "mine"]


def test_runs_that_begin_in_one_second_get_different_folders(monkeypatch):
    monkeypatch.setattr(run_folder.time, "strftime", lambda text: "20260101-120000")
    names = [run_folder.create(experiment()).name for _ in range(3)]
    first = "digits-mlp-adam-20260101-120000"
    assert names == [first, f"{first}-2", f"{first}-3"]


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="Not a directory"):
        run_folder.create(experiment(), Path("file/a"))


@pytest.mark.parametrize(
    ("read", "name", "content", "message"),
    [
        ("config", "config.json", None, "^a: not a run, because it has no config.json$"),
        ("config", "config.json", '{"epoch": 3}', "^a/config.json: unknown setting of .* 'epochs'"),
        (
            "config",
            "config.json",
            '{"epochs": "many"}',
            "^a/config.json: epochs must be an int",
        ),
        ("config", "config.json", "[]", "^a/config.json: configuration must be a JSON object"),
        ("config", "config.json", "{", "^a/config.json: Expecting"),
        ("summary", "summary.json", None, "^a: the run is not finished, because it has no"),
        ("summary", "summary.json", "{", "^a/summary.json: Expecting"),
    ],
)
def test_a_missing_or_damaged_file_is_named(read, name, content, message, tmp_path):
    (tmp_path / "a").mkdir()
    if content is not None:
        (tmp_path / "a" / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        getattr(run_folder, f"read_{read}")(Path("a"))


def test_a_summary_is_read_as_it_was_written(tmp_path):
    summary = {"test": {"loss": 0.25, "accuracy": 0.875}, "feature_names": ["größe"]}
    run_folder.write_json(tmp_path / "summary.json", summary)
    assert run_folder.read_summary(tmp_path) == summary
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_the_hash_covers_the_bytes_in_the_order_of_the_names():
    w, b = tf.constant([[1.5, -2.0]]), tf.constant([0.0])
    expected = hashlib.sha256(b.numpy().tobytes() + w.numpy().tobytes()).hexdigest()
    assert run_folder.params_sha256({"w": w, "b": b}) == expected
    assert run_folder.params_sha256({"b": b, "w": w}) == expected
    assert run_folder.params_sha256({"b": -b, "w": w}) != expected


def test_a_folder_is_locked_once_and_free_again_afterwards(tmp_path):
    with run_folder.locked(tmp_path):
        with pytest.raises(ValueError, match="another process is running this run"):
            with run_folder.locked(tmp_path):
                pass
    with run_folder.locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("existed", [False, True])
def test_a_run_that_is_refused_before_its_first_epoch_leaves_no_files(existed, tmp_path):
    path = tmp_path / "runs" / "a"
    kept = path if existed else tmp_path
    for error in (ValueError("refused"), FloatingPointError("a step is not finite")):
        run_folder.create(experiment(), path)
        with pytest.raises(type(error)), run_folder.removed_if_refused(path, kept):
            raise error
        removed = isinstance(error, ValueError)
        assert path.exists() == (existed or not removed)
        assert path.parent.exists() == path.exists()
        assert not path.exists() or any(path.iterdir()) != removed
    (path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(OSError), run_folder.removed_if_refused(path, kept):
        raise OSError("the disk is full")
    assert (path / "metrics.jsonl").exists()


@pytest.mark.parametrize("made", [None, "metrics.jsonl", "checkpoints/epoch_0004_batch_000000"])
def test_a_resumed_run_keeps_its_new_configuration_once_it_has_progressed(made, tmp_path):
    path = run_folder.create(experiment("--epochs=3"), tmp_path / "a")
    (path / "checkpoints" / "epoch_0003_batch_000000").mkdir(parents=True)
    with pytest.raises(ValueError), run_folder.restored_if_refused(path):
        run_folder.write_config(path, experiment("--epochs=9"))
        if made == "metrics.jsonl":
            (path / made).write_text("{}\n")
        elif made:
            (path / made).mkdir()
        raise ValueError("a monitor is not found")
    assert run_folder.read_config(path).epochs == (3 if made is None else 9)
    assert f"--epochs={3 if made is None else 9}\n" in (path / "flags.txt").read_text()


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "checkpoints", "checkpoints/a"])
def test_a_link_out_of_a_run_folder_is_refused(name, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    path = run_folder.create(experiment(), tmp_path / "run")
    assert run_folder.read_config(path)
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(outside)
    with pytest.raises(ValueError, match=f"{name}: is a link out of the folder of the run"):
        run_folder.read_config(path)


def test_a_link_inside_of_a_run_folder_is_followed(tmp_path):
    path = run_folder.create(experiment(), tmp_path / "run")
    (path / "config.json").rename(path / "other.json")
    (path / "config.json").symlink_to("other.json")
    assert run_folder.read_config(path) == experiment()


def test_what_a_killed_process_has_left_is_removed_with_the_lock(tmp_path):
    for name in (".model.123.keras", ".hidden", "model.keras", ".a.b"):
        (tmp_path / name).touch()
    with run_folder.locked(tmp_path):
        assert sorted(p.name for p in tmp_path.iterdir()) == [".a.b", ".hidden", "model.keras"]
