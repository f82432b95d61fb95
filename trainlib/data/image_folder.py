"""Folders of images, one subfolder for each class, as data sets."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.examples import TEST, TRAIN, VALIDATION, Dataset, Examples, split_test_indices
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
from trainlib.data.image_headers import UPRIGHT, ImageHeader, read_image_header
from trainlib.data.image_listing import ImageFolder, files_by_class, ignored_note, part_folders
from trainlib.data.labels import first_classes
from trainlib.training.paths import printable, shown

LARGEST_SIDE = 128
"""Largest height and width that "auto" chooses for images of different sizes."""
_ORDER_SEED = 0


def load_image_folder(path: Path, options: ImageOptions, stratify: bool = True) -> Dataset:
    """Load a folder of images as a data set.

    Args:
        path: a folder with a subfolder for each class, or with such folders named train and,
            optionally, validation (or val, valid) and test.
        options: size, colors and classes.
        stratify: whether a test part that is split off has the same fraction of each class.
            Default: True.

    Returns:
        A data set of uint8 images [N, height, width, channels] in a fixed random order. Without a
        test folder, a fixed 20 % is the test part.

    Raises:
        ValueError: the folder has another structure, or an image is damaged.
    """
    parts = {name: files_by_class(folder) for name, folder in part_folders(path).items()}
    names = options.class_names or tuple(parts[TRAIN].files)
    if len(names) < 2:
        raise ValueError(
            f"{shown(parts[TRAIN].path)} has {len(names)} subfolders with images; classes need at "
            "least 2, one subfolder for each"
        )
    labelled = {name: _labelled(part, names) for name, part in parts.items()}
    if TEST not in labelled:
        files, labels = labelled[TRAIN]
        rows = split_test_indices(len(files), shown(path), labels if stratify else None)
        for name, chosen in zip((TRAIN, TEST), rows, strict=True):
            labelled[name] = [files[k] for k in chosen], labels[chosen]
    headers = {name: _headers(files) for name, (files, _) in labelled.items()}
    size, mode, notes = _resolved(headers[TRAIN], options)
    if turned := sum(x.orientation != UPRIGHT for part in headers.values() for x in part):
        notes.append(f"{turned} images turned upright, as their EXIF orientation says")
    notes += [f"{len(names)} classes: {first_classes(names)}"]
    notes += ignored_note(parts.values())
    x = {
        name: ImageFiles(files, size, CHANNELS[mode], _orientations(headers[name]))
        for name, (files, _) in labelled.items()
    }
    y = {name: labels for name, (_, labels) in labelled.items()}
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


def load_labelled_images(path: Path, options: ImageOptions) -> Examples:
    """Load every image of a folder with a subfolder for each class, for known classes.

    Args:
        path: the folder.
        options: size, colors and classes, without "auto".

    Raises:
        ValueError: a subfolder is not one of the classes, or an image is damaged.
    """
    files, labels = _labelled(files_by_class(path), options.class_names)
    return Examples(load_images(files, options), labels)


def load_images(files: Sequence[str], options: ImageOptions) -> Array:
    """Load images without classes, for predictions.

    Args:
        files: the image files.
        options: size and colors, without "auto".

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


def _labelled(part: ImageFolder, names: Sequence[str]) -> tuple[list[str], Array]:
    """Return the files of a part and their labels, in a fixed random order.

    Raises:
        ValueError: a subfolder is not one of the classes.
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
        ValueError: a file is not an image, or is damaged.
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
    """Resolve size and color mode by the training images; return them, and a note, as a list."""
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
    return size, mode, notes


def _auto_size(sizes: Array) -> tuple[int, int]:
    """Return the median height and width, scaled down to at most `LARGEST_SIDE`."""
    median = np.median(sizes, axis=0)
    height, width = np.maximum(1, np.round(median * min(1, LARGEST_SIDE / median.max())))
    return int(height), int(width)
