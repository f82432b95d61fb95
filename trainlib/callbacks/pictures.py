"""Inputs and weights as pictures: arrays of numbers from 0, black, to 1, white."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainlib.core.types import Tree

TILES = 64
"""Of a grid, at most."""
CHANNELS = (1, 3)
"""Of a picture: grey, or red, green and blue."""


def as_images(x: Any) -> np.ndarray | None:
    """Inputs as images [n, height, width, channels] of numbers from 0 to 1; None if they are none.

    Args:
        x: an array; images are those of shape [n, height, width] or [n, height, width, 1 or 3].
    """
    if not hasattr(x, "shape") or not _is_image_shape(x.shape[1:]):
        return None
    images = np.asarray(x).astype(np.float64)
    images = images[..., None] if images.ndim == 3 else images
    low, high = images.min(initial=0), images.max(initial=0)
    scaled: np.ndarray = (images - low) / ((high - low) or 1.0)
    return scaled


def grid(images: np.ndarray) -> np.ndarray:
    """Images side by side, about as many in a column as in a row, with a grey line in between."""
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
    """A grid of the weights of the first layer's units, by the path of its kernel; {} for none.

    It is the kernel of a convolution, of whose input the first channel is shown unless it has 1 or
    3; or one of a dense layer that has the inputs' size. Grey is 0, white the largest absolute
    value, black its negative.

    Args:
        params: by path, in the order of the layers.
        shape: of an input image, without batch; None where inputs are no images.
    """
    kernels = params.items() if isinstance(params, Mapping) else ()
    for path, kernel in kernels:
        if len(kernel.shape) in (2, 4):
            tiles = _tiles(np.asarray(kernel).astype(np.float64), shape)
            return {} if tiles is None else {str(path): grid(_around_grey(tiles))}
    return {}


def _tiles(kernel: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray | None:
    """The weights of each unit as an image [units, height, width, channels]."""
    if kernel.ndim == 4:
        tiles = np.transpose(kernel, [3, 0, 1, 2])
        return tiles if tiles.shape[-1] in CHANNELS else tiles[..., :1]
    if shape is None or kernel.shape[0] != np.prod(shape):
        return None
    image = shape if len(shape) == 3 else (*shape, 1)
    return np.reshape(kernel.T, [-1, *image])


def _around_grey(tiles: np.ndarray) -> np.ndarray:
    tiles = np.nan_to_num(tiles)
    return 0.5 + tiles / (2 * (np.max(np.abs(tiles), initial=0) or 1.0))


def _is_image_shape(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in CHANNELS)
