"""Tables as columns of numbers and of text."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.tables import INVALID, write

from trainlib.data.frames import parse_dates, read_frame


@pytest.fixture
def no_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `import pandas` fail."""
    monkeypatch.setitem(sys.modules, "pandas", None)


TABLE = "a,b,kind\n1,2.5,x\n-3,1e2,y\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", TABLE),
        ("t.csv", TABLE.replace("\n", "\r\n")),
        ("t.csv", b"\xef\xbb\xbf" + TABLE.encode()),
        ("t.csv", TABLE.encode("utf-16")),
        ("t.csv", TABLE.replace(",", ";")),
        ("t.tsv", TABLE.replace(",", "\t")),
        ("t.csv", TABLE.replace(",", "|")),
        ("t.csv", 'a, "b","kind"\n1 , 2.5,"x"\n\n"-3",1e2, "y"\n'),
        ("t.csv.gz", gzip.compress(TABLE.encode(), mtime=0)),
    ],
)
@pytest.mark.usefixtures("no_pandas")
def test_numbers_are_read_without_pandas_in_every_form_of_a_table(
    tmp_path: Path, name: str, content: str | bytes
) -> None:
    frame = read_frame(write(tmp_path / name, content))
    assert list(frame.columns) == ["a", "b", "kind"]
    assert (frame.target, frame.size) == ("kind", 2)
    assert frame.columns["a"].tolist() == [1.0, -3.0]
    assert frame.columns["b"].tolist() == [2.5, 100.0]
    assert frame.columns["kind"].tolist() == ["x", "y"]


@pytest.mark.parametrize("cell", ["red", "", "nan"])
@pytest.mark.usefixtures("no_pandas")
def test_what_needs_pandas_says_so(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path / "t.csv", f"a,y\n1,0\n{cell},1\n")
    with pytest.raises(ValueError, match="t.csv: it has text or empty.*: pip install pandas$"):
        read_frame(path)


def test_empty_cells_are_missing_and_text_is_kept_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    text = 'n,t,flag,y\n1, red ,True,None\n,?,,\nNA,"a, ""b""",false,NA\n'
    frame = read_frame(write(tmp_path / "t.csv", text))
    np.testing.assert_array_equal(frame.columns["n"], [1, np.nan, np.nan])
    assert frame.columns["t"].tolist() == ["red", None, 'a, "b"']
    np.testing.assert_array_equal(frame.columns["flag"], [1, np.nan, 0])
    assert frame.columns["y"].tolist() == ["None", None, "NA"]
    assert frame.cell("t", 2).endswith("t.csv, line 4, column 't'")


def test_columns_that_a_run_knows_as_text_stay_text(tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path / "t.csv", "code,y\n01,1\n2,0\n"), text=["code"])
    assert frame.columns["code"].tolist() == ["01", "2"]


def test_numbers_are_exact(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    numbers = np.random.default_rng(0).normal(size=200) * 1e-7
    text = "a,t,y\n" + "".join(f"{x!r},u,1\n" for x in numbers.tolist())
    frame = read_frame(write(tmp_path / "t.csv", text))
    assert frame.columns["a"].tolist() == numbers.tolist()


def test_decimal_commas_are_read_where_the_comma_separates_no_cells(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    path = write(tmp_path / "t.csv", "a;t;y\n1,5;u;2,25\n-1.234,5;v;3\n")
    frame = read_frame(path)
    assert frame.columns["a"].tolist() == [1.5, -1234.5]
    assert frame.columns["y"].tolist() == ["2.25", "3"]
    write(path, "a;b;y\n1,5;2.5;1\n1,0;3.5;0\n")
    with pytest.raises(ValueError, match="'a' has decimal commas and column 'b' decimal points"):
        read_frame(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *INVALID,
        ('a,b\n"1"x,2\n', "cannot be read as a table"),
        (b"a,b\n\xe9,1\n", "cannot be read as a table .* text in UTF-8"),
    ],
)
def test_invalid_tables_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_frame(write(tmp_path / "t.csv", text))


def test_parquet_is_read_or_names_the_package_that_is_missing(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = write(tmp_path / "t.parquet", b"PAR1")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match="which needs pyarrow: pip install pyarrow$"):
            read_frame(path)
        return
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_frame(path)
    nullable = pandas.array(["u", None], "string")
    table = pandas.DataFrame({"a": [1, None], "t": ["u", None], "s": nullable, "y": [True, False]})
    table.to_parquet(path)
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.columns["a"], [1, np.nan])
    assert frame.columns["t"].tolist() == frame.columns["s"].tolist() == ["u", None]
    assert frame.columns["y"].tolist() == ["True", "False"]


def test_dates_are_days_since_1970_in_utc() -> None:
    pytest.importorskip("pandas")
    cells = np.array(["1970-01-02", None, "1970-01-01T12:00", "1970-01-01T00:00+01:00"], object)
    np.testing.assert_allclose(parse_dates(cells, "ISO8601"), [1, np.nan, 0.5, -1 / 24])
    assert parse_dates(np.array(["03.01.1970"], object), "%d.%m.%Y").tolist() == [2.0]
