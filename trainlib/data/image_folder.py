"""Folders of images, one subfolder for each class, as data sets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.examples import (
    TEST,
    TRAIN,
    VALIDATION,
    Dataset,
    Examples,
    split_test_indices,
)
from trainlib.data.image_files import (
    AUTO,
    CHANNELS,
    GRAYSCALE,
    RGB,
    ImageFiles,
    ImageOptions,
    decoded_once,
    storage_notes,
)
from trainlib.data.image_headers import IMAGE_SUFFIXES, UPRIGHT, ImageHeader, read_image_header
from trainlib.data.labels import first_classes
from trainlib.training.paths import printable, shown

LARGEST_SIDE = 128
"""Height and width up to which images of several sizes are kept by "auto"."""

_PARTS = {"train": TRAIN, "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION}
_PARTS["test"] = TEST
_ORDER_SEED = 0


class ImageFolder(NamedTuple):
    """Files of a part of the data, by class.

    Attributes:
        path: the folder.
        files: the files of each class, by the name of its subfolder.
        ignored: files that are no images.
    """

    path: Path
    files: Mapping[str, Sequence[str]]
    ignored: Sequence[str]


def load_image_folder(path: Path, options: ImageOptions, stratify: bool = True) -> Dataset:
    """Load a folder of images as a data set.

    Args:
        path: a folder with a subfolder for each class, or with the subfolders train and, if there
            are any, validation (or val, valid) and test, each of which has one for each class.
        options: size, colors and classes.
        stratify: whether a test part that is split off has its share of each class.

    Returns:
        A data set of uint8 images [N, height, width, channels] in a fixed random order; without a
        test folder, a fixed 20 % is the test part.

    Raises:
        ValueError: the folder has another form, or an image is damaged.
    """
    parts = {name: _listed(folder) for name, folder in _part_folders(path).items()}
    names = options.class_names or tuple(parts[TRAIN].files)
    if len(names) < 2:
        raise ValueError(
            f"{shown(parts[TRAIN].path)} has {len(names)} subfolders with images; classes need at "
            "least 2, one subfolder for each"
        )
    labelled = {name: _labelled(part, names) for name, part in parts.items()}
    headers = {name: _headers(files) for name, (files, _) in labelled.items()}
    size, mode, notes = _resolved(headers[TRAIN], options)
    notes += [f"{len(names)} classes: {first_classes(names)}"]
    notes += _ignored_note(parts.values())
    y = {name: labels for name, (_, labels) in labelled.items()}
    x = {
        name: ImageFiles(files, size, CHANNELS[mode], _orientations(headers[name]))
        for name, (files, _) in labelled.items()
    }
    if TEST not in x:
        total = len(y[TRAIN])
        kept, held_out = split_test_indices(total, shown(path), y[TRAIN] if stratify else None)
        x[TEST], y[TEST] = x[TRAIN].select(held_out), y[TRAIN][held_out]
        x[TRAIN], y[TRAIN] = x[TRAIN].select(kept), y[TRAIN][kept]
    examples = {name: Examples(decoded_once(x[name]), y[name]) for name in x}
    notes += storage_notes({name: part.x for name, part in examples.items()})
    return Dataset(
        path.name,
        examples[TRAIN],
        examples[TEST],
        len(names),
        255.0,
        class_names=tuple(names),
        notes=tuple(notes),
        validation=examples.get(VALIDATION),
        stratified=stratify and TEST not in parts,
        image_options=ImageOptions(f"{size[0]}x{size[1]}", mode, tuple(names)),
    )


def has_part_folders(path: Path) -> bool:
    """Return whether a folder has subfolders train and test, and not one for each class."""
    return {"train", "test"} <= {folder.name for folder in _subfolders(path)}


def load_labelled_images(path: Path, options: ImageOptions) -> Examples:
    """Load every image of a folder with a subfolder for each class, whose names are known.

    Args:
        path: the folder.
        options: size, colors and classes, all of them given.

    Raises:
        ValueError: there is a subfolder of no class, or an image is damaged.
    """
    files, labels = _labelled(_listed(path), options.class_names)
    return Examples(load_images(files, options), labels)


def load_images(files: Sequence[str], options: ImageOptions) -> Array:
    """Load images without classes, to predict.

    Args:
        files: their files.
        options: size and colors, given.

    Returns:
        The images [N, height, width, channels].

    Raises:
        ValueError: an image is damaged.
    """
    assert options.height_and_width is not None
    orientations = _orientations(_headers(files))
    channels = CHANNELS[options.color_mode]
    images = ImageFiles(files, options.height_and_width, channels, orientations)
    found: Array = decoded_once(images)
    return found


def image_files(data: str) -> list[str]:
    """Return the files of a folder or of a text with paths.

    Args:
        data: a folder, whose images are taken in alphabetical order with those of its subfolders;
            or the path of an image, or several, comma-separated.

    Raises:
        ValueError: a folder has no images.
        FileNotFoundError: there is no such file.
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
    """Return whether a text is the path of a folder or of images, as `image_files` takes it."""
    last = data.rpartition(",")[2].lower()
    return last.endswith(IMAGE_SUFFIXES) or Path(os.path.expanduser(data)).is_dir()


