"""The files of a checkpoint: tensors by name, written, read back and compared."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.training.paths import shown

FILE = "values"
_PREFIX, _SUFFIX = "values/", "/.ATTRIBUTES/VARIABLE_VALUE"


class DamagedError(ValueError):
    """The files of a checkpoint are damaged; reading them again does not help."""


def write_verified(folder: Path, values: Mapping[str, Tensor]) -> None:
    """Write tensors to a new folder, read them back and compare the bits.

    Raises:
        OSError: they cannot be written, or are read back with other bits.
    """
    folder.mkdir()
    with tf.device("/device:CPU:0"):
        held = {name: tf.Variable(x, trainable=False) for name, x in values.items()}
        tf.train.Checkpoint(values=held).write(str(folder / FILE))
    for file in folder.iterdir():
        sync(file)
    written = read_tensors(folder)
    for name, variable in held.items():
        if written[name].tobytes() != np.asarray(variable.numpy(), written[name].dtype).tobytes():
            raise OSError(f"{name} was read back with other bits than it was written with")


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """Return the tensors in a folder by name; TensorFlow compares their checksums.

    Raises:
        DamagedError: the files are not those of a checkpoint, or one is missing or damaged.
        OSError: the system does not let them be read now.
        MemoryError: there is too little memory for them.
    """
    for file in folder.iterdir():
        file.open("rb").close()  # raises the system's error, which TensorFlow's do not name
    try:
        reader = tf.train.load_checkpoint(str(folder / FILE))
        values = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    except MemoryError:
        raise
    except Exception as error:  # of many types, such as RuntimeError and IndexError
        kind = OSError if isinstance(error, _system_errors()) else DamagedError
        raise kind(one_line(error)) from error
    return {name: np.asarray(x) for key, x in values.items() if (name := _name(key))}


def _system_errors() -> tuple[type[Exception], ...]:
    """Return the errors of TensorFlow that do not mean that files are damaged."""
    errors = tf.errors
    return errors.PermissionDeniedError, errors.ResourceExhaustedError, errors.UnavailableError


def _name(key: str) -> str | None:
    """Return the name of a value from its key; None for what `tf.train.Checkpoint` adds."""
    if not (key.startswith(_PREFIX) and key.endswith(_SUFFIX)):
        return None
    escaped = key[len(_PREFIX) : -len(_SUFFIX)]
    return re.sub(r"\.[.S]", lambda m: "/" if m[0] == ".S" else ".", escaped)


def dtype_and_shape(x: Any) -> str:
    """Return a text such as `float32 [3, 4]`."""
    return f"{tf.dtypes.as_dtype(x.dtype).name} {list(x.shape)}"


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_os_error(error: Exception, path: Path) -> OSError:
    """Return an error of writing as one line that names the file."""
    if isinstance(error, OSError) and error.strerror:
        return OSError(error.errno, error.strerror, str(path))
    return OSError(f"{shown(path)}: {one_line(error)}")


def one_line(error: Exception) -> str:
    """Return the message of an error on one line."""
    return " ".join(str(error).split())[:300]
