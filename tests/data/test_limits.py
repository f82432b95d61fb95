"""Compressed files that hold more than they may."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest

from trainlib.data import limits
from trainlib.data.archives import read_npz
from trainlib.data.csv_text import open_text
from trainlib.data.idx import read_idx

ZEROS = 10**6


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let no file hold more than 1000 bytes but by its ratio."""
    monkeypatch.setattr(limits, "SMALL", 1000)
    monkeypatch.delenv(limits.VARIABLE, raising=False)


@pytest.fixture
def packed(tmp_path):
    """A gzip file of zeros, a thousandfold of its size."""
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes(ZEROS)))
    return path


def test_a_gzip_bomb_is_refused_by_what_it_says_of_its_size(packed):
    with pytest.raises(ValueError, match=r"images.gz has 1,0\d\d bytes but holds more than 10\d"):
        read_idx(packed, 3)


def test_a_gzip_bomb_that_lies_about_its_size_is_refused_while_it_is_read(packed):
    packed.write_bytes(packed.read_bytes() + gzip.compress(b"1"))  # the size of the last member
    with pytest.raises(ValueError, match="holds more than"):
        open_text(packed).read()


def test_an_archive_is_refused_before_an_array_is_allocated(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(ZEROS))
    with pytest.raises(ValueError, match=r"a.npz has .* bytes but holds more than"):
        read_npz(tmp_path / "a.npz")


def test_the_variable_sets_another_limit(tmp_path, packed, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(ZEROS))
    monkeypatch.setenv(limits.VARIABLE, "0.01")
    assert read_npz(tmp_path / "a.npz")["x"].shape == (ZEROS,)
    assert len(open_text(packed).read()) == ZEROS
    monkeypatch.setenv(limits.VARIABLE, "none")
    with pytest.raises(ValueError, match="TRAINLIB_MAX_DATA_GIB must be a number above 0"):
        open_text(packed)


@pytest.mark.parametrize("shape", [(10**6, 10**9), (4, -2), (2**70,)])
def test_an_array_that_declares_another_size_is_refused_before_it_is_allocated(tmp_path, shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", head + bytes(64))
    (tmp_path / "a.npz").write_bytes(file.getvalue())
    with pytest.raises(ValueError, match=r"x declares the shape .* bytes, but has 64"):
        read_npz(tmp_path / "a.npz")
