"""Folders of images as data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.images import CLASSES, exif_with, save, shade, write_folder

from trainlib.data import ImageOptions, image_files, load_dataset
from trainlib.data.image_folder import load_images
from trainlib.data.image_listing import has_part_folders, is_images
from trainlib.data.image_listing import image_files as files_of

pytest.importorskip("PIL")

COUNTS = {"cat": 20, "bird": 10, "dog": 5}


def test_a_folder_is_read_as_keras_reads_it(tmp_path: Path) -> None:
    import keras

    path = write_folder(tmp_path / "pets", COUNTS)
    dataset = load_dataset(path)
    assert (dataset.name, dataset.classes, dataset.x_max) == ("pets", 3, 255.0)
    assert dataset.class_names == CLASSES
    assert (dataset.train.size, dataset.test.size) == (28, 7)
    x = np.concatenate([dataset.train.x, dataset.test.x])
    y = np.concatenate([dataset.train.y, dataset.test.y])
    options = {"image_size": (8, 8), "color_mode": "grayscale", "batch_size": 35, "verbose": 0}
    expected = keras.utils.image_dataset_from_directory(str(path), shuffle=False, **options)
    expected_x, expected_y = next(iter(expected.as_numpy_iterator()))

    def in_order(x: np.ndarray, y: np.ndarray) -> list[bytes]:
        rows = zip(np.asarray(x, np.uint8), y, strict=True)
        return sorted(row.tobytes() + bytes([int(label)]) for row, label in rows)

    assert in_order(x, y) == in_order(expected_x, expected_y)


def test_a_picture_on_its_side_is_turned_for_training_and_predictions(tmp_path: Path) -> None:
    wide = np.kron([[0, 80, 240], [160, 40, 120]], np.ones([8, 8]))  # JPEG keeps blocks
    for name, turned in (("a", 6), ("b", 1)):
        for k in range(4):
            pixels = np.rot90(wide) if turned == 6 else wide  # seen after a turn to the right
            save(tmp_path / name / f"{k}.jpg", pixels, quality=100, exif=exif_with(turned))
    dataset = load_dataset(tmp_path)
    assert dataset.train.x.shape[1:] == (16, 24, 1)
    assert any(note.startswith("4 images turned upright") for note in dataset.notes)
    by_class = [dataset.train.x[dataset.train.y == k][0].astype(int) for k in (0, 1)]
    np.testing.assert_allclose(by_class[0], by_class[1], atol=3)
    options = dataset.image_options
    assert options is not None
    alone = load_images([str(tmp_path / "a" / "0.jpg")], options)
    np.testing.assert_array_equal(alone[0], by_class[0])


def test_images_turned_upright_are_counted_in_all_parts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("a", "b"):
            save(tmp_path / part / name / "0.jpg", shade(0, 0), exif=exif_with(3))
    dataset = load_dataset(tmp_path)
    assert "4 images turned upright, as their EXIF orientation says" in dataset.notes


def test_images_of_a_test_part_that_is_split_off_decide_neither_size_nor_colors(
    tmp_path: Path,
) -> None:
    write_folder(tmp_path, {"a": 10, "b": 10})
    held_out = {image.tobytes() for image in np.asarray(load_dataset(tmp_path).test.x)}
    files = {(n, k): shade(label, k) for label, n in enumerate("ab") for k in range(10)}
    of_test = [key for key, pixels in files.items() if pixels.tobytes() in held_out]
    assert len(of_test) == 4
    for name, k in of_test:
        save(tmp_path / name / f"{k:03}.png", shade(0, 0, (20, 30, 3)))
    dataset = load_dataset(tmp_path)
    assert dataset.train.x.shape == (16, 8, 8, 1) and dataset.test.x.shape == (4, 8, 8, 1)
    assert dataset.notes[0] == "images of 8x8 pixels, grayscale"


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["train", "test"], True),
        (["train", "val"], True),
        (["train"], True),
        ([], False),
    ],
)
def test_a_folder_has_parts_where_one_is_named_train(
    tmp_path: Path, folders: list[str], expected: bool
) -> None:
    for folder in folders or ["."]:
        write_folder(tmp_path / folder, {"a": 2, "b": 2})
    assert has_part_folders(tmp_path) == expected


def test_classes_may_be_named_like_parts(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 2, "test": 2})
    assert not has_part_folders(tmp_path)


def test_a_test_part_that_is_split_off_has_its_share_of_each_class(tmp_path: Path) -> None:
    dataset = load_dataset(write_folder(tmp_path, COUNTS))
    assert np.bincount(dataset.test.y).tolist() == [2, 4, 1]
    assert dataset.stratified
    again = load_dataset(tmp_path)
    np.testing.assert_array_equal(dataset.train.x, again.train.x)
    assert len(set(dataset.train.y[:8].tolist())) > 1  # not in the order of the classes


@pytest.mark.parametrize("validation", ["validation", "val", "valid"])
def test_the_folders_of_the_parts_are_respected(tmp_path: Path, validation: str) -> None:
    for part, count in {"train": 4, validation: 3, "test": 2}.items():
        write_folder(tmp_path / part, dict.fromkeys(CLASSES, count))
    dataset = load_dataset(tmp_path)
    assert dataset.validation is not None
    sizes = [part.size for part in (dataset.train, dataset.validation, dataset.test)]
    assert sizes == [12, 9, 6]
    assert not dataset.stratified


def test_hidden_files_are_ignored_and_others_are_reported(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "pets", COUNTS)
    for name in ("cat/.DS_Store", "cat/.x.png", ".git/x.png", "__MACOSX/x.png", "dog/more/readme"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("x")
    save(path / "dog" / "more" / "x.PNG", shade(2, 9))
    dataset = load_dataset(path)
    assert dataset.train.size + dataset.test.size == 36
    assert dataset.notes[0] == "images of 8x8 pixels, grayscale"
    assert "1 files ignored that are no images, such as" in dataset.notes[2]
    assert dataset.notes[2].endswith("pets/dog/more/readme")


def test_sizes_and_colors_are_unified_by_the_training_images(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_folder(tmp_path / part, {"a": 3, "b": 3}, (40, 60))
    save(tmp_path / "train" / "a" / "x.jpg", shade(0, 0, (300, 90)))
    save(tmp_path / "test" / "a" / "y.png", shade(0, 0, (10, 10, 3)))
    dataset = load_dataset(tmp_path)
    assert dataset.train.x.shape == (7, 40, 60, 1)
    assert dataset.notes[0] == "images of 40x60 pixels, grayscale, resized from 40x60 to 300x90"
    assert dataset.image_options == ImageOptions("40x60", "grayscale", ("a", "b"))
    dataset = load_dataset(tmp_path, images=ImageOptions("8x12", "rgb"))
    assert dataset.test.x.shape == (7, 8, 12, 3)
    save(tmp_path / "train" / "a" / "z.png", shade(0, 0, (500, 600, 3)))
    for k in range(7):
        save(tmp_path / "train" / "b" / f"large{k}.png", shade(1, k, (256, 512)))
    assert load_dataset(tmp_path).train.x.shape == (15, 64, 128, 3)


def test_classes_have_the_order_that_is_given(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 5, "b": 5})
    dataset = load_dataset(tmp_path, images=ImageOptions(class_names=("b", "a")))
    assert dataset.class_names == ("b", "a")
    assert set(dataset.train.y[dataset.train.x.mean((1, 2, 3)) < 60]) == {1}
    with pytest.raises(ValueError, match="the class 'b' is not known; the classes are a, c"):
        load_dataset(tmp_path, images=ImageOptions(class_names=("a", "c")))


def test_folders_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir()
    with pytest.raises(ValueError, match="x has no subfolders; put the images of each class into"):
        load_dataset(path)
    write_folder(path, {"a": 3})
    with pytest.raises(ValueError, match="has 1 subfolders with images; classes need at least 2"):
        load_dataset(path)
    (path / "b").mkdir()
    with pytest.raises(ValueError, match="x/b has no images .*each subfolder is a class"):
        load_dataset(path)
    save(path / "b" / "0.png", shade(0, 0))
    save(path / "c.png", shade(0, 0))
    with pytest.raises(ValueError, match="x has images beside its subfolders, such as 'c.png'"):
        load_dataset(path)
    (path / "c.png").write_text("text")
    (path / "c.png").rename(path / "b" / "c.png")
    with pytest.raises(ValueError, match="x/b/c.png cannot be read as an image .it is no PNG"):
        load_dataset(path)
    parts = tmp_path / "parts"
    write_folder(parts / "test", {"a": 2, "b": 2})
    with pytest.raises(ValueError, match="has no folder 'train' beside test"):
        load_dataset(parts)
    write_folder(parts / "train", {"a": 2, "b": 2})
    write_folder(parts / "more", {"a": 2, "b": 2})
    with pytest.raises(ValueError, match="has 'more' beside test, train"):
        load_dataset(parts)
    with pytest.raises(ValueError, match="target is 'a'.* the folders of images"):
        load_dataset(path, target="a")


def test_large_folders_are_decoded_when_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, COUNTS)
    expected = load_dataset(tmp_path)
    monkeypatch.setattr(image_files, "MEMORY_BYTES", 1000)
    dataset = load_dataset(tmp_path)
    how = "decoded once into a temporary file"
    assert dataset.notes[-1] == f"{how}, because memory is short: train"
    assert not isinstance(dataset.train.x, np.ndarray) and isinstance(dataset.test.x, np.ndarray)
    np.testing.assert_array_equal(dataset.train.x, expected.train.x)
    monkeypatch.setattr(image_files, "MOST_OF_THE_DISK", 0.0)
    notes = load_dataset(tmp_path).notes
    assert notes[-1] == "decoded in each epoch, because memory is short: train"


def test_files_to_predict_are_those_of_a_folder_or_a_list(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 1})
    first, second, third = (str(tmp_path / x) for x in ("a/000.png", "a/001.png", "b/000.png"))
    assert files_of(str(tmp_path)) == [first, second, third]
    assert files_of(f"{third},{first}") == [third, first]
    (tmp_path / "a,b.png").write_bytes(Path(first).read_bytes())
    assert files_of(str(tmp_path / "a,b.png")) == [str(tmp_path / "a,b.png")]
    assert is_images(f"{third},{first}") and is_images(str(tmp_path))
    assert not is_images("x.npz")
    with pytest.raises(FileNotFoundError, match="gone.png does not exist"):
        files_of(str(tmp_path / "gone.png"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no images"):
        files_of(str(tmp_path / "empty"))