def _part_folders(path: Path) -> dict[str, Path]:
    """Return the folders of the parts, train first; the folder itself is train if it has none.

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
    """Return the folders in a folder that are not hidden, in alphabetical order."""
    return sorted(x for x in path.iterdir() if x.is_dir() and not _is_hidden(x.name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _listed(path: Path) -> ImageFolder:
    """Return the files of a folder by class.

    Raises:
        ValueError: it has no subfolders, images beside them, or a subfolder without images.
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
    """Return the images in a folder and its subfolders, in alphabetical order; and other files."""
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


def _ignored_note(parts: Iterable[ImageFolder]) -> list[str]:
    """Return a line on the files that are no images, if there are any."""
    ignored = [name for part in parts for name in part.ignored]
    if not ignored:
        return []
    return [f"{len(ignored)} files ignored that are no images, such as {shown(ignored[0])}"]


def _labelled(part: ImageFolder, names: Sequence[str]) -> tuple[list[str], Array]:
    """Return the files of a part and their labels, in a fixed random order.

    Raises:
        ValueError: it has a subfolder of no class.
    """
    unknown = [name for name in part.files if name not in names]
    if unknown:
        raise ValueError(
            f"{shown(part.path / unknown[0])}: the class {printable(unknown[0])!r} is not known; "
            f"the classes are {first_classes(names)}"
        )
    files = [name for found in part.files.values() for name in found]
    index = {name: k for k, name in enumerate(names)}
    labels = np.repeat(
        np.array([index[name] for name in part.files], np.int32),
        [len(found) for found in part.files.values()],
    )
    order = np.random.default_rng(_ORDER_SEED).permutation(len(files))
    return [files[k] for k in order], labels[order]


def _headers(files: Sequence[str]) -> list[ImageHeader]:
    """Return the headers of images.

    Raises:
        ValueError: a file is no image, or damaged.
    """

    def read(name: str) -> ImageHeader:
        try:
            return read_image_header(Path(name))
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{shown(name)} cannot be read as an image ({error}); replace it or remove it"
            ) from error

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(read, files))


def _orientations(headers: Sequence[ImageHeader]) -> list[int]:
    """Return the EXIF orientations of images."""
    return [header.orientation for header in headers]


def _resolved(
    headers: Sequence[ImageHeader], options: ImageOptions
) -> tuple[tuple[int, int], str, list[str]]:
    """Return the size and the color mode of training images, and lines on what was decided."""
    sizes = np.array([(x.height, x.width) for x in headers])
    one_size = bool((sizes == sizes[0]).all())
    size = options.height_and_width
    if size is None:
        size = _auto_size(sizes) if not one_size else (int(sizes[0, 0]), int(sizes[0, 1]))
    mode = options.color_mode
    if mode == AUTO:
        mode = GRAYSCALE if all(x.is_gray for x in headers) else RGB
    notes = [f"images of {size[0]}x{size[1]} pixels, {mode}"]
    if not one_size or size != tuple(sizes[0]):
        low, high = sizes.min(0), sizes.max(0)
        were = f"{low[0]}x{low[1]}" + ("" if one_size else f" to {high[0]}x{high[1]}")
        notes[0] += f", resized from {were}"
    if turned := sum(x.orientation != UPRIGHT for x in headers):
        notes.append(f"{turned} images turned upright, as their EXIF orientation says")
    return size, mode, notes


def _auto_size(sizes: Array) -> tuple[int, int]:
    """Return the median height and width, reduced in proportion to `LARGEST_SIDE` at most."""
    median = np.median(sizes, axis=0)
    height, width = np.maximum(1, np.round(median * min(1, LARGEST_SIDE / median.max())))
    return int(height), int(width)
