"""The files of a folder of images: its parts, its classes, and the images in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from trainlib.data.examples import TEST, TRAIN, VALIDATION
from trainlib.data.image_headers import IMAGE_SUFFIXES
from trainlib.training.paths import shown

_PARTS = {"train": TRAIN, "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION}
_PARTS["test"] = TEST


class ImageFolder(NamedTuple):
    """The image files of a part of the data, by class.

    Attributes:
        path: the folder of the part.
        files: image files by the name of the class's subfolder.
        ignored: files that are not images.
    """

    path: Path
    files: Mapping[str, Sequence[str]]
    ignored: Sequence[str]


def has_part_folders(path: Path) -> bool:
    """Return whether a folder has part folders, as for `part_folders`.

    Raises:
        ValueError: there is no training part, or a part has two folders.
    """
    return part_folders(path)[TRAIN] != path


def image_files(data: str) -> list[str]:
    """Return the image files that an argument names.

    Args:
        data: a folder, whose images and those in its subfolders are taken in alphabetical order; or
            one or several paths of images, comma-separated.

    Raises:
        ValueError: the folder has no images.
        FileNotFoundError: a file does not exist.
    """
    path = Path(os.path.expanduser(data))
    if path.is_dir():
        files, _ = _images_in(path)
        if not files:
            raise ValueError(f"{shown(path)} has no images ({', '.join(IMAGE_SUFFIXES)})")
        return files
    files = [os.path.expanduser(name) for name in ([data] if path.exists() else data.split(","))]
    for name in files:
        if not Path(name).is_file():
            raise FileNotFoundError(f"{shown(name)} does not exist; check the path")
    return files


def is_images(data: str) -> bool:
    """Return whether text is an argument of `image_files`: a folder, or paths of images."""
    last = data.rpartition(",")[2].lower()
    return last.endswith(IMAGE_SUFFIXES) or Path(os.path.expanduser(data)).is_dir()


def part_folders(path: Path) -> dict[str, Path]:
    """Return the folders of the parts, train first; without part folders, the folder as train.

    Raises:
        ValueError: there is no training part, or a part has two folders.
    """
    found: dict[str, Path] = {}
    folders = _subfolders(path)
    for folder in folders:
        part = _PARTS.get(folder.name)
        if part in found:
            raise ValueError(f"{shown(path)} has two folders for {part}; keep one of them")
        if part is not None:
            found[part] = folder
    if not found or not all(_subfolders(folder) for folder in found.values()):
        return {TRAIN: path}  # classes may be named so too
    others = [folder.name for folder in folders if folder not in found.values()]
    if TRAIN not in found or others:
        what = f"{others[0]!r} beside" if others else f"no folder {TRAIN!r} beside"
        raise ValueError(
            f"{shown(path)} has {what} {', '.join(x.name for x in found.values())}; "
            "give it train, validation and test, or one subfolder for each class"
        )
    return {TRAIN: found[TRAIN], **found}


def _subfolders(path: Path) -> list[Path]:
    """Return the subfolders of a folder, without hidden ones, in alphabetical order."""
    return sorted(x for x in path.iterdir() if x.is_dir() and not _is_hidden(x.name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def files_by_class(path: Path) -> ImageFolder:
    """Return the files of a folder by class.

    Raises:
        ValueError: there are no subfolders, there are images beside them, or a subfolder has no
            images.
    """
    folders = _subfolders(path)
    loose = [x.name for x in path.iterdir() if _is_image(x.name) and x.is_file()]
    if not folders or loose:
        have = f"images beside its subfolders, such as {min(loose)!r}" if loose else "no subfolders"
        raise ValueError(f"{shown(path)} has {have}; put the images of each class into a subfolder")
    files, ignored = {}, []
    for folder in folders:
        files[folder.name], other = _images_in(folder)
        ignored += other
        if not files[folder.name]:
            raise ValueError(
                f"{shown(folder)} has no images ({', '.join(IMAGE_SUFFIXES)}); each subfolder is a "
                "class, so add some or remove it"
            )
    return ImageFolder(path, files, ignored)


def _images_in(folder: Path) -> tuple[list[str], list[str]]:
    """Return the images in a folder and its subfolders, in alphabetical order, and other files."""
    images: list[str] = []
    others: list[str] = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for name in sorted(names):
            if not _is_hidden(name):
                (images if _is_image(name) else others).append(os.path.join(root, name))
    return images, others


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not _is_hidden(name)


def ignored_note(parts: Iterable[ImageFolder]) -> list[str]:
    """Return a note on ignored files, as a list; [] if there are none."""
    ignored = [name for part in parts for name in part.ignored]
    if not ignored:
        return []
    return [f"{len(ignored)} files ignored that are no images, such as {shown(ignored[0])}"]
