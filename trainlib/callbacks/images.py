"""Inputs and weights as images: arrays of numbers from 0, black, to 1, white."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trainlib.core.types import Tree

TILES = 64
"""Largest number of images in a grid."""
CHANNELS = (1, 3)
"""Numbers of channels of an image: grey, or red, green and blue."""


def as_images(x: Any) -> np.ndarray | None:
    """Return inputs as images [n, height, width, channels] from 0 to 1; None if they are none.

    Args:
        x: array of inputs; an image if its shape is [n, height, width] or [n, height, width, 1 or
            3].
    """
    if not hasattr(x, "shape") or not _is_image_shape(x.shape[1:]):
        return None
    images = np.asarray(x).astype(np.float64)
    images = images[..., None] if images.ndim == 3 else images
    low, high = images.min(initial=0), images.max(initial=0)
    scaled: np.ndarray = (images - low) / ((high - low) or 1.0)
    return scaled


def images_by_tag(x: Any) -> dict[str, np.ndarray]:
    """Return the inputs that are images, as `as_images` does: "inputs", or "inputs/<name>"."""
    given = {f"inputs/{k}": v for k, v in x.items()} if isinstance(x, Mapping) else {"inputs": x}
    found = {tag: as_images(value) for tag, value in given.items()}
    return {tag: images for tag, images in found.items() if images is not None}


def one_of_images(x: Any) -> np.ndarray | None:
    """Return the images of the only input that is an image; None if none is, or several are."""
    found = list(images_by_tag(x).values())
    return found[0] if len(found) == 1 else None


def grid(images: np.ndarray) -> np.ndarray:
    """Return images in a grid, about as many rows as columns, with grey lines in between."""
    images = images[:TILES]
    count, height, width, channels = images.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    pixels = np.full([rows * (height + 1) - 1, columns * (width + 1) - 1, channels], 0.5)
    for i, image in enumerate(images):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        pixels[top : top + height, left : left + width] = image
    return pixels


def first_layer(params: Tree, shape: tuple[int, ...] | None) -> dict[str, np.ndarray]:
    """Return a grid of the weights of the first layer's units, by the path of its kernel.

    The kernel is that of a convolution, shown for the first input channel unless there are 1 or 3;
    or that of a dense layer of the inputs' size. Grey is 0, white the largest absolute value, black
    its negative. {} if there is no such kernel.

    Args:
        params: parameters by path, in the order of the layers; mappings may be nested.
        shape: shape of an input image without the batch; None if inputs are not images.
    """
    for path, kernel in _arrays_by_path(params):
        if len(kernel.shape) in (2, 4):
            tiles = _tiles(np.asarray(kernel).astype(np.float64), shape)
            return {} if tiles is None else {path: grid(_around_grey(tiles))}
    return {}


def _arrays_by_path(params: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the paths and arrays of nested mappings in their own order, which is not sorted."""
    for name, x in params.items() if isinstance(params, Mapping) else ():
        if isinstance(x, Mapping):
            yield from _arrays_by_path(x, f"{prefix}{name}/")
        elif hasattr(x, "shape"):
            yield f"{prefix}{name}", x


def _tiles(kernel: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray | None:
    """Return the weights of each unit as an image [units, height, width, channels]."""
    if kernel.ndim == 4:
        tiles = np.transpose(kernel, [3, 0, 1, 2])
        return tiles if tiles.shape[-1] in CHANNELS else tiles[..., :1]
    if shape is None or kernel.shape[0] != np.prod(shape):
        return None
    image = shape if len(shape) == 3 else (*shape, 1)
    return np.reshape(kernel.T, [-1, *image])


def _around_grey(tiles: np.ndarray) -> np.ndarray:
    """Return weights as pixels in which 0 is grey."""
    tiles = np.nan_to_num(tiles)
    return 0.5 + tiles / (2 * (np.max(np.abs(tiles), initial=0) or 1.0))


def _is_image_shape(shape: tuple[int, ...]) -> bool:
    """Return whether the shape of an example is that of an image."""
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in CHANNELS)
