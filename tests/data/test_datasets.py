"""Data sets by name, with their shapes and the errors about them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import environment

from trainlib.data import DATASETS, load_dataset
from trainlib.data.examples import TEST_SEED
from trainlib.data.search import LAYOUTS


def write_mnist(folder: Path, labels: tuple[int, ...] = (0, 9), side: int = 28) -> Path:
    folder.mkdir()
    count = len(labels)
    images = struct.pack(">4I", 0x803, 2, side, side) + bytes(2 * side * side)
    content = struct.pack(">2I", 0x801, count) + bytes(labels)
    for name in LAYOUTS["mnist"].choices[0]:
        (folder / name).write_bytes(images if "images" in name else content)
    return folder


def test_digits_has_its_shapes_dtypes_and_counts() -> None:
    data = load_dataset("digits")
    assert (data.name, data.classes, data.x_max) == ("digits", 10, 16.0)
    assert (data.train.x.shape, data.test.x.shape) == ((1438, 8, 8), (359, 8, 8))
    assert (data.train.x.dtype, data.train.y.dtype) == (np.uint8, np.int32)
    x, y = (np.concatenate(pair) for pair in zip(data.train, data.test, strict=True))
    assert (int(x.sum()), int(x.max())) == (561718, 16)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_test_part_of_digits_is_the_same_at_every_load() -> None:
    first = load_dataset("digits").test
    places = np.sort(np.random.default_rng(TEST_SEED).permutation(1797)[1797 - 359 :])
    assert first.y[:8].tolist() == [1, 3, 4, 6, 7, 9, 4, 6]
    assert places[0] == 1
    assert np.array_equal(first.x, load_dataset("digits").test.x)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("mnist", [5, 0, 4, 1, 9], [7, 2, 1, 0, 4]), ("fashion_mnist", [9, 0, 0, 3, 0], [9, 2, 1, 1])],
)
def test_image_data_sets_have_their_shapes_and_first_labels(
    data_dir: Path, name: str, train: list[int], test: list[int]
) -> None:
    data = load_dataset(name, data_dir)
    assert (data.name, data.classes, data.x_max) == (name, 10, 255.0)
    assert (data.train.x.shape, data.test.x.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert (data.train.x.dtype, data.train.y.dtype) == (np.uint8, np.int32)
    assert data.train.y[: len(train)].tolist() == train
    assert data.test.y[: len(test)].tolist() == test


def test_california_housing_has_its_shape_and_first_value(data_dir: Path) -> None:
    data = load_dataset("california_housing", data_dir)
    assert (data.classes, data.x_max, data.feature_names[0]) == (0, 0.0, "MedInc")
    assert (data.train.size, data.test.size) == (16512, 4128)
    assert data.train.y.dtype == np.float32
    assert data.test.x[0, 0] == np.float32(8.3252)


def test_mnist_is_loaded_from_the_archive_of_keras(tmp_path: Path) -> None:
    x, y = np.zeros((3, 28, 28), np.uint8), np.array([0, 1, 2], np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    data = load_dataset("mnist", tmp_path)
    assert (data.name, data.classes, data.x_max, data.train.size) == ("mnist", 10, 255.0, 3)


def test_mnist_is_loaded_from_uncompressed_idx_files(tmp_path: Path) -> None:
    data = load_dataset("mnist", write_mnist(tmp_path / "mnist"))
    assert data.train.y.tolist() == [0, 9]


@pytest.mark.parametrize(
    ("labels", "side", "message"),
    [
        ((0, 10), 28, "has the label 10; its labels go from 0 to 9"),
        ((0, 1, 2), 28, "2 examples but .*train-labels-idx1-ubyte has 3"),
        ((0, 1), 8, r"uint8 \(8, 8\) instead of uint8 \(28, 28\)"),
    ],
)
def test_invalid_images_raise_an_error(
    tmp_path: Path, labels: tuple[int, ...], side: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_dataset("mnist", write_mnist(tmp_path / "mnist", labels, side))


def test_an_unknown_name_raises_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"'fashion-mnist' \(did you mean 'fashion_mnist'\?\)"):
        load_dataset("fashion-mnist")
    with pytest.raises(ValueError, match="'xyzzy'; give one of digits, mnist, .* a path"):
        load_dataset("xyzzy")


def test_a_wrong_data_dir_or_target_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match="data_dir is '/no/such', which is not a folder"):
        load_dataset("digits", data_dir="/no/such")
    with pytest.raises(ValueError, match="target is 'y'"):
        load_dataset("digits", target="y")


def test_the_registry_names_every_data_set() -> None:
    assert list(DATASETS) == ["digits", "mnist", "fashion_mnist", "california_housing"]


def test_loading_imports_neither_tensorflow_nor_keras() -> None:
    folder = Path(sys.modules["trainlib.data"].__file__ or "").parent
    script = (
        "import sys, types\n"
        "package = types.ModuleType('trainlib')\n"
        f"package.__path__ = [{str(folder.parent)!r}]\n"
        "sys.modules['trainlib'] = package\n"
        "import trainlib.data\n"
        "trainlib.data.load_dataset('digits')\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=environment())
