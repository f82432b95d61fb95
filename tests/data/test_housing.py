"""The eight features of the California housing data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainlib.data.frames import read_frame
from trainlib.data.housing import FEATURES, read_housing_table, read_keras_archive

HEADER = (
    "median_house_value,ocean_proximity,longitude,latitude,housing_median_age,total_rooms,"
    "total_bedrooms,population,households,median_income\n"
)
ROW = "452600,NEAR BAY,-122.23,37.88,41,880,129,322,126,8.3252\n"
EXPECTED = [8.3252, 41, 880 / 126, 129 / 126, 322, 322 / 126, 37.88, -122.23]


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "housing.csv").write_text(text)
    return tmp_path / "housing.csv"


def test_the_features_are_computed_from_the_census_columns(tmp_path: Path) -> None:
    x, y = read_housing_table(write(tmp_path, HEADER + ROW))
    assert (x.dtype, y.dtype) == (np.float32, np.float32)
    assert np.allclose(x, [EXPECTED])
    assert np.allclose(y, [4.526])


def test_the_eight_features_are_read_unchanged(tmp_path: Path) -> None:
    text = ",".join(("MedHouseVal", *FEATURES)) + "\n4.5,1,2,3,4,5,6,7,8\n"
    x, y = read_housing_table(write(tmp_path, text))
    assert (x.tolist(), y.tolist()) == ([[1, 2, 3, 4, 5, 6, 7, 8]], [4.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'longitude'"),
        (HEADER + ROW.replace("129", ""), "line 2, column 'total_bedrooms' is empty"),
        (HEADER + ROW.replace("126", "0"), "households is 0 at example 0"),
    ],
)
def test_invalid_tables_raise_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_housing_table(write(tmp_path, text))


def test_the_published_table_has_its_shape_and_first_row(data_dir: Path) -> None:
    x, y = read_housing_table(data_dir / "cal_housing.csv.gz")
    assert (x.shape, y.shape) == ((20640, 8), (20640,))
    assert np.allclose(x[0], EXPECTED)
    assert y[0] == np.float32(4.526)
    assert (y.min(), y.max()) == (np.float32(0.14999), np.float32(5.00001))


@pytest.mark.parametrize("order", [range(8), (0, 1, 2, 5, 6, 7, 3, 4)])
def test_the_archive_of_keras_is_read_in_any_column_order(
    tmp_path: Path, data_dir: Path, order: tuple[int, ...]
) -> None:
    table = read_frame(data_dir / "cal_housing.csv.gz", "")
    numbers = np.stack(list(table.columns.values()), 1).astype(np.float32)
    path = tmp_path / "california_housing.npz"
    np.savez(path, x=numbers[:, list(order)], y=numbers[:, 8])
    x, y = read_keras_archive(path)
    expected = read_housing_table(data_dir / "cal_housing.csv.gz")
    assert np.allclose(x, expected.x)
    assert np.allclose(y, expected.y)


def test_an_archive_with_other_columns_raises_an_error(tmp_path: Path) -> None:
    path = tmp_path / "california_housing.npz"
    np.savez(path, x=np.ones((3, 8)), y=np.ones(3))
    with pytest.raises(ValueError, match="no column of x has the values of longitude"):
        read_keras_archive(path)
    np.savez(path, z=np.ones(3))
    with pytest.raises(ValueError, match="holds the arrays z; give x and y"):
        read_keras_archive(path)
