"""Headers of image files: size, colors and orientation of PNG, JPEG, GIF and BMP images."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
"""Suffixes of image files."""

UPRIGHT = 1
"""EXIF orientation of an image that is stored upright."""
TRANSPOSED = 5
"""First EXIF orientation with exchanged rows and columns; the last one is 8."""

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers in a JPEG file that precede the size of the image."""
_EXIF_SEGMENT, _EXIF = 0xE1, b"Exif\0\0"
"""Marker and beginning of the segment of a JPEG file with its EXIF data."""
_ORIENTATION, _SHORT = 0x0112, 3
"""Number and type of the orientation among the EXIF data."""


MOST_PIXELS = 2**28
"""Largest number of pixels of an image that is decoded."""


class ImageHeader(NamedTuple):
    """The header of an image file.

    Attributes:
        height: rows of pixels of the upright image.
        width: columns of pixels of the upright image.
        is_gray: whether it is stored without colors.
        orientation: EXIF orientation of the stored pixels, 1 to 8. Default: 1, upright.
    """

    height: int
    width: int
    is_gray: bool
    orientation: int = UPRIGHT


def read_image_header(path: Path) -> ImageHeader:
    """Read the header of an image, whose kind is recognised by its content.

    Raises:
        ValueError: the file is not an image of a known kind, or is damaged; the message is the
            reason.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
        reader = next((read for magic, read in _READERS.items() if start.startswith(magic)), None)
        if reader is None:
            raise ValueError("it is no PNG, JPEG, BMP or GIF image")
        try:
            header = reader(stream)
        except struct.error:
            raise ValueError("it ends within its header") from None
    if header.height < 1 or header.width < 1:
        raise ValueError("its header says that it has no pixels")
    if header.height * header.width > MOST_PIXELS:
        raise ValueError(f"its header says that it has more than {MOST_PIXELS:,} pixels")
    return header


def _unpack(stream: BinaryIO, start: int, layout: str) -> tuple[int, ...]:
    """Return the numbers at a position of a file."""
    stream.seek(start)
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _read_png(stream: BinaryIO) -> ImageHeader:
    width, height, _, color = _unpack(stream, 16, ">IIBB")
    return ImageHeader(height, width, color in (0, 4))


def _read_gif(stream: BinaryIO) -> ImageHeader:
    width, height = _unpack(stream, 6, "<HH")
    return ImageHeader(height, width, False)


def _read_bmp(stream: BinaryIO) -> ImageHeader:
    width, height, _, bits = _unpack(stream, 18, "<iiHH")
    if bits == 8:
        _check_gray_palette(stream)
    return ImageHeader(abs(height), width, bits == 8)


def _check_gray_palette(stream: BinaryIO) -> None:
    """Raise `ValueError` for a palette of colors, which TensorFlow would decode as gray values."""
    (size,) = _unpack(stream, 14, "<I")
    stream.seek(14 + size)
    entries = stream.read(4 * 256)
    if any(entries[4 * k : 4 * k + 3] != bytes([k] * 3) for k in range(len(entries) // 4)):
        raise ValueError("it has a palette of colors; save it as PNG or with 24 bits per pixel")


def _read_jpeg(stream: BinaryIO) -> ImageHeader:
    place, orientation = 2, UPRIGHT
    while True:
        mark, kind = _unpack(stream, place, "BB")
        if mark != 0xFF:
            raise ValueError("its header is damaged")
        if kind == 0xFF:  # filling before a marker
            place += 1
        elif kind in _FRAMES:
            height, width, components = _unpack(stream, place + 5, ">HHB")
            size = (width, height) if orientation >= TRANSPOSED else (height, width)
            return ImageHeader(*size, components == 1, orientation)
        else:
            (length,) = _unpack(stream, place + 2, ">H")
            if kind == _EXIF_SEGMENT and stream.read(len(_EXIF)) == _EXIF:
                orientation = _orientation(stream.read(max(0, length - 2 - len(_EXIF))))
            place += 2 + length


def _orientation(exif: bytes) -> int:
    """Return the orientation in EXIF data, which have the TIFF format; 1 if there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for k in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * k)
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:  # damaged EXIF data: the image itself may be whole
        pass
    return UPRIGHT


_READERS: Mapping[bytes, Callable[[BinaryIO], ImageHeader]] = {
    b"\x89PNG": _read_png,
    b"\xff\xd8": _read_jpeg,
    b"GIF8": _read_gif,
    b"BM": _read_bmp,
}
