"""Checkpoints: written atomically, damaged ones set aside, few of them kept."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training import checkpoint_files
from trainlib.training import checkpoints as module
from trainlib.training.checkpoints import TrainingPosition, flatten_with_paths

VALUES = {
    "state/params/dense/kernel": tf.constant([[1.5, -0.0], [np.nan, np.inf]]),
    "state/params/a.b/c": tf.constant([1, 2], tf.int64),
    "state/half": tf.constant([0.1, 3.0], tf.bfloat16),
    "state/step": tf.constant(7, tf.int64),
    "callbacks/EarlyStopping/stop": tf.constant(True),
}
METADATA = {"history": [{"loss": 0.1}, {"loss": float("nan")}], "first_epoch": 2}


def save(checkpoints, *positions, best=()):
    for position in positions:
        checkpoints.save(TrainingPosition(*position), VALUES, METADATA, best=position in best)
    checkpoints.wait()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_saved_values_are_read_back_to_the_bit(tmp_path):
    save(tl.Checkpoints(tmp_path / "c", metadata={"flags": "--epochs=3\n"}), (2, 40))
    found = tl.Checkpoints(tmp_path / "c").newest()
    assert found.position == (2, 40)
    assert set(found.values) == set(VALUES)
    for name, x in VALUES.items():
        assert found.values[name].dtype == x.dtype
        assert found.values[name].tobytes() == x.numpy().tobytes()
    assert found.metadata["flags"] == "--epochs=3\n"
    assert found.metadata["history"][0] == {"loss": 0.1}
    assert np.isnan(found.metadata["history"][1]["loss"])


def test_the_newest_is_the_latest_in_the_run(tmp_path):
    checkpoints = tl.Checkpoints(tmp_path, keep=9)
    save(checkpoints, (1, 900), (2, 0), (10, 5), (9, 1000000))
    assert checkpoints.newest().position == (10, 5)
    assert checkpoints.positions() == [(1, 900), (2, 0), (9, 1000000), (10, 5)]


def test_the_newest_and_the_best_are_kept(tmp_path):
    checkpoints = tl.Checkpoints(tmp_path, keep=2)
    save(checkpoints, (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), best=[(1, 0), (2, 0)])
    assert checkpoints.positions() == [(2, 0), (4, 0), (5, 0)]
    # Another process finds the best one too.
    save(tl.Checkpoints(tmp_path, keep=1), (6, 0), (7, 0))
    assert checkpoints.positions() == [(2, 0), (7, 0)]
    save(tl.Checkpoints(tmp_path, keep=1), (8, 0), best=[(8, 0)])
    assert checkpoints.positions() == [(8, 0)]


def test_a_folder_without_checkpoints_has_no_newest(tmp_path):
    assert tl.Checkpoints(tmp_path / "nowhere").newest() is None
    assert tl.Checkpoints(tmp_path).newest() is None


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def damages(folder):
    """Ways to damage a checkpoint, by name."""
    data, index = (folder / f"values.{x}" for x in ("data-00000-of-00001", "index"))
    half = data.stat().st_size // 2
    return {
        "cut": lambda: os.truncate(data, half),
        "empty": lambda: os.truncate(data, 0),
        "index cut": lambda: os.truncate(index, index.stat().st_size // 2),
        "index gone": index.unlink,
        "data gone": data.unlink,
        "a bit": lambda: flip(data, random.Random(0).randrange(half)),
        "nothing in it": lambda: [path.unlink() for path in folder.iterdir()],
    }


KINDS = ["cut", "empty", "index cut", "index gone", "data gone", "a bit", "nothing in it"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint_is_renamed_and_the_one_before_is_read(kind, tmp_path):
    save(tl.Checkpoints(tmp_path), (1, 10), (1, 20))
    damages(tmp_path / "epoch_0001_batch_000020")[kind]()
    lines = []
    checkpoints = tl.Checkpoints(tmp_path, log=lines.append)
    assert checkpoints.newest().position == (1, 10)
    (line,) = lines
    assert line.startswith(
        "checkpoint epoch_0001_batch_000020 is damaged, renamed to "
        "damaged-epoch_0001_batch_000020: "
    )
    assert names(tmp_path) == ["damaged-epoch_0001_batch_000020", "epoch_0001_batch_000010"]
    save(checkpoints, (1, 20))
    assert checkpoints.newest().position == (1, 20)


def test_a_flipped_bit_is_noticed(tmp_path):
    """A flipped bit is noticed, or does not change what is read."""
    save(tl.Checkpoints(tmp_path / "c"), (1, 10))
    folder = tmp_path / "c" / "epoch_0001_batch_000010"
    generator = random.Random(1)
    seen = 0
    for path in folder.iterdir():
        whole = path.read_bytes()
        for place in generator.sample(range(len(whole)), 40):
            flip(path, place)
            try:
                found = tl.Checkpoints(tmp_path / "c").load(TrainingPosition(1, 10))
            except (OSError, ValueError, KeyError):
                seen += 1
            else:
                for name, x in VALUES.items():
                    assert found.values[name].tobytes() == x.numpy().tobytes()
                assert found.metadata["first_epoch"] == 2
            path.write_bytes(whole)
    assert seen > 40


def test_it_is_an_error_if_all_checkpoints_are_damaged_at_each_attempt(tmp_path):
    save(tl.Checkpoints(tmp_path), (1, 10))
    damages(tmp_path / "epoch_0001_batch_000010")["cut"]()
    for _ in range(2):  # the second one finds it renamed
        with pytest.raises(ValueError, match="all checkpoints are damaged.*begin a new one"):
            tl.Checkpoints(tmp_path, log=lambda line: None).newest()


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(24, "Too many")]
)
def test_a_checkpoint_that_cannot_be_read_now_is_not_set_aside(error, monkeypatch, tmp_path):
    save(tl.Checkpoints(tmp_path), (1, 10))
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path.name == "values.index":
            raise error
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        with pytest.raises(OSError, match=error.strerror):
            tl.Checkpoints(tmp_path).newest()
    assert tl.Checkpoints(tmp_path).newest().position == (1, 10)


def test_what_a_killed_process_left_is_removed(tmp_path):
    save(tl.Checkpoints(tmp_path), (1, 10))
    left = tmp_path / ".writing-epoch_0001_batch_000020-1234"
    left.mkdir()
    (left / "values.data-00000-of-00001").write_bytes(b"half")
    assert tl.Checkpoints(tmp_path).newest().position == (1, 10)
    assert names(tmp_path) == ["epoch_0001_batch_000010"]


def test_a_full_disk_is_an_error_that_names_the_file_and_keeps_the_last(tmp_path, monkeypatch):
    checkpoints = tl.Checkpoints(tmp_path)
    save(checkpoints, (1, 10))

    def full(folder, values):
        folder.mkdir()
        (folder / "values.index").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_verified", full)
        checkpoints.save(TrainingPosition(1, 20), VALUES, METADATA)
        with pytest.raises(OSError, match="No space left on device.*epoch_0001_batch_000020"):
            checkpoints.wait()
    assert names(tmp_path) == ["epoch_0001_batch_000010"]
    assert checkpoints.newest().position == (1, 10)
    checkpoints.wait()  # the error is raised once


def test_a_value_that_is_read_back_differently_is_an_error(tmp_path, monkeypatch):
    checkpoints, read = tl.Checkpoints(tmp_path), module.read_tensors

    def other(folder):
        return read(folder) | {"state/step": np.int64(8)}

    monkeypatch.setattr(checkpoint_files, "read_tensors", other)
    checkpoints.save(TrainingPosition(1, 20), VALUES, METADATA)
    with pytest.raises(OSError, match="state/step was read back with other bits"):
        checkpoints.wait()
    assert names(tmp_path) == []


def test_structures_are_named_by_path_and_restored(tmp_path):
    tree = {"b": (tf.constant(1.0), {"c": tf.constant([2, 3])}), "a": tf.constant(True)}
    values = flatten_with_paths("state", tree)
    assert list(values) == ["state/a", "state/b/0", "state/b/1/c"]
    checkpoints = tl.Checkpoints(tmp_path)
    checkpoints.save(
        TrainingPosition(1, 1), values | flatten_with_paths("alone", tf.constant(5)), {}
    )
    found = checkpoints.newest()
    tf.nest.map_structure(np.testing.assert_array_equal, found.tree("state", tree), tree)
    assert found.tree("alone", tf.constant(0)) == 5


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": tf.zeros([2]), "v": tf.zeros([2])}, "lacks state/v"),
        ({}, "holds state/w"),
        ({"w": tf.zeros([3])}, r"holds state/w as float32 \[2\], not as float32 \[3\]"),
        ({"w": tf.zeros([2], tf.int64)}, r"holds state/w as float32 \[2\], not as int64 \[2\]"),
    ],
)
def test_a_different_structure_is_refused_by_name(like, message, tmp_path):
    checkpoints = tl.Checkpoints(tmp_path)
    checkpoints.save(TrainingPosition(1, 1), flatten_with_paths("state", {"w": tf.zeros([2])}), {})
    with pytest.raises(ValueError, match=f"^checkpoint epoch_0001_batch_000001 {message}"):
        checkpoints.newest().tree("state", like)


@pytest.mark.parametrize("keep", [0, -1, 1.5, True])
def test_a_wrong_keep_is_refused(keep):
    with pytest.raises((ValueError, TypeError), match="^keep must be"):
        tl.Checkpoints("c", keep)
