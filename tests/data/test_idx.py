"""The IDX reader, and the files that it refuses."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from trainlib.data.idx import read_idx

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = struct.pack(">4I", 0x803, 2, 3, 4) + IMAGES.tobytes()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["plain", "packed.gz"])
def test_plain_and_compressed_files_are_read(tmp_path: Path, name: str) -> None:
    content = gzip.compress(CONTENT) if name.endswith(".gz") else CONTENT
    images = read_idx(write(tmp_path / name, content), 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images, IMAGES)


def test_a_missing_file_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-file does not exist"):
        read_idx(tmp_path / "no-file", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes, fewer than an IDX header of 16"),
        (CONTENT[:9], "9 bytes, fewer"),
        (CONTENT[:-1], r"shape \(2, 3, 4\) but has 23 bytes of data instead of 24"),
        (CONTENT + b"\0", "has 25 bytes"),
        (struct.pack(">4I", 0x801, 2, 3, 4) + CONTENT[16:], "starts with 0x00000801"),
        (struct.pack(">4I", 0x803, *[2**32 - 1] * 3), "has 0 bytes"),
    ],
)
def test_invalid_content_raises_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_idx(write(tmp_path / "images", content), 3)


PACKED = gzip.compress(CONTENT, mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        PACKED[:-10],
        CONTENT,
        PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:],
        PACKED[:12] + b"\xff\xff\xff" + PACKED[15:],
    ],
    ids=["cut short", "not packed", "wrong checksum", "scrambled"],
)
def test_a_damaged_gzip_raises_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match="images.gz cannot be read .*; fetch the file again"):
        read_idx(write(tmp_path / "images.gz", content), 3)
