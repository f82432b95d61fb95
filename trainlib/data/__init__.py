"""Data sets as NumPy arrays: four by name, and .npz and .csv files.

datasets: the registry `DATASETS` and `load_dataset`.
examples: `Examples` and `Dataset`, and the functions that split them.
files: .npz and .csv files of the user.
from_function: data sets that a custom function returns.
housing: the California housing data.
idx: the IDX format of MNIST and Fashion-MNIST.
search: the folders searched for a data set, and its download.
tables: .npz archives and .csv tables.
validation: checks of arrays that come from files.

Loading does not import TensorFlow; Keras is imported only to download a data set that is not
found. Nothing read from a file is unpickled.
"""

from __future__ import annotations

from trainlib.data.datasets import DATASETS, load_dataset
from trainlib.data.examples import Dataset, Examples, split, take
from trainlib.data.files import is_file_path, load_examples
from trainlib.data.from_function import as_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "Examples",
    "as_dataset",
    "is_file_path",
    "load_dataset",
    "load_examples",
    "split",
    "take",
]
