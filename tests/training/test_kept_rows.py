"""Rows that are computed once and kept in a temporary file."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.lazy_rows import LazyRows

from trainlib.training.kept_rows import KeptRows

X = np.random.default_rng(0).normal(size=(40, 3, 2)).astype(np.float32)


@pytest.fixture
def kept(tmp_path: Path) -> KeptRows:
    return KeptRows(LazyRows(X), tmp_path / "new")


def test_each_row_is_computed_once(kept: KeptRows) -> None:
    for rows in ([3, 1, 7], [1, 2, 3, 39], [7, 7, 39, 1]):
        np.testing.assert_array_equal(kept.read(np.array(rows)), X[rows])
    assert kept.source.read_ids == [3, 1, 7, 2, 39]


def test_selected_rows_share_the_file(kept: KeptRows) -> None:
    np.testing.assert_array_equal(kept[10:20], X[10:20])
    some = kept[5:30:5]
    assert some.shape == (5, 3, 2)
    np.testing.assert_array_equal(some, X[5:30:5])
    np.testing.assert_array_equal(some[[4, 1]], X[[25, 10]])
    assert kept.source.read_ids == [*range(10, 20), 5, 20, 25]


def test_the_fingerprint_is_that_of_the_rows(kept: KeptRows) -> None:
    assert kept[5:9].fingerprint == LazyRows(X, np.arange(5, 9)).fingerprint


def test_rows_that_the_disk_does_not_take_are_computed_again(
    kept: KeptRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, written = kept._file._file, []

    class Full:
        """A file on a disk that is full after two rows."""

        def __getattr__(self, name: str) -> object:
            return getattr(file, name)

        def write(self, content: memoryview) -> int:
            if len(written) == 2:
                raise OSError(28, "No space left on device")
            written.append(content.nbytes)
            return file.write(content)

    monkeypatch.setattr(kept._file, "_file", Full())
    for _ in range(2):
        np.testing.assert_array_equal(kept[:4], X[:4])
    assert kept.source.read_ids == [0, 1, 2, 3, 2, 3]


def test_a_copy_for_another_process_has_a_file_of_its_own(kept: KeptRows) -> None:
    np.testing.assert_array_equal(kept, X)
    copy = pickle.loads(pickle.dumps(kept[3:6]))
    np.testing.assert_array_equal(copy, X[3:6])
    assert kept.source.read_ids == [*range(40)] and copy.source.read_ids == [3, 4, 5]
