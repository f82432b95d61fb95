"""Images in files as one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.images import exif_with, save

from trainlib.data import image_files
from trainlib.data.image_files import ImageFiles, ImageOptions, decoded_once
from trainlib.training.kept_rows import KeptRows

pytest.importorskip("PIL")

COLORS = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)


def files(folder: Path, *pixels: np.ndarray, end: str = ".png") -> list[str]:
    """Paths of these images."""
    return [str(save(folder / f"{k}{end}", image)) for k, image in enumerate(pixels)]


@pytest.mark.parametrize("end", [".png", ".bmp"])
def test_images_of_the_size_are_read_as_they_are(tmp_path: Path, end: str) -> None:
    images = ImageFiles(files(tmp_path, COLORS, 255 - COLORS, end=end), (6, 9), 3)
    assert (images.shape, images.dtype, images.nbytes) == ((2, 6, 9, 3), np.uint8, 324)
    np.testing.assert_array_equal(images, [COLORS, 255 - COLORS])
    np.testing.assert_array_equal(images[1], 255 - COLORS)
    np.testing.assert_array_equal(images[::-1], [255 - COLORS, COLORS])
    np.testing.assert_array_equal(images.read(np.array([1, 1])), [255 - COLORS] * 2)


def test_other_sizes_are_resized_as_pillow_does(tmp_path: Path) -> None:
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
    found = np.asarray(ImageFiles(files(tmp_path, noise), (13, 21), 1))[0, :, :, 0]
    expected = Image.fromarray(noise).resize((21, 13), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found.astype(int), np.asarray(expected, int), atol=1)


def test_colors_and_grays_become_one_number_of_channels(tmp_path: Path) -> None:
    gray = COLORS[..., 0]
    alpha = np.concatenate([COLORS, np.full((6, 9, 1), 7, np.uint8)], axis=2)
    paths = files(tmp_path, gray, COLORS, alpha)
    colors = np.asarray(ImageFiles(paths, (6, 9), 3))
    np.testing.assert_array_equal(colors, [np.stack([gray] * 3, 2), COLORS, COLORS])
    grays = np.asarray(ImageFiles(paths, (6, 9), 1))[..., 0].astype(int)
    np.testing.assert_array_equal(grays[0], gray)
    luma = COLORS @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grays[1:], [luma, luma], atol=1)


def test_jpeg_and_moving_gif_are_decoded_as_pillow_does(tmp_path: Path) -> None:
    from PIL import Image

    smooth = np.add.outer(np.arange(16) * 8, np.arange(16) * 7).astype(np.uint8)
    jpeg = save(tmp_path / "x.jpg", smooth)
    found = np.asarray(ImageFiles([str(jpeg)], (16, 16), 1))[0, :, :, 0].astype(int)
    np.testing.assert_allclose(found, np.asarray(Image.open(jpeg), int), atol=1)
    first, second = (Image.fromarray(x) for x in (smooth, 255 - smooth))
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    found = np.asarray(ImageFiles([str(tmp_path / "x.gif")], (16, 16), 1))[0, :, :, 0].astype(int)
    np.testing.assert_allclose(found, smooth.astype(int), atol=1)


def test_images_are_turned_upright_as_pillow_does(tmp_path: Path) -> None:
    from PIL import Image, ImageOps

    pixels = np.kron(COLORS[:2, :3], np.ones([8, 8, 1], np.uint8))  # JPEG keeps blocks as they are
    options = {"quality": 100, "subsampling": 0}
    paths = [
        str(save(tmp_path / f"{k}.jpg", pixels, exif=exif_with(k), **options)) for k in range(1, 9)
    ]
    for sides, chosen in (((16, 24), range(1, 5)), ((24, 16), range(5, 9))):
        images = ImageFiles([paths[k - 1] for k in chosen], sides, 3, chosen)
        for path, image in zip(images.paths, images, strict=True):
            expected = np.asarray(ImageOps.exif_transpose(Image.open(path)), int)
            np.testing.assert_allclose(image, expected, atol=6, err_msg=path)
        last = images.select(np.array([3, 0]))
        np.testing.assert_array_equal(last[0], images[3])
        assert last.fingerprint != ImageFiles(last.paths, sides, 3).fingerprint


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    paths = files(tmp_path, *[COLORS] * 5)
    content = Path(paths[3]).read_bytes()
    Path(paths[3]).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="3.png cannot be decoded: it is damaged; replace it"):
        np.asarray(ImageFiles(paths, (6, 9), 3))
    Path(paths[3]).unlink()
    with pytest.raises(ValueError, match="3.png cannot be decoded: it does not exist"):
        np.asarray(ImageFiles(paths, (6, 9), 3))


def test_images_are_decoded_once_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageFiles(files(tmp_path, COLORS), (6, 9), 3)
    assert isinstance(decoded_once(images), np.ndarray)
    monkeypatch.setattr(image_files, "MEMORY_BYTES", images.nbytes - 1)
    monkeypatch.setenv("TRAINLIB_CACHE", str(tmp_path / "cache"))
    kept = decoded_once(images)
    assert isinstance(kept, KeptRows) and kept.fingerprint == images.fingerprint
    np.testing.assert_array_equal(kept, [COLORS])
    Path(images.paths[0]).unlink()
    np.testing.assert_array_equal(kept, [COLORS])
    assert not list((tmp_path / "cache").iterdir())  # the file has no name
    monkeypatch.setattr(image_files, "MOST_OF_THE_DISK", 0.0)
    assert decoded_once(images) is images


def test_a_cache_that_cannot_be_written_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageFiles(files(tmp_path, COLORS), (6, 9), 3)
    monkeypatch.setattr(image_files, "MEMORY_BYTES", 0)
    monkeypatch.setenv("TRAINLIB_CACHE", str(save(tmp_path / "file.png", COLORS) / "in_a_file"))
    assert decoded_once(images) is images


def test_the_fingerprint_shows_order_and_changes_of_the_files(tmp_path: Path) -> None:
    images = ImageFiles(files(tmp_path, COLORS, 255 - COLORS), (6, 9), 3)
    assert images.fingerprint == images[:].fingerprint != images[::-1].fingerprint
    before = images.fingerprint
    save(tmp_path / "0.png", COLORS // 2)
    assert images.fingerprint != before


@pytest.mark.parametrize("text", ["32", "0x8", "8x", "a", "8x8x3"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"image_size must be height x width.*got '{text}'"):
        ImageOptions(text)
    with pytest.raises(ValueError, match="color_mode"):
        ImageOptions(color_mode="cmyk")
