"""The California housing data: the eight usual features from the columns of the census table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainlib.data.archives import Array, read_npz
from trainlib.data.csv_text import read_names
from trainlib.data.examples import Examples
from trainlib.data.frames import read_frame
from trainlib.data.validation import check_examples
from trainlib.training.paths import shown

FEATURES = (
    "MedInc",
    "HouseAge",
    "AveRooms",
    "AveBedrms",
    "Population",
    "AveOccup",
    "Latitude",
    "Longitude",
)
TARGET = "MedHouseVal"

# Each column of the census table with its largest value, by which `read_keras_archive` identifies
# it: Keras's file has no column names, and their documented order is not the real one.
_CENSUS_MAXIMA = {
    "longitude": -114.31,
    "latitude": 41.95,
    "housing_median_age": 52.0,
    "total_rooms": 39320.0,
    "total_bedrooms": 6445.0,
    "population": 35682.0,
    "households": 6082.0,
    "median_income": 15.0001,
}
_CENSUS_TARGET = "median_house_value"
_TARGET_UNIT = 100_000.0


def read_housing_table(path: Path, dtype: str = "float32") -> Examples:
    """Read the California housing data from a table.

    Args:
        path: a .csv or .csv.gz table whose columns have either the names of the census table
            (longitude to median_house_value, in dollars) or those of `FEATURES` and `TARGET`
            (in units of 100,000 dollars). Other columns are ignored.
        dtype: "float32" or "float64". Default: "float32".

    Returns:
        x [N, 8] in the order of `FEATURES`, y [N] in units of 100,000 dollars.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file or its values are not valid.
    """
    given = read_names(path)
    names = (*FEATURES, TARGET) if TARGET in given else (*_CENSUS_MAXIMA, _CENSUS_TARGET)
    frame = read_frame(path, "", text={*given} - {*names})
    columns = {name: frame.numbers(name) for name in names}
    if TARGET in given:
        x = np.stack([columns[name] for name in FEATURES], 1)
        return _examples(x, columns[TARGET], path, dtype)
    return _from_census(columns, path, dtype)


def read_keras_archive(path: Path, dtype: str = "float32") -> Examples:
    """Read the California housing data from the archive that Keras publishes.

    Args:
        path: an .npz archive with the census columns x [N, 8], in any order, and the target
            y [N] in dollars.
        dtype: "float32" or "float64". Default: "float32".

    Returns:
        The same as `read_housing_table`; the order of the examples may differ.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file or its values are not valid.
    """
    arrays = read_npz(path)
    if "x" not in arrays or "y" not in arrays:
        raise ValueError(
            f"{shown(path)} holds the arrays {', '.join(arrays) or 'none'}; give x and y"
        )
    x, y = check_examples(
        arrays["x"], arrays["y"], (f"{shown(path)}, x", f"{shown(path)}, y"), dtype
    )
    columns: dict[str, Array] = {_CENSUS_TARGET: y.astype(np.float64)}
    for column in x.reshape(len(x), -1).T.astype(np.float64):
        for name, maximum in _CENSUS_MAXIMA.items():
            if np.isclose(column.max(), maximum, rtol=1e-5):
                columns[name] = column
    missing = [name for name in _CENSUS_MAXIMA if name not in columns]
    if missing:
        raise ValueError(
            f"{shown(path)}: no column of x has the values of {', '.join(missing)}; give Keras's "
            "california_housing.npz unchanged, or a .csv with column names"
        )
    return _from_census(columns, path, dtype)


def _from_census(columns: Mapping[str, Array], path: Path, dtype: str) -> Examples:
    households = columns["households"]
    if households.min() <= 0:
        raise ValueError(
            f"{shown(path)}: households is {households.min():g} at example {households.argmin()}; "
            "it divides other columns, so give numbers above 0"
        )
    x = np.stack(
        [
            columns["median_income"],
            columns["housing_median_age"],
            columns["total_rooms"] / households,
            columns["total_bedrooms"] / households,
            columns["population"],
            columns["population"] / households,
            columns["latitude"],
            columns["longitude"],
        ],
        axis=1,
    )
    return _examples(x, columns[_CENSUS_TARGET] / _TARGET_UNIT, path, dtype)


def _examples(x: Array, y: Array, path: Path, dtype: str) -> Examples:
    return check_examples(
        x, y, (f"{shown(path)}, the features", f"{shown(path)}, the target"), dtype
    )
