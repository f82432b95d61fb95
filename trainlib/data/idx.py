"""Reader of the IDX format of MNIST and Fashion-MNIST."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from trainlib.data.archives import Array, require_file
from trainlib.data.limits import open_packed
from trainlib.training.paths import shown

_UINT8 = 0x08


def read_idx(path: Path, rank: int) -> Array:
    """Read an IDX file of unsigned bytes.

    Args:
        path: the file; gzip-compressed if its name ends in .gz.
        rank: number of dimensions that the file must declare.

    Returns:
        A read-only uint8 array of the declared shape.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be decompressed, has another format, or is shorter or longer
            than it declares.
    """
    content = _read_bytes(path)
    header = 4 + 4 * rank
    if len(content) < header:
        raise ValueError(
            f"{shown(path)} has {len(content)} bytes, fewer than an IDX header of {header}; "
            "fetch the file again"
        )
    magic, *shape = struct.unpack(f">{1 + rank}I", content[:header])
    expected = _UINT8 << 8 | rank
    if magic != expected:
        raise ValueError(
            f"{shown(path)} starts with {magic:#010x}, not {expected:#010x} (IDX, unsigned bytes, "
            f"{rank} dimensions); check that the file is the one that its name says"
        )
    if len(content) - header != math.prod(shape):
        raise ValueError(
            f"{shown(path)} declares the shape {tuple(shape)} but has {len(content) - header} "
            f"bytes of data instead of {math.prod(shape)}; fetch the file again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    """Return the content of a file, decompressed if its name ends in .gz."""
    require_file(path)
    try:
        if path.suffix == ".gz":
            with open_packed(path) as stream:
                return stream.read()
        return path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{shown(path)} cannot be read ({error}); fetch the file again") from error
