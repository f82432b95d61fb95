"""Tables as columns of numbers and of text."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.tables import INVALID, write

import trainlib
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
    with pytest.raises(ValueError, match="t.csv: it has text, empty cells.*: pip install pandas$"):
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


@pytest.mark.parametrize(
    ("text", "expected", "target"),
    [
        ("a;t;y\n1,5;u;2,25\n-1.234,5;v;3\n", [1.5, -1234.5], ["2.25", "3"]),
        ("a;b;y\n1.000;1,5;1\n12.500;0,1;0\n", [1000, 12500], ["1", "0"]),
        ("a;y\n1.000;1,5\n2.000;2,5\n", [1000, 2000], ["1.5", "2.5"]),
        ('a,b,y\n"1,5",2,1\n"2,0",1,0\n', [1.5, 2], ["1", "0"]),
        ('a,b,y\n"1,234.5",2,1\n"2,000",1,0\n', [1234.5, 2000], ["1", "0"]),
        ("a;b;y\n1,234;0.5;1.500\n2,000;1;2\n", [1234, 2000], ["1.500", "2"]),
        ("a;t;y\n1.000;u;1\n2.500;v;0\n", [1, 2.5], ["1", "0"]),
        ("a;b;y\n1,5;1.2.3;u\n;1.5;v\n", [1.5, np.nan], ["u", "v"]),
    ],
)
def test_numbers_are_read_with_the_decimal_mark_that_the_table_shows(
    tmp_path: Path, text: str, expected: list[float], target: list[str]
) -> None:
    pytest.importorskip("pandas")
    frame = read_frame(write(tmp_path / "t.csv", text))
    np.testing.assert_array_equal(frame.columns["a"], expected)
    assert frame.columns["y"].tolist() == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a;b;y\n1,5;1;1\n1,0;3.5;0\n",
            "line 3, column 'b': '3.5' has a decimal point, but .*"
            "line 2, column 'a': '1,5' a decimal comma",
        ),
        ("a;y\n1,5;1\n2.5;0\n", "line 3, column 'a': '2.5' has a decimal point, but .*line 2"),
        ("a;t;y\n7;u;1\n1,000;v;0\n", "line 3, column 'a': '1,000' may be 1.000 or 1000"),
        ("a;y\n7;1.000\n8;1,000\n", "line 3, column 'y': '1,000' may be 1.000 or 1000"),
    ],
)
def test_numbers_with_two_meanings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=message):
        read_frame(write(tmp_path / "t.csv", text))


def test_a_table_without_decimals_has_the_mark_of_that_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    path = write(tmp_path / "t.csv", "a;y\n1.000;1\n2.000;0\n")
    assert read_frame(path).columns["a"].tolist() == [1, 2]
    assert read_frame(path, decimal=",").columns["a"].tolist() == [1000, 2000]
    write(path, "a;y\n1,000;1\n2,000;0\n")
    assert read_frame(path, decimal=".").columns["a"].tolist() == [1000, 2000]
    assert read_frame(path, decimal=",").columns["a"].tolist() == [1, 2]
    write(path, "a;y\n1.5;1\n2.000;0\n")
    assert read_frame(path, decimal=",").columns["a"].tolist() == [1.5, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *INVALID,
        ('a,b\n"1"x,2\n', "cannot be read as a table"),
        ("5.1,-3.5,1.4,setosa\n4.9,3.0,1.4,setosa\n", "has no header"),
        (b"a,b\n\xe9,1\n", "cannot be read as a table .* text in UTF-8"),
    ],
)
def test_invalid_tables_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_frame(write(tmp_path / "t.csv", text))


def test_years_may_be_the_names_of_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "country,2019,2020,2021\nNorway,1,2,3\n")
    assert tuple(read_frame(path).columns) == ("country", "2019", "2020", "2021")


def test_parquet_is_read(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = write(tmp_path / "t.parquet", b"PAR1")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_frame(path)
    columns = {
        "a": [1, None],
        "t": ["u", None],
        "s": pandas.array(["u", None], "string"),
        "c": pandas.Categorical(["v", "u"]),
        "i": pandas.array([1, None], "Int64"),
        "b": [True, False],
        "n": ["1,5", "2"],
        "d": pandas.to_datetime(["2024-01-02", None]),
        "code": [1, 2],
        "y": [True, False],
    }
    pandas.DataFrame(columns).to_parquet(path)
    frame = read_frame(path, text=["code"])
    for name, expected in {"a": [1, np.nan], "i": [1, np.nan], "b": [1, 0], "n": [1.5, 2]}.items():
        np.testing.assert_array_equal(frame.columns[name], expected)
    assert frame.columns["t"].tolist() == frame.columns["s"].tolist() == ["u", None]
    assert frame.columns["c"].tolist() == ["v", "u"]
    assert frame.columns["d"].tolist() == ["2024-01-02 00:00:00", None]
    assert frame.columns["code"].tolist() == ["1", "2"]
    assert frame.columns["y"].tolist() == ["True", "False"]
    assert frame.cell("a", 1).endswith("t.parquet, row 2, column 'a'")


def test_integers_in_parquet_with_an_empty_cell_stay_integers(tmp_path: Path) -> None:
    """Of other programs than pandas the file does not say that they are nullable."""
    pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"x": [1.5, None, 2.0, 3.0], "y": pyarrow.array([1, 0, None, 2**53 + 1])})
    parquet.write_table(table, tmp_path / "t.parquet")
    frame = read_frame(tmp_path / "t.parquet")
    assert frame.columns["y"].tolist() == ["1", "0", None, "9007199254740993"]
    np.testing.assert_array_equal(frame.columns["x"], [1.5, np.nan, 2, 3])


def test_a_parquet_file_of_more_cells_than_it_may_hold_is_refused(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "t.parquet"
    pandas.DataFrame({"a": [1.0] * 100, "y": [2.0] * 100}).to_parquet(path)
    assert read_frame(path).columns["a"].shape == (100,)
    monkeypatch.setenv("TRAINLIB_MAX_DATA_GIB", "1e-6")
    with pytest.raises(ValueError, match="but holds more than 1,073, .*TRAINLIB_MAX_DATA_GIB"):
        read_frame(path)


def test_parquet_without_pyarrow_names_it(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    path = write(tmp_path / "t.parquet", b"PAR1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ValueError, match="which needs pyarrow: pip install pyarrow$"):
            read_frame(path)


def test_in_a_process_without_pandas_plain_tables_are_read_and_others_name_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "pandas.py").write_text("raise ModuleNotFoundError('pandas')")
    write(tmp_path / "plain.csv", "a,y\n1,u\n2,v\n")
    write(tmp_path / "text.csv", "a,y\nred,u\nblue,v\n")
    write(tmp_path / "t.parquet", b"PAR1")
    code = (
        "from pathlib import Path\n"
        "from trainlib.data.frames import read_frame\n"
        "print(read_frame(Path('plain.csv')).columns['a'].tolist())\n"
        "for name in ('text.csv', 't.parquet'):\n"
        "    try:\n"
        "        read_frame(Path(name))\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    found = [str(Path(trainlib.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join([str(tmp_path), *filter(None, found)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "[1.0, 2.0]",
        "text.csv: it has text, empty cells or decimal commas, which needs pandas: "
        "pip install pandas",
        "t.parquet: it is a Parquet file, which needs pandas: pip install pandas",
    ]


def test_dates_are_days_since_1970_in_utc() -> None:
    pytest.importorskip("pandas")
    cells = np.array(["1970-01-02", None, "1970-01-01T12:00", "1970-01-01T00:00+01:00"], object)
    np.testing.assert_allclose(parse_dates(cells, "ISO8601"), [1, np.nan, 0.5, -1 / 24])
    assert parse_dates(np.array(["03.01.1970"], object), "%d.%m.%Y").tolist() == [2.0]
