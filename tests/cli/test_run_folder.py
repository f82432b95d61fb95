"""What a run leaves in its folder can be read back, and nothing that is there gets lost."""

from __future__ import annotations

import hashlib
import re

import pytest
import tensorflow as tf

from trainlib.cli import run_folder
from trainlib.cli.flags import define_train


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
def test_the_default_folder_says_what_is_run_and_when(arguments, name, parse):
    path = run_folder.default_path(parse(*arguments))
    assert path.parent.name == "runs"
    assert re.fullmatch(re.escape(name) + r"-\d{8}-\d{6}", path.name)


def test_flags_are_recorded_but_not_those_of_this_run_alone(tmp_path, parse):
    arguments = ("--hidden=8,4", "--batch_norm", "--optimizer=sgd", "--nonesterov", "--l1=1e-9")
    values = parse(*arguments, "--run_dir=a/b")
    path = run_folder.create(values)
    assert path.resolve() == tmp_path / "a" / "b"
    lines = (path / "flags.txt").read_text().splitlines()
    assert {"--hidden=8,4", "--batch_norm", "--nonesterov", "--l1=1e-09", "--epochs=10"} <= {*lines}
    assert all(line.startswith("--") for line in lines)
    assert not any(line.startswith(("--run_dir", "--target", "--clipnorm")) for line in lines)
    recorded = run_folder.recorded_flags(path, define_train)
    assert recorded.run_dir is None
    assert all(recorded[name].value == values[name].value for name in values if name != "run_dir")


def test_an_empty_folder_is_taken(tmp_path, parse):
    (tmp_path / "a").mkdir()
    assert (run_folder.create(parse("--run_dir=a")) / "flags.txt").is_file()


def test_what_is_there_is_refused_and_left_as_it_is(tmp_path, parse):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("a", "file"):
        with pytest.raises(ValueError, match=f"^run_dir {name}: exists already; choose another"):
            run_folder.create(parse(f"--run_dir={name}"))
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine", "mine"]


def test_two_runs_of_one_second_get_folders_of_their_own(parse, monkeypatch):
    monkeypatch.setattr(run_folder.time, "strftime", lambda text: "20260101-120000")
    names = [run_folder.create(parse()).name for _ in range(3)]
    first = "digits-mlp-adam-20260101-120000"
    assert names == [first, f"{first}-2", f"{first}-3"]


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path, parse):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="Not a directory"):
        run_folder.create(parse("--run_dir=file/a"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("flags.txt", None, "^run_dir a: no run, for it has no flags.txt$"),
        ("flags.txt", "--epoch=3", "^a/flags.txt: Unknown command line flag 'epoch'"),
        ("flags.txt", "--epochs=many", "^a/flags.txt: .*'many' is not an integer"),
        ("summary.json", None, "^run_dir a: the run is not finished, for it has no summary.json$"),
        ("summary.json", "{", "^a/summary.json: Expecting"),
    ],
)
def test_a_folder_without_a_whole_run_is_named(name, content, message, tmp_path):
    (tmp_path / "a").mkdir()
    if content is not None:
        (tmp_path / "a" / name).write_text(content)
    path = run_folder.Path("a")
    with pytest.raises(ValueError, match=message):
        if name == "flags.txt":
            run_folder.recorded_flags(path, define_train)
        else:
            run_folder.read_summary(path)


def test_a_summary_is_read_as_it_was_written(tmp_path):
    summary = {"test": {"loss": 0.25, "accuracy": 0.875}, "feature_names": ["größe"]}
    run_folder.write_json(tmp_path / "summary.json", summary)
    assert run_folder.read_summary(tmp_path) == summary
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_the_hash_is_over_the_bytes_in_the_order_of_the_names():
    w, b = tf.constant([[1.5, -2.0]]), tf.constant([0.0])
    expected = hashlib.sha256(b.numpy().tobytes() + w.numpy().tobytes()).hexdigest()
    assert run_folder.params_sha256({"w": w, "b": b}) == expected
    assert run_folder.params_sha256({"b": b, "w": w}) == expected
    assert run_folder.params_sha256({"b": -b, "w": w}) != expected
