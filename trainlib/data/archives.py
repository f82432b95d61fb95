"""Readers of NumPy archives."""

from __future__ import annotations

import contextlib
import math
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainlib.data.limits import check_size
from trainlib.training.paths import printable, shown

Array = npt.NDArray[Any]
DAMAGE = (EOFError, OSError, zlib.error)
"""Exceptions that reading a damaged file can raise."""
_SUFFIX = ".npy"


def read_npz(path: Path) -> dict[str, Array]:
    """Read every array of a NumPy archive, without unpickling.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged or not an archive, contains Python objects, or is larger
            than `trainlib.data.limits` allows.
    """
    require_file(path)
    check_size(path, sum(member.file_size for member in _members(path).values()))
    with _archive(path) as archive:
        return {name: _array(archive, name, member) for name, member in _members(path).items()}


def names_in_npz(path: Path) -> list[str]:
    """Return the names of the arrays of a NumPy archive, without reading the arrays.

    Raises:
        FileNotFoundError, ValueError: as of `read_npz`.
    """
    return list(_members(path))


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by the names of their arrays."""
    members: dict[str, zipfile.ZipInfo] = {}
    with _archive(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(_SUFFIX)
            if name in members:
                raise ValueError(f"it holds {printable(name)} twice")
            members[name] = member
    return members


def _array(archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> Array:
    """Read an array, and check that its size is the one that its header declares.

    Raises:
        ValueError: the member is not an array, or its data have another size.
    """
    with archive.open(member) as stream:
        try:
            version = np.lib.format.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"format {version[0]}.{version[1]}")
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, _, dtype = read(stream)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            reason = printable(" ".join(str(error).split()))[:200]
            raise ValueError(f"{printable(name)} is no array: {reason}") from error
        declared, held = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
        if min(shape, default=0) < 0 or (declared != held and not dtype.hasobject):
            raise ValueError(
                f"{printable(name)} declares the shape {shape}, {declared:,} bytes, but has "
                f"{held:,}"
            )
    with archive.open(member) as stream:
        found: Array = np.lib.format.read_array(stream, allow_pickle=False)
        return found


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a NumPy archive; errors inside the context become those of `read_npz`."""
    require_file(path)
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not an archive")
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*DAMAGE, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:
        if "Object arrays" in str(error):
            reason = "it holds an object array, which is never unpickled"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{shown(path)} cannot be read as .npz ({reason}); write it with numpy.savez from "
            "arrays of numbers"
        ) from error


def require_file(path: Path) -> None:
    """Check that a path is that of a regular file; reading a pipe could block.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the path is a folder, a pipe or a device.
    """
    if not path.exists():
        raise FileNotFoundError(f"{shown(path)} does not exist; check the path")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{shown(path)} is not a regular file; give one")
