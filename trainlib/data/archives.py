"""Readers of NumPy archives."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainlib.training.paths import shown

Array = npt.NDArray[Any]
DAMAGE = (EOFError, OSError, zlib.error)
"""Errors that a damaged file raises while it is read."""


def read_npz(path: Path) -> dict[str, Array]:
    """Read every array of a NumPy archive; nothing is unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is not an archive, or holds Python objects.
    """
    with _open_npz(path) as archive:
        return {name: archive[name] for name in archive.files}


def names_in_npz(path: Path) -> list[str]:
    """Return the names of the arrays of a NumPy archive, which are not read.

    Raises:
        FileNotFoundError, ValueError: as of `read_npz`.
    """
    with _open_npz(path) as archive:
        return list(archive.files)


@contextlib.contextmanager
def _open_npz(path: Path) -> Iterator[Any]:
    """Open a NumPy archive; errors within the context are those of `read_npz`."""
    require_file(path)
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not an archive")
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except (*DAMAGE, zipfile.BadZipFile, ValueError, RuntimeError) as error:
        if "Object arrays" in str(error):
            reason = "it holds an object array, which is never unpickled"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{shown(path)} cannot be read as .npz ({reason}); write it with numpy.savez from "
            "arrays of numbers"
        ) from error


def require_file(path: Path) -> None:
    """Raise `FileNotFoundError` unless the file exists."""
    if not path.exists():
        raise FileNotFoundError(f"{shown(path)} does not exist; check the path")
