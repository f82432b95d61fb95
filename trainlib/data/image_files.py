"""Images in files, decoded in parallel, as one array: `ImageOptions`, `ImageFiles`."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.core.checks import check_choice
from trainlib.data.archives import Array
from trainlib.data.image_headers import MOST_PIXELS, UPRIGHT
from trainlib.training.kept_rows import KeptRows
from trainlib.training.lazy_array import LazyArray
from trainlib.training.paths import cache_folder, shown

MEMORY_BYTES = 2**31
"""Size in bytes up to which decoded images are kept in memory, instead of a temporary file."""
MOST_OF_THE_DISK = 0.5
"""Fraction of the free disk space above which images are decoded again in each epoch."""

_AT_ONCE = 256
"""Number of images that one call decodes, in parallel."""
_PARALLEL = 16


AUTO, GRAYSCALE, RGB = "auto", "grayscale", "rgb"
COLOR_MODES = (AUTO, GRAYSCALE, RGB)
CHANNELS = {GRAYSCALE: 1, RGB: 3}


@dataclass(frozen=True)
class ImageOptions:
    """Size, colors and classes of the images of a folder.

    Args:
        size: height and width, such as "32x48". Default: None: images of one size keep it; images
            of different sizes get the median height and the median width of the training images,
            scaled down to at most 128.
        color_mode: "grayscale", "rgb", or "auto", the default: grayscale if all training images are
            stored without colors.
        class_names: names of the subfolders in the order of the labels. Default: (), all subfolders
            in alphabetical order.

    Raises:
        ValueError: the size has another form, or the mode is unknown.

    Example:
        >>> tl.data.ImageOptions("32x48").size
        '32x48'
    """

    size: str | None = None
    color_mode: str = AUTO
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("color_mode", self.color_mode, COLOR_MODES)
        parse_size(self.size)

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """The size as numbers."""
        return parse_size(self.size)


class ImageFiles(LazyArray):
    """Images in files as a lazy array, uint8 [N, height, width, channels]: decoded when read.

    Images of another size are resized, bilinearly, with antialiasing, without keeping the aspect
    ratio. Alpha channels are dropped, and only the first image of an animated GIF is read.

    Args:
        paths: the N files.
        size: height and width.
        channels: 1 for grayscale, 3 for RGB.
        orientations: EXIF orientation of each image, 1 to 8, by which images are turned upright.
            Default: None, all images are stored upright.
    """

    def __init__(
        self,
        paths: Sequence[str] | Array,
        size: tuple[int, int],
        channels: int,
        orientations: Sequence[int] | Array | None = None,
    ) -> None:
        self.paths = np.asarray(paths, str)
        given = [UPRIGHT] * len(paths) if orientations is None else orientations
        self.orientations = np.asarray(given, np.int32)
        self.shape = (len(paths), *size, channels)
        self.dtype = np.dtype(np.uint8)

    @property
    def nbytes(self) -> int:
        """Size of all decoded images in bytes."""
        return int(np.prod(self.shape))

    @property
    def fingerprint(self) -> bytes:
        """Hash of the names, sizes and times of the files."""
        digest = hashlib.sha256(repr(self.shape).encode())
        if (self.orientations != UPRIGHT).any():
            digest.update(self.orientations.tobytes())
        for path in self.paths:
            stat = Path(path).stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return digest.digest()

    def select(self, rows: Array) -> ImageFiles:
        """Return the lazy array of the images with the given indices."""
        _, height, width, channels = self.shape
        return ImageFiles(self.paths[rows], (height, width), channels, self.orientations[rows])

    def read(self, rows: Array) -> Array:
        """Decode the images with the given indices.

        Raises:
            ValueError: a file is missing or damaged.
        """
        import tensorflow as tf

        decode = _decoder(self.shape[1:])
        paths, orientations = self.paths[rows], self.orientations[rows]
        images = np.empty((len(paths), *self.shape[1:]), np.uint8)
        for start in range(0, len(paths), _AT_ONCE):
            chosen = slice(start, start + _AT_ONCE)
            part, turns = paths[chosen], orientations[chosen]
            try:
                images[chosen] = decode(tf.constant(part), tf.constant(turns))
            except tf.errors.OpError as error:
                raise _first_damaged(part, decode) or error from error
        return images


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parse a height and a width such as "32x48"; None for None.

    Raises:
        ValueError: the text has another form, or the size is out of range.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", str(text))
    if not found:
        raise ValueError(
            f"image_size must be height x width in pixels, such as 32x32, got {text!r}"
        )
    height, width = int(found[1]), int(found[2])
    if height * width > MOST_PIXELS:
        raise ValueError(f"image_size must have at most {MOST_PIXELS:,} pixels, got {text}")
    return height, width


def decoded_once(images: ImageFiles) -> Any:
    """Return images as an array that decodes each of them only once, if there is enough space.

    Images that fit into memory are decoded at once; larger ones when they are first read, into a
    temporary file. If the disk space is too small, the lazy array is returned unchanged.
    """
    if images.nbytes <= MEMORY_BYTES:
        return np.asarray(images)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        has_room = images.nbytes <= MOST_OF_THE_DISK * shutil.disk_usage(folder).free
        return KeptRows(images, folder) if has_room else images
    except OSError:  # the folder cannot be written to
        return images


def storage_notes(parts: Mapping[str, Any]) -> list[str]:
    """Return notes on the parts whose images are not kept in memory."""
    kinds = {KeptRows: "decoded once into a temporary file", ImageFiles: "decoded in each epoch"}
    notes = []
    for kind, how in kinds.items():
        if names := [name for name, images in parts.items() if isinstance(images, kind)]:
            notes.append(f"{how}, because memory is short: {', '.join(names)}")
    return notes


@functools.lru_cache
def _decoder(shape: tuple[int, ...]) -> Any:
    """Return a function that decodes files to images of a shape [height, width, channels]."""
    import tensorflow as tf

    size, channels = shape[:2], shape[2]

    def decode(file: tuple[Any, Any]) -> Any:
        path, orientation = file
        image = tf.io.decode_image(tf.io.read_file(path), expand_animations=False)
        image.set_shape([None, None, None])
        is_ready = tf.reduce_all(tf.shape(image) == shape) & (orientation == UPRIGHT)
        # Most images need one branch only: branches take time beside decoding a small image.
        ready = tf.cond(is_ready, lambda: image, lambda: adapted(image, orientation))
        return tf.ensure_shape(ready, shape)

    def adapted(image: Any, orientation: Any) -> Any:
        image = tf.cond(orientation == UPRIGHT, lambda: image, lambda: _upright(image, orientation))
        colors = tf.shape(image)[2] >= 3
        if channels == 3:
            image = tf.cond(
                colors, lambda: image[..., :3], lambda: tf.repeat(image[..., :1], 3, axis=2)
            )
        else:
            image = tf.cond(
                colors,
                lambda: tf.image.rgb_to_grayscale(image[..., :3]),
                lambda: image[..., :1],
            )
        return tf.cond(
            tf.reduce_all(tf.shape(image)[:2] == size), lambda: image, lambda: resized(image)
        )

    def resized(image: Any) -> Any:
        pixels = tf.image.resize(image, size, antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)

    signature = [tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def decode_all(paths: Any, orientations: Any) -> Any:
        files, spec = (paths, orientations), tf.TensorSpec(shape, tf.uint8)
        with tf.device("CPU:0"):
            return tf.map_fn(decode, files, fn_output_signature=spec, parallel_iterations=_PARALLEL)

    return decode_all


def _upright(image: Any, orientation: Any) -> Any:
    """Turn an image [height, width, channels] with an EXIF orientation upright."""
    import tensorflow as tf

    steps: list[tuple[tuple[int, ...], Callable[[Any], Any]]] = [
        ((5, 6, 7, 8), lambda x: tf.transpose(x, [1, 0, 2])),
        ((2, 3, 6, 7), lambda x: tf.reverse(x, [1])),
        ((3, 4, 7, 8), lambda x: tf.reverse(x, [0])),
    ]
    for orientations, step in steps:
        needed = tf.reduce_any(orientation == orientations)
        image = tf.cond(
            needed, functools.partial(step, image), functools.partial(tf.identity, image)
        )
    return image


def _first_damaged(paths: Array, decode: Any) -> ValueError | None:
    """Return the error for the first file that cannot be decoded; None if all can."""
    import tensorflow as tf

    for path in paths:
        try:
            decode(tf.constant([path]), tf.constant([UPRIGHT]))
        except tf.errors.OpError as error:
            is_missing = isinstance(error, tf.errors.NotFoundError)
            reason = "it does not exist" if is_missing else "it is damaged"
            return ValueError(f"{shown(path)} cannot be decoded: {reason}; replace it or remove it")
    return None
