"""Folders of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("bird", "cat", "dog")


def save(path: Path, pixels: Any, **options: Any) -> Path:
    """Write pixels [height, width] or [height, width, 3] as an image and return its path."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def exif_with(orientation: int) -> Any:
    """Return EXIF data for `save` that state an orientation, 1 to 8."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def shade(label: int, k: int, shape: tuple[int, ...] = (8, 8)) -> np.ndarray:
    """Return a noisy image whose brightness is that of its class."""
    noise = np.random.default_rng(k).integers(0, 40, shape)
    return (80 * label + noise).astype(np.uint8)


def write_folder(
    path: Path, counts: Mapping[str, int], shape: tuple[int, ...] = (8, 8), end: str = ".png"
) -> Path:
    """Write a folder with so many images of each class."""
    for label, (name, count) in enumerate(counts.items()):
        for k in range(count):
            save(path / name / f"{k:03}{end}", shade(label, k, shape))
    return path
