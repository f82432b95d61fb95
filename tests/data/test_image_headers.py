"""Sizes of images from the first bytes of their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.images import exif_with, save

from trainlib.data.image_headers import ImageHeader, read_image_header

pytest.importorskip("PIL")

COLORS = np.arange(5 * 7 * 3).reshape(5, 7, 3)


@pytest.mark.parametrize("end", [".png", ".jpg", ".bmp", ".gif"])
def test_the_size_and_the_colors_of_every_kind_are_read(tmp_path: Path, end: str) -> None:
    colors = save(tmp_path / f"colors{end}", COLORS)
    assert read_image_header(colors) == ImageHeader(5, 7, False)
    gray = read_image_header(save(tmp_path / f"gray{end}", COLORS[..., 0]))
    assert gray == ImageHeader(5, 7, end != ".gif")


def test_the_content_counts_not_the_name(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", COLORS).rename(tmp_path / "x.jpg")
    assert read_image_header(path) == ImageHeader(5, 7, False)


def test_a_progressive_jpeg_with_a_comment_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", COLORS, progressive=True, comment=b"\xff\xc0" * 50)
    assert read_image_header(path) == ImageHeader(5, 7, False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_jpeg_is_read(tmp_path: Path, orientation: int) -> None:
    exif = exif_with(orientation)
    header = read_image_header(save(tmp_path / "x.jpg", COLORS, exif=exif))
    height, width = (7, 5) if orientation > 4 else (5, 7)
    assert header == ImageHeader(height, width, False, orientation)


def test_damaged_exif_data_leave_an_image_as_it_is(tmp_path: Path) -> None:
    whole = exif_with(6).tobytes()
    for exif in (whole[:-10], whole[:8], whole.replace(b"MM", b"XX").replace(b"II", b"XX")):
        header = read_image_header(save(tmp_path / "x.jpg", COLORS, exif=exif))
        assert header == ImageHeader(5, 7, False)
    little = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0"
    for value, expected in ((b"\x08", 8), (b"\x09", 1)):
        exif = little[:-4] + value + b"\0\0\0"
        path = save(tmp_path / "x.jpg", COLORS, exif=exif)
        assert read_image_header(path).orientation == expected


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    for content, reason in [
        (b"text", "no PNG, JPEG, BMP or GIF"),
        (b"", "no PNG"),
        (b"\x89PNG\r\n", "ends within its header"),
        (b"\xff\xd8\xff\xe0\x00\x04ab", "ends within its header"),
        (b"\xff\xd8zz", "header is damaged"),
        (b"GIF89a\0\0\0\0", "no pixels"),
    ]:
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            read_image_header(tmp_path / "x.png")
    Image.fromarray(COLORS.astype(np.uint8)).quantize(8).save(tmp_path / "palette.bmp")
    with pytest.raises(ValueError, match="palette of colors"):
        read_image_header(tmp_path / "palette.bmp")
