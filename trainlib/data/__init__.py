"""Data sets as NumPy arrays: four by name, .npz archives, tables, and folders of images.

archives: .npz archives.
array_data, named_arrays: data sets of arrays by name.
cells: the cells of a table: empty, number or text, and the decimal mark.
columns: the rules of columns of numbers, categories and dates.
column_fitting: fits these rules to the training rows.
csv_text: text files of tables, their delimiter and their header.
datasets: the registry `DATASETS` and `load_dataset`.
examples: `Examples` and `Dataset`, and the functions that split them.
files: .npz archives and tables, as data sets.
frames: tables as columns of numbers and of text.
from_function: data sets that a custom function returns.
housing: the California housing data.
idx: the IDX format of MNIST and Fashion-MNIST.
image_files: the images in files, as one array.
image_folder: folders with a subfolder of images for each class.
image_headers: the sizes of images.
image_listing: the files in such folders.
labels: the column to predict, as classes or numbers.
limits: the largest size of decompressed files.
pipelines: `tf.data` pipelines that a custom function returns.
reading: `Reading`, the options with which a file is read.
streams: pipelines that are read again in each epoch.
preprocessing: `TablePreprocessing`, the rules that turn columns into a model's inputs.
search: the folders searched for a data set, and its download.
table_graph: the rules of a table's columns as operations of TensorFlow.
validation: checks of arrays that come from files.

Except for `table_graph`, TensorFlow is imported only to decode images, and Keras only to download a
data set that is not found. Nothing read from a file is unpickled.
"""

from __future__ import annotations

from trainlib.data.datasets import DATASETS, load_dataset
from trainlib.data.examples import Dataset, Examples, split, take
from trainlib.data.files import load_examples
from trainlib.data.from_function import as_dataset
from trainlib.data.image_files import ImageOptions
from trainlib.data.preprocessing import TablePreprocessing

__all__ = [
    "DATASETS",
    "Dataset",
    "Examples",
    "ImageOptions",
    "TablePreprocessing",
    "as_dataset",
    "load_dataset",
    "load_examples",
    "split",
    "take",
]
