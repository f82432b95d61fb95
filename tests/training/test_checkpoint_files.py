"""The files of a checkpoint: tensors by name, read back to the bit, and errors of one line."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainlib.training.checkpoint_files import (
    FILE,
    DamagedError,
    as_os_error,
    dtype_and_shape,
    one_line,
    read_tensors,
    write_verified,
)

VALUES = {
    "state/a.b/c": tf.constant([1, 2], tf.int64),
    "state/a/b.c": tf.constant([[0.1, -0.0], [np.nan, np.inf]]),
    "half": tf.constant([0.1, 3.0], tf.bfloat16),
    "text": tf.constant("line\nline"),
    "empty": tf.zeros([0, 3]),
}


def test_tensors_of_any_name_and_dtype_are_read_back_to_the_bit(tmp_path):
    write_verified(tmp_path / "c", VALUES)
    found = read_tensors(tmp_path / "c")
    assert set(found) == set(VALUES)
    for name, x in VALUES.items():
        expected = np.asarray(x.numpy(), found[name].dtype)
        assert dtype_and_shape(found[name]) == dtype_and_shape(x)
        assert found[name].tobytes() == expected.tobytes()
    assert found["text"].item() == b"line\nline"


def test_a_folder_that_exists_is_not_written_to(tmp_path):
    with pytest.raises(FileExistsError):
        write_verified(tmp_path, VALUES)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_checkpoint_is_an_error_of_one_line(tmp_path):
    for content in (None, b"", b"no checkpoint" * 20):
        if content is not None:
            (tmp_path / f"{FILE}.index").write_bytes(content)
        with pytest.raises(DamagedError) as error:
            read_tensors(tmp_path)
        assert str(error.value) and "\n" not in str(error.value)


def test_a_dtype_and_a_shape_are_shown_together():
    assert dtype_and_shape(tf.zeros([3, 4], tf.bfloat16)) == "bfloat16 [3, 4]"
    assert dtype_and_shape(np.int64(3)) == "int64 []"


def test_an_error_of_writing_names_the_file():
    full = OSError(errno.ENOSPC, "No space left on device")
    found = as_os_error(full, Path("c/values"))
    assert (found.errno, found.filename) == (errno.ENOSPC, "c/values")
    other = as_os_error(RuntimeError("two\n  lines"), Path("c/values"))
    assert isinstance(other, OSError) and str(other) == "c/values: two lines"


def test_a_long_message_is_cut():
    assert one_line(ValueError("a\n\tb " * 400)) == ("a b " * 75)


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    def load(path):
        raise MemoryError

    write_verified(tmp_path / "c", VALUES)
    monkeypatch.setattr(tf.train, "load_checkpoint", load)
    with pytest.raises(MemoryError):
        read_tensors(tmp_path / "c")
