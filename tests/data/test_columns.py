"""The rules of columns: numbers, categories, dates."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from trainlib.data.column_fitting import MAX_CATEGORIES, fit_column
from trainlib.data.columns import CategoryColumn
from trainlib.data.frames import Frame


def frame(cells):
    """A table with one column: numbers, with None for empty cells, or text."""
    is_text = any(isinstance(x, str) for x in cells)
    column = np.array(cells, object if is_text else np.float64)
    return Frame(Path("t.csv"), "y", {"x": column}, range(2, len(column) + 2))


def fitted(cells, training=None):
    """The rule of a column, fitted to its first rows."""
    return fit_column(frame(cells), np.arange(training or len(cells)), "x")


def test_numbers_are_one_input_and_empty_cells_become_the_median_of_the_training_rows():
    rule = fitted([1, None, 4, 3, 100, 200], training=4)
    assert rule.inputs == ("x", "x=(empty)")
    assert rule.encode(frame([5, None])).x.tolist() == [[5, 0], [3, 1]]
    complete = fitted([1, 3])
    assert complete.inputs == ("x",)
    encoded = complete.encode(frame([None, 1.0]))
    assert encoded.x.tolist() == [[2], [1]]
    assert encoded.notes == (
        "column 'x': 1 empty cells, training had none: the median takes their place",
    )


def test_text_is_one_hot_as_pandas_has_it():
    pandas = pytest.importorskip("pandas")
    cells = ["red", "green", None, "red", "blue", "green", "blue", None]
    rule = fitted(cells)
    expected = pandas.get_dummies(pandas.Series(cells), dummy_na=True)
    assert rule.inputs == ("x=blue", "x=green", "x=red", "x=(empty)")
    np.testing.assert_array_equal(rule.encode(frame(cells)).x, expected)
    assert rule.scaled == (False,) * 4


def test_rare_and_further_categories_share_an_input():
    rule = fitted(["a", "a", "b", "b", "c"])
    assert rule.inputs == ("x=a", "x=b", "x=(other)")
    assert rule.encode(frame(["a", "c", "new", None])).x.tolist() == [
        [1, 0, 0],
        [0, 0, 1],
        [0, 0, 1],
        [0, 0, 0],
    ]
    many = [f"c{k:03}" for k in range(150) for _ in range(3 if k < 10 else 2)]
    rule = fitted(many)
    assert (len(rule.categories), rule.other) == (MAX_CATEGORIES, 50)
    assert rule.categories[:10] == tuple(f"c{k:03}" for k in range(10))


def test_a_new_category_is_no_category_and_is_reported():
    encoded = CategoryColumn("x", ("a", "b")).encode(frame(["new", "b", "new", None]))
    assert encoded.x.tolist() == [[0, 0], [0, 1], [0, 0], [0, 0]]
    assert encoded.notes == (
        "column 'x': 2 cells hold categories that are new: new",
        "column 'x': 1 empty cells, training had none: no category is theirs",
    )


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([None, None, 1], "empty"),
        ([None, None, "a"], "empty"),
        (["a", "a", "b"], "the same in every row"),
        (["a", "b", "a"], "different in every row"),
    ],
)
def test_columns_that_tell_nothing_are_left_out(cells, reason):
    assert fitted(cells, training=2) == reason


@pytest.mark.parametrize("bad", ["1x", "$1", "1,5", "3%", "1_0"])
def test_a_column_of_numbers_with_some_text_is_refused(bad):
    cells = [str(k) for k in range(40)] + [bad]
    with pytest.raises(ValueError, match="t.csv, line 42, column 'x': '.*' is not a number"):
        fitted(cells, training=30)


def test_a_column_with_many_different_numbers_and_some_text_is_refused():
    cells = [str(k) if k % 2 else "abc" for k in range(60)]
    with pytest.raises(ValueError, match="line 2, column 'x': 'abc' is not a number, but many"):
        fitted(cells)
    assert isinstance(fitted(["1", "2", "3+"] * 30), CategoryColumn)


def test_large_numbers_that_differ_little_are_taken_from_their_median():
    seconds = [1.7e9 + k for k in range(5)]
    rule = fitted(seconds)
    assert rule.encode(frame(seconds)).x.astype(np.float32)[:, 0].tolist() == [-2, -1, 0, 1, 2]
    others = fitted([1.7e9, 1.2e9]), fitted([2000, 2001]), fitted([1e9] * 3)
    assert [other.origin for other in others] == [0, 0, 0]


def test_text_in_a_column_that_training_knows_as_numbers_is_refused():
    with pytest.raises(ValueError, match="line 3, column 'x': 'two' is not a number"):
        fitted([1, 2]).encode(frame(["1", "two"]))
    with pytest.raises(ValueError, match="line 2, column 'x': the number is infinite"):
        fitted([1, 2]).encode(frame([np.inf, 1]))


FORMS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y")


@pytest.mark.parametrize("form", [*FORMS, "%d-%b-%Y", "%B %d, %Y"])
def test_dates_are_days_and_the_time_of_the_year_and_of_the_week(form):
    pytest.importorskip("pandas")
    days = [datetime.date(2023, 5, 17) + datetime.timedelta(13 * k) for k in range(31)]
    rule = fitted([day.strftime(form) for day in days])
    assert rule.inputs == ("x=days", *(f"x={f}({p})" for p in ("year", "week") for f in FUNCTIONS))
    assert rule.scaled == (True, False, False, False, False)
    encoded = rule.encode(frame([day.strftime(form) for day in days[:4]])).x
    assert encoded[:, 0].tolist() == [-195, -182, -169, -156]  # the median date is the origin
    since = np.array([(day - datetime.date(1970, 1, 1)).days for day in days[:4]])
    angle = 2 * np.pi * since[:, None] / [365.2425, 7]
    expected = np.stack([np.sin(angle), np.cos(angle)], 2).reshape(4, 4)
    np.testing.assert_allclose(encoded[:, 1:], expected, atol=1e-9)


FUNCTIONS = ("sin", "cos")


def test_times_of_day_and_empty_dates_have_inputs_of_their_own():
    pytest.importorskip("pandas")
    rule = fitted(["2024-01-01 06:00", None, "2024-01-01 18:00"])
    assert rule.inputs[-3:] == ("x=sin(day)", "x=cos(day)", "x=(empty)")
    encoded = rule.encode(frame(["2024-01-01 06:00", None])).x
    np.testing.assert_allclose(encoded[:, -3:], [[1, 0, 0], [0, 0, 1]], atol=1e-9)
    assert encoded[0, 0] == 0.25 and (encoded[1, :-1] == 0).all()


def test_dates_that_may_be_read_in_two_ways_are_refused():
    pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="line 2, column 'x': the day or the month may be first"):
        fitted(["01/02/2024", "03/04/2024"])
    assert fitted(["02/02/2024", "03/03/2024"]).format == "%m/%d/%Y"
    with pytest.raises(ValueError, match="line 3, .*'02.01.2024' has another form than '2024-01-0"):
        fitted(["2024-01-01", "02.01.2024"])
    assert isinstance(fitted(["1.2.3", "1.2.4", "1.2.3", "1.2.4"]), CategoryColumn)


def test_a_cell_that_is_no_date_of_the_run_is_refused():
    pytest.importorskip("pandas")
    rule = fitted(["2024-01-01", "2024-02-01"])
    with pytest.raises(ValueError, match="line 3, column 'x': 'soon' is not a date of the form YY"):
        rule.encode(frame(["2024-01-01", "soon"]))
