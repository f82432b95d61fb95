"""The search for the files of a data set, and their download if they are not found.

The search order is: the folder `data_dir`, the folder $TRAINLIB_DATA, Keras's cache
($KERAS_HOME/datasets, by default ~/.keras/datasets), and the folders in which operating systems
install data sets. A folder that lacks one of the files is skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainlib.training.paths import shown

SYSTEM_FOLDERS: tuple[Path, ...] = (Path("/usr/share/datasets"),)
DOWNLOAD_TIMEOUT = 10.0
"""Seconds for each connection attempt and each wait for data."""

_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_FASHION_DIGESTS = (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)


class Layout(NamedTuple):
    """Names of the files of a data set.

    Attributes:
        folders: possible names of a folder with this data set only.
        choices: the sets of files to look for, in order of preference. All but .npz files may be
            compressed, with .gz after their names.
        shared: choices whose file names other data sets also have. They are accepted only in one of
            `folders`.
        cached: files in Keras's cache, each with its SHA-256.
    """

    folders: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    shared: tuple[tuple[str, ...], ...]
    cached: dict[str, str]


LAYOUTS: dict[str, Layout] = {
    "mnist": Layout(
        ("mnist",),
        (_IDX_FILES, ("mnist.npz",)),
        (_IDX_FILES,),
        {"mnist.npz": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"},
    ),
    "fashion_mnist": Layout(
        ("fashion-mnist", "fashion_mnist"),
        (_IDX_FILES,),
        (_IDX_FILES,),
        {
            f"fashion-mnist/{name}.gz": digest
            for name, digest in zip(_IDX_FILES, _FASHION_DIGESTS, strict=True)
        },
    ),
    "california_housing": Layout(
        ("california_housing", "california-housing"),
        (
            ("cal_housing.csv",),
            ("california_housing.csv",),
            ("housing.csv",),
            ("california_housing.npz",),
        ),
        (),
        {
            "california_housing.npz": (
                "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"
            )
        },
    ),
}


def find_files(name: str, data_dir: Path | None) -> tuple[Path, ...]:
    """Return the files of a data set; download them through Keras if they are not found.

    Args:
        name: a key of `LAYOUTS`.
        data_dir: the folder to search first, or None.

    Returns:
        The four IDX files in the order training images, training labels, test images, test
        labels; or a single .npz or .csv file.

    Raises:
        FileNotFoundError: the files are not found and the download failed.
        ValueError: a file in Keras's cache is not the published one.
    """
    layout = LAYOUTS[name]
    given, system = list(_given_folders(data_dir)), list(SYSTEM_FOLDERS)
    found = _look_into(given, layout) or _look_into_cache(layout) or _look_into(system, layout)
    if found:
        return found
    failure = "it left no file in Keras's cache"
    try:
        download(name)
    except Exception as error:  # Keras raises Exception itself without a network.
        failure = " ".join(f"{type(error).__name__}: {error}".split())
    found = _look_into_cache(layout)
    if found:
        return found
    places = ", ".join(shown(folder) for folder in (*given, keras_cache(), *system))
    wanted = " or ".join(" + ".join(choice) for choice in layout.choices)
    raise FileNotFoundError(
        f"{name} is not in {places}, and its download failed ({failure}); put {wanted} (ubyte and "
        f".csv files may be .gz) into a folder {layout.folders[0]!r} and give the folder around "
        "it as data_dir or $TRAINLIB_DATA"
    )


def download(name: str) -> None:
    """Download a data set into Keras's cache; progress goes to standard error.

    Raises:
        Exception: what Keras and its dependencies raise, for example without a network.
    """
    import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            getattr(keras.datasets, name).load_data()
    finally:
        socket.setdefaulttimeout(before)


def keras_cache() -> Path:
    """Return the folder of the data sets that Keras downloads."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "datasets"


def _given_folders(data_dir: Path | None) -> Iterator[Path]:
    """Yield the folders that the user specifies."""
    if data_dir is not None:
        yield data_dir
    if os.environ.get("TRAINLIB_DATA"):
        yield Path(os.environ["TRAINLIB_DATA"]).expanduser()


def _look_into(folders: list[Path], layout: Layout) -> tuple[Path, ...]:
    """Return the files of the first folder that has them all, or ()."""
    for folder in folders:
        for name in layout.folders:
            found = _first_choice(folder / name, layout.choices)
            if found:
                return found
        is_exclusive = Path(os.path.abspath(folder)).name in layout.folders
        choices = tuple(c for c in layout.choices if is_exclusive or c not in layout.shared)
        found = _first_choice(folder, choices)
        if found:
            return found
    return ()


def _first_choice(folder: Path, choices: tuple[tuple[str, ...], ...]) -> tuple[Path, ...]:
    """Return the files of the first choice that is complete in a folder, or ()."""
    for choice in choices:
        found = [_plain_or_packed(folder / name) for name in choice]
        complete = tuple(path for path in found if path is not None)
        if len(complete) == len(choice):
            return complete
    return ()


def _plain_or_packed(path: Path) -> Path | None:
    """Return the file, or its .gz, or None if neither exists."""
    if path.is_file():
        return path
    packed = path.with_name(path.name + ".gz")
    return packed if path.suffix != ".npz" and packed.is_file() else None


def _look_into_cache(layout: Layout) -> tuple[Path, ...]:
    """Return the files in Keras's cache, with their digests checked, or ()."""
    paths = {keras_cache() / name: digest for name, digest in layout.cached.items()}
    if not all(path.is_file() for path in paths):
        return ()
    for path, digest in paths.items():
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != digest:
            raise ValueError(
                f"{shown(path)} has the SHA-256 {actual}, but the published file has {digest}; "
                "remove it and run again to download it"
            )
    return tuple(paths)
