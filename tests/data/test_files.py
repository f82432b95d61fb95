"""Data sets and inputs from .npz and .csv files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainlib.data import load_dataset, load_examples
from trainlib.data.examples import TEST_SEED
from trainlib.data.files import load_file
from trainlib.data.reading import Reading

X = np.arange(20.0).reshape(10, 2)
LABELS = np.arange(10) % 3
TABLE = "a,b,y\n" + "".join(f"{i},{i}.5,{i % 3}\n" for i in range(10))


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def csv(path: Path, text: str) -> Path:
    (path / "data.csv").write_text(text)
    return path / "data.csv"


def test_an_archive_with_a_test_part_keeps_it(tmp_path: Path) -> None:
    path = npz(tmp_path, x_train=X, y_train=LABELS, x_test=X[:4], y_test=LABELS[:4], note=[1])
    data = load_dataset(path)
    assert (data.name, data.classes, data.x_max, data.feature_names) == ("data.npz", 3, 0.0, ())
    assert (data.train.size, data.test.size) == (10, 4)
    assert (data.train.x.dtype, data.train.y.dtype) == (np.float32, np.int32)


def test_an_archive_without_a_test_part_gets_the_fixed_test_part(tmp_path: Path) -> None:
    data = load_dataset(npz(tmp_path, x=X, y=X[:, :1]))
    assert data.classes == 0
    assert (data.test.y.dtype, data.test.y.ndim) == (np.float32, 1)
    places = sorted(np.random.default_rng(TEST_SEED).permutation(10)[8:])
    assert data.test.y.tolist() == X[places, 0].tolist()


def test_an_archive_of_images_stays_uint8(tmp_path: Path) -> None:
    data = load_dataset(npz(tmp_path, x=np.ones((10, 4, 4), np.uint8), y=LABELS))
    assert (data.x_max, data.train.x.dtype) == (255.0, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "holds the arrays x; give x_train, y_train, x_test, y_test, or x and y"),
        ({"x": X, "y": LABELS[:9]}, "x has 10 examples but .*y has 9"),
        ({"x": X[:2], "y": LABELS[:2]}, "too few"),
        ({"x": X, "y": LABELS * 0}, "at least 2 classes"),
        ({"x": X, "y": LABELS - 1}, "data.npz, y has the label -1"),
        ({"x": X * np.nan, "y": LABELS}, "data.npz, x has 20 values that are NaN"),
        (
            {"x_train": X, "y_train": LABELS, "x_test": X, "y_test": LABELS + 1},
            "label 3, but the training labels end at 2",
        ),
        (
            {"x_train": X, "y_train": LABELS, "x_test": X[:, :1], "y_test": LABELS},
            r"x is float32 \(2,\) in the training part but float32 \(1,\)",
        ),
    ],
)
def test_invalid_archives_raise_an_error(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_dataset(npz(tmp_path, **arrays))


def test_a_target_for_an_archive_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="target is 'y'"):
        load_dataset(npz(tmp_path, x=X, y=LABELS), target="y")


def test_a_table_predicts_its_last_column(tmp_path: Path) -> None:
    data = load_dataset(csv(tmp_path, TABLE))
    assert (data.name, data.classes, data.x_max) == ("data.csv", 3, 0.0)
    assert data.feature_names == ("a", "b")
    assert (data.train.x.shape, data.test.x.shape) == ((8, 2), (2, 2))
    assert (data.train.x.dtype, data.train.y.dtype) == (np.float32, np.int32)
    assert np.array_equal(data.train.x[:, 0] % 3, data.train.y)


def test_a_table_predicts_the_column_that_target_names(tmp_path: Path) -> None:
    data = load_dataset(csv(tmp_path, TABLE), target="b")
    assert (data.classes, data.feature_names) == (0, ("a", "y"))
    assert np.array_equal(data.train.y, data.train.x[:, 0] + 0.5)


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        (TABLE, "z", "target is 'z', .* give one of a, b, y"),
        ("y\n1\n0\n1\n", None, "has no columns to predict 'y' from"),
        (TABLE + "1,1e39,1\n", None, "1 values that are NaN or infinite as float32"),
        (TABLE + "1,1,\n1,2\n", None, "line 13: 2 cells, but the header has 3"),
    ],
)
def test_invalid_tables_raise_an_error(
    tmp_path: Path, text: str, target: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_dataset(csv(tmp_path, text), target=target)


def test_a_missing_file_raises_an_error(tmp_path: Path) -> None:
    for name in ("a.npz", "a.csv", "a.csv.gz"):
        with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
            load_dataset(tmp_path / name)
        with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
            load_examples(tmp_path / name)


def test_inputs_are_read_from_an_archive(tmp_path: Path) -> None:
    assert np.array_equal(load_examples(npz(tmp_path, x=X, x_test=X[:1])), X)
    assert load_examples(npz(tmp_path, x_test=np.ones((1, 2, 2), np.uint8))).dtype == np.uint8
    with pytest.raises(ValueError, match="holds the arrays z; give x"):
        load_examples(npz(tmp_path, z=X))


def test_inputs_are_read_from_the_feature_columns_of_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    path = csv(tmp_path, "a,b,name\n1,2,one\n3,4,two\n")
    picked = load_examples(path, feature_names=("b", "a"))
    assert (picked.dtype, picked.tolist()) == (np.float32, [[2, 1], [4, 3]])
    assert load_examples(path, target="name").tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="no column 'c'"):
        load_examples(path, feature_names=("a", "c"))
    with pytest.raises(ValueError, match="'one' is not a number"):
        load_examples(path)


def test_numbers_are_read_in_float64_where_it_is_asked_for(tmp_path: Path) -> None:
    third = 1 / 3
    table = csv(tmp_path, "a,y\n" + f"{third!r},{third!r}\n" * 10)
    data = load_dataset(table, dtype="float64")
    assert data.train.x[0, 0] == data.train.y[0] == third
    assert load_examples(table, "y", dtype="float64")[0, 0] == third
    data = load_dataset(npz(tmp_path, x=X + third, y=X[:, 0] + third), dtype="float64")
    assert data.test.x[0, 0] == data.test.y[0]
    assert data.train.x.dtype == data.train.y.dtype == np.float64


def test_inputs_from_another_kind_of_file_raise_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not end in .npz, .csv, .csv.gz"):
        load_examples(tmp_path / "a.txt")


TOKENS = np.array([[3, 1, 0], [2, 0, 0], [1, 1, 4], [2, 3, 1]])


def test_integers_are_sequences_where_the_model_takes_them(tmp_path):
    path = npz(tmp_path, x_train=TOKENS, y_train=[0, 1, 0, 1], x_test=TOKENS + 2, y_test=[0] * 4)
    dataset = load_file(path, Reading(sequences=True))
    assert (dataset.train.x.dtype, dataset.vocabulary) == (np.int32, 7)
    assert dataset.train.x.tolist() == TOKENS.tolist()
    plain = load_dataset(path)
    assert (plain.train.x.dtype, plain.vocabulary) == (np.float32, 0)
    assert load_examples(path, sequences=True).dtype == np.int32
    floats = npz(tmp_path, x=TOKENS + 0.5, y=[0, 1, 0, 1] * 1)
    assert load_file(floats, Reading(sequences=True)).vocabulary == 0


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (-TOKENS, "x holds -4; sequences are"),
        (TOKENS * 0, "index 0 holds 0 only, which is padding"),
    ],
)
def test_invalid_sequences_are_refused(tmp_path, tokens, message):
    with pytest.raises(ValueError, match=message):
        load_file(npz(tmp_path, x=tokens, y=[0, 1, 0, 1]), Reading(sequences=True))


def test_an_archive_may_have_a_validation_part_and_weights(tmp_path):
    rows = {"x_validation": X[:3], "y_validation": [1, 0, 1]}
    labels = np.arange(len(X)) % 2
    dataset = load_dataset(npz(tmp_path, x=X, y=labels, weight=labels + 1, **rows))
    assert dataset.validation is not None and dataset.validation.y.tolist() == [1, 0, 1]
    assert dataset.weights is not None
    assert dataset.weights.tolist() == (dataset.train.y + 1).tolist()
    for weight in (labels[1:], labels * 0, labels - 1):
        with pytest.raises(ValueError, match="weight ha|weight holds weights below 0, or 0 only"):
            load_dataset(npz(tmp_path, x=X, y=labels, weight=weight))


TWO = {
    "x_wide": np.arange(20.0).reshape(10, 2),
    "x_picture": np.zeros([10, 4, 4, 3], np.uint8),
    "y_kind": np.arange(10) % 3,
    "y_price": np.arange(10.0),
}


def test_arrays_of_several_inputs_and_outputs_have_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", **TWO, weight=np.arange(1.0, 11))
    dataset = load_file(tmp_path / "two.npz", Reading())
    train, test = dataset.train, dataset.test
    assert (train.size, test.size, dataset.classes, dataset.x_max) == (8, 2, 3, 0.0)
    assert dataset.output_classes == {"kind": 3, "price": 0} and not dataset.stratified
    assert [*train.x] == ["wide", "picture"] and [*train.y] == ["kind", "price"]
    assert train.x["picture"].dtype == np.uint8 and train.y["kind"].dtype == np.int32
    np.testing.assert_array_equal(train.x["wide"][:, 0], 2 * train.y["price"])
    np.testing.assert_array_equal(dataset.weights, train.y["price"] + 1)
    np.testing.assert_array_equal(train.y["kind"], train.y["price"] % 3)


def test_parts_of_several_inputs_have_names(tmp_path: Path) -> None:
    parts = {
        f"{name}_{part}": x for part in ("train", "test", "validation") for name, x in TWO.items()
    }
    np.savez(tmp_path / "parts.npz", **parts)
    dataset = load_file(tmp_path / "parts.npz", Reading())
    assert dataset.validation is not None
    for part in (dataset.train, dataset.test, dataset.validation):
        np.testing.assert_array_equal(part.x["wide"], TWO["x_wide"])
    inputs = load_examples(tmp_path / "parts.npz")
    assert [*inputs] == ["wide", "picture"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.ones([10, 2])}, "holds x and x_wide: give each input a name"),
        ({"x_wide": np.ones([9, 2])}, "x_wide has 9 examples but .* x_picture has 10"),
        ({"y_price": np.ones(9)}, "x_wide has 10 examples but .* y_price has 9"),
        ({"y_kind": np.full(10, -1)}, "y_kind has the label -1"),
        ({"y_kind": np.zeros(10, int)}, "y_kind: every training label is 0"),
        ({"x_wide": np.full([10, 2], np.nan)}, "x_wide has 20 values that are NaN"),
        ({"weight_price": np.ones(10)}, "holds weight_price: weights are those of the examples"),
    ],
)
def test_named_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, changes: Any, message: str
) -> None:
    np.savez(tmp_path / "two.npz", **(TWO | changes))
    with pytest.raises(ValueError, match=message):
        load_file(tmp_path / "two.npz", Reading())


def test_parts_with_other_names_are_refused(tmp_path: Path) -> None:
    x, y = np.ones([4, 2]), np.arange(4.0)
    arrays = {"x_a_train": x, "y_train": y, "x_b_test": x, "y_test": y}
    np.savez(tmp_path / "parts.npz", **arrays)
    with pytest.raises(ValueError, match="training part has x_a, y, the test part x_b, y"):
        load_file(tmp_path / "parts.npz", Reading())
