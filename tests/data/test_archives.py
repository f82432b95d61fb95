"""The reader of .npz archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainlib.data.archives import read_npz


def test_an_archive_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.ones(2))
    assert read_npz(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


def test_invalid_archives_raise_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError, match="a.npz does not exist"):
        read_npz(path)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(ValueError, match="object array, which is never unpickled"):
        read_npz(path)
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=1000))
    content = path.read_bytes()
    damaged = (content[:-100], content[:500] + b"\0" * 100 + content[600:], b"", b"text")
    for number, broken in enumerate(damaged):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="a.npz cannot be read as .npz"):
            read_npz(path), number
    with path.open("wb") as stream:
        np.save(stream, np.ones(3))
    with pytest.raises(ValueError, match="it is not an archive"):
        read_npz(path)
