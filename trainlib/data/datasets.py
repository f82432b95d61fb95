"""`load_dataset`, and the registry of data sets by name.

To add a data set, write a function `(data_dir, dtype) -> Dataset`, enter it in `DATASETS`, and
enter the names of its files in `trainlib.data.search.LAYOUTS`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np

from trainlib.data.archives import read_npz
from trainlib.data.examples import Dataset, Examples, split_test
from trainlib.data.files import SUFFIXES, is_file_path, load_archive, load_file
from trainlib.data.frames import Frame
from trainlib.data.housing import FEATURES, TARGET, read_housing_table, read_keras_archive
from trainlib.data.idx import read_idx
from trainlib.data.image_files import ImageOptions
from trainlib.data.labels import AUTO
from trainlib.data.preprocessing import TablePreprocessing, fit_preprocessing
from trainlib.data.reading import Reading
from trainlib.data.search import find_files
from trainlib.data.validation import check_examples, check_parts
from trainlib.training.paths import expanded, shown

Loader = Callable[[Path | None, str], Dataset]

GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The classes of Fashion-MNIST."""


def load_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    target: str | None = None,
    *,
    task: str = AUTO,
    dtype: str = "float32",
    preprocessing: TablePreprocessing | None = None,
    images: ImageOptions | None = None,
) -> Dataset:
    """Load a data set by its name, or from a file or a folder of images.

    Args:
        name: a key of `DATASETS`; a path that ends in .npz, .csv, .tsv (or with .gz after it)
            or .parquet; or a folder with a subfolder of images for each class, or with such
            folders named train, validation and test.
        data_dir: folder that is searched first. Default: None. The search continues in
            $TRAINLIB_DATA, Keras's cache and the operating system's data sets, and ends with a
            download through Keras.
        target: column of a table to predict. Default: None, the last column.
        task: task of a file: "classification", "regression", or "auto", the default. With "auto"
            integers in an .npz are classes, and floats are numbers. In a table text is classes;
            integers are classes if each occurs twice on average, and there are at most 20 different
            ones or they are 0, 1, ... without a gap.
        dtype: dtype of inputs and targets other than images and labels, "float32" or "float64".
            Default: "float32".
        preprocessing: rules of a table. Default: None, `TablePreprocessing` fitted to the table.
        images: size, colors and classes of the images of a folder. Default: None,
            `ImageOptions()`.

    Returns:
        A `Dataset`: no part is empty, every value is finite, and every label of the test part is
        below the number of classes of the training part.

    Raises:
        FileNotFoundError: the path does not exist, or the data set is not found and cannot be
            downloaded.
        ValueError: an argument is not valid, or a file is damaged or has invalid values.

    Example:
        >>> digits = tl.data.load_dataset("digits")
        >>> digits.train.x.shape, digits.test.x.shape, digits.classes
        ((1438, 8, 8), (359, 8, 8), 10)
    """
    text = os.fspath(name)
    folder = checked_folder(data_dir)
    if text in DATASETS:
        if target is not None:
            raise ValueError(
                f"target is {target!r}, but only a table has columns to choose; leave it out for "
                f"{text}"
            )
        return DATASETS[text](folder, dtype)
    if is_path(text):
        reading = Reading(target, task, task, dtype, preprocessing, images=images or ImageOptions())
        return load_file(expanded(text), reading)
    raise ValueError(_describe_unknown(text))


