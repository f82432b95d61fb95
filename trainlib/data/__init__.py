"""Data sets as NumPy arrays: four known ones and the user's own files.

Loading never imports TensorFlow; Keras is imported only when a data set is found nowhere and
has to be downloaded. Nothing read from a file is ever unpickled.
"""

from __future__ import annotations

from trainlib.data.datasets import DATASETS, load_dataset
from trainlib.data.own import load_examples
from trainlib.data.records import Dataset, Examples, split, take

__all__ = [
    "DATASETS",
    "Dataset",
    "Examples",
    "load_dataset",
    "load_examples",
    "split",
    "take",
]
