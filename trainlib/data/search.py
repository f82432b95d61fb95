"""Where the files of a data set are looked for, and their download if they are nowhere.

The places, in this order: the folder given as `data_dir`, the folder $TRAINLIB_DATA names, the
cache of Keras ($KERAS_HOME/datasets, by default ~/.keras/datasets), and the folders in which
operating systems install data sets. A place that lacks a file of the data set is passed over.
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

SYSTEM_FOLDERS: tuple[Path, ...] = (Path("/usr/share/datasets"),)

# For each connection attempt and each wait for data, in seconds.
DOWNLOAD_TIMEOUT = 10.0

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
    """How the files of a data set are named.

    Attributes:
        folders: the names of a folder of its own.
        choices: the sets of files to look for, in order of preference; a file that is no
            .npz may also be compressed, with .gz after its name.
        shared: the choices whose file names other data sets use too. They are accepted only in
            a folder of the data set's own, so that no other data set is taken for it.
        cached: the files in Keras' cache, each with its SHA-256.
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
    """Find the files of a data set, downloading them through Keras if they are nowhere.

    Args:
        name: a key of `LAYOUTS`.
        data_dir: the folder to look into first; the search goes on if it lacks the data set.

    Returns:
        The four IDX files in the order training images, training labels, test images, test
        labels; or a single .npz or .csv file.

    Raises:
        FileNotFoundError: the files are nowhere and the download failed.
        ValueError: a file in Keras' cache is not the published one.
    """
    layout = LAYOUTS[name]
    given, system = list(_given_folders(data_dir)), list(SYSTEM_FOLDERS)
    found = _look_into(given, layout) or _look_into_cache(layout) or _look_into(system, layout)
    if found:
        return found
    failure = "it left no file in Keras' cache"
    try:
        download(name)
    except Exception as error:  # Keras raises Exception itself without a network.
        failure = " ".join(f"{type(error).__name__}: {error}".split())
    found = _look_into_cache(layout)
    if found:
        return found
    places = ", ".join(str(folder) for folder in (*given, keras_cache(), *system))
    wanted = " or ".join(" + ".join(choice) for choice in layout.choices)
    raise FileNotFoundError(
        f"{name} is not in {places}, and its download failed ({failure}); put {wanted} (ubyte and "
        f".csv files may be .gz) into a folder {layout.folders[0]!r} and give the folder around "
        "it as --data_dir or $TRAINLIB_DATA"
    )


def download(name: str) -> None:
    """Download a data set into Keras' cache; progress goes to standard error.

    Raises:
        Exception: whatever Keras and the layers below it raise, e.g. without a network.
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
    """Return the folder Keras keeps downloaded data sets in."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    return Path(home).expanduser() / "datasets"


def _given_folders(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        yield data_dir
    if os.environ.get("TRAINLIB_DATA"):
        yield Path(os.environ["TRAINLIB_DATA"]).expanduser()


def _look_into(folders: list[Path], layout: Layout) -> tuple[Path, ...]:
    for folder in folders:
        for own in layout.folders:
            found = _first_choice(folder / own, layout.choices)
            if found:
                return found
        own_folder = Path(os.path.abspath(folder)).name in layout.folders
        choices = tuple(c for c in layout.choices if own_folder or c not in layout.shared)
        found = _first_choice(folder, choices)
        if found:
            return found
    return ()


def _first_choice(folder: Path, choices: tuple[tuple[str, ...], ...]) -> tuple[Path, ...]:
    for choice in choices:
        found = [_plain_or_packed(folder / name) for name in choice]
        complete = tuple(path for path in found if path is not None)
        if len(complete) == len(choice):
            return complete
    return ()


def _plain_or_packed(path: Path) -> Path | None:
    if path.is_file():
        return path
    packed = path.with_name(path.name + ".gz")
    return packed if path.suffix != ".npz" and packed.is_file() else None


def _look_into_cache(layout: Layout) -> tuple[Path, ...]:
    paths = {keras_cache() / name: digest for name, digest in layout.cached.items()}
    if not all(path.is_file() for path in paths):
        return ()
    for path, digest in paths.items():
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != digest:
            raise ValueError(
                f"{path} has the SHA-256 {actual}, but the published file has {digest}; remove "
                "it and run again to download it anew"
            )
    return tuple(paths)