def checked_folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder that is searched first, after a check; None for None.

    Raises:
        ValueError: the folder does not exist.
    """
    folder = None if data_dir is None else expanded(data_dir)
    if folder is not None and not folder.is_dir():
        raise ValueError(
            f"data_dir is {shown(folder)!r}, which is not a folder; give one that exists"
        )
    return folder


def is_path(name: str) -> bool:
    """Return whether a name is the path of a file or folder, and not the name of a data set."""
    return name not in DATASETS and (is_file_path(name) or expanded(name).is_dir())


def load_digits(data_dir: Path | None = None, dtype: str = "float32") -> Dataset:
    """Load the 1,797 handwritten digits that come with the package.

    Args:
        data_dir: ignored; every loader takes it.
        dtype: ignored; images and labels are integers.

    Returns:
        x uint8 [N, 8, 8] from 0 to 16, y int32 [N] from 0 to 9. A fixed 20 % is the test part.
    """
    with resources.as_file(resources.files(__package__) / "digits.npz") as path:
        arrays = read_npz(path)
    examples = check_examples(arrays["x"], arrays["y"], ("digits, x", "digits, y"))
    train, test = split_test(examples, "digits")
    return Dataset("digits", train, test, classes=10, x_max=16.0)


def load_mnist(data_dir: Path | None = None, dtype: str = "float32") -> Dataset:
    """Load MNIST: x uint8 [N, 28, 28], y int32 [N] from 0 to 9; 60,000 and 10,000 examples.

    Raises:
        FileNotFoundError: its files are not found and cannot be downloaded.
        ValueError: a file is damaged or holds invalid values.
    """
    return _load_images("mnist", data_dir)


def load_fashion_mnist(data_dir: Path | None = None, dtype: str = "float32") -> Dataset:
    """Load Fashion-MNIST; the shapes, dtypes and errors are those of `load_mnist`."""
    return _load_images("fashion_mnist", data_dir)._replace(class_names=GARMENTS)


def load_california_housing(data_dir: Path | None = None, dtype: str = "float32") -> Dataset:
    """Load the California housing data of the 1990 census.

    Returns:
        x [N, 8] with the columns `housing.FEATURES`, y [N], the median house value in units of
        100,000 dollars, both in `dtype`; 20,640 examples. A fixed 20 % is the test part; its
        examples depend on the order of the rows in the file.

    Raises:
        FileNotFoundError: its file is not found and cannot be downloaded.
        ValueError: the file is damaged or holds invalid values.
    """
    (path,) = find_files("california_housing", data_dir)
    is_archive = path.suffix == ".npz"
    examples = read_keras_archive(path, dtype) if is_archive else read_housing_table(path, dtype)
    train, test = split_test(examples, shown(path))
    columns = dict(zip(FEATURES, train.x.T.astype(np.float64), strict=True))
    frame = Frame(path, TARGET, columns, range(train.size))
    rules = fit_preprocessing(frame, np.arange(train.size))
    return Dataset("california_housing", train, test, 0, 0.0, FEATURES, (), rules)


DATASETS: dict[str, Loader] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion_mnist": load_fashion_mnist,
    "california_housing": load_california_housing,
}
"""The loaders of the data sets, by name."""


def _describe_unknown(name: str) -> str:
    near = difflib.get_close_matches(name, DATASETS, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return (
        f"unknown data set {name!r}{guess}; give one of {', '.join(DATASETS)}, a path ending in "
        f"{', '.join(SUFFIXES)}, or a folder of images"
    )


def _load_images(name: str, data_dir: Path | None) -> Dataset:
    files = find_files(name, data_dir)
    if len(files) == 1:
        dataset = load_archive(files[0], name, Reading())
    else:
        train, test = _read_part(files[0], files[1]), _read_part(files[2], files[3])
        check_parts(train, test, name)
        dataset = Dataset(name, train, test, classes=10, x_max=255.0)
    _check_images(dataset, files[0])
    return dataset._replace(classes=10)


def _read_part(images: Path, labels: Path) -> Examples:
    return check_examples(read_idx(images, 3), read_idx(labels, 1), (shown(images), shown(labels)))


def _check_images(dataset: Dataset, path: Path) -> None:
    for part in (dataset.train, dataset.test):
        if part.x.dtype != "uint8" or part.x.shape[1:] != (28, 28):
            raise ValueError(
                f"{shown(path)}: one image of {dataset.name} is {part.x.dtype} {part.x.shape[1:]} "
                "instead of uint8 (28, 28); fetch the file again"
            )
        if part.y.dtype != "int32" or part.y.max() >= 10:
            raise ValueError(
                f"{shown(path.parent)}: {dataset.name} has the label {part.y.max()}; its labels go "
                "from 0 to 9, so fetch its files again"
            )
