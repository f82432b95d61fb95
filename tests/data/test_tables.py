"""The readers of .npz archives and .csv tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from helpers.tables import INVALID, write

from trainlib.data.tables import read_npz, read_numbers, read_table


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_is_read(tmp_path: Path, packed: bool) -> None:
    text = b'\xef\xbb\xbfa, "b",c\r\n1,2.5,x\r\n\r\n-3,4e2,"y,z"\r\n'
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(text) if packed else text.replace(b' "b"', b'"b"'))
    table = read_table(path)
    assert table.names[0] == "a" and table.names[2] == "c"
    assert table.lines == [2, 4]
    assert read_numbers(table, [table.names[1], "a"]).tolist() == [[2.5, 1.0], [400.0, -3.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *INVALID,
        ("a,b\n1,2,3\n", "line 2: 3 cells"),
        ('a,b\n"1"x,2\n', "cannot be read as .csv"),
    ],
)
def test_invalid_tables_raise_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path / "t.csv", text))


def test_unreadable_tables_raise_an_error(tmp_path: Path) -> None:
    for name, content in [
        ("latin.csv", b"a,b\n\xe9,1\n"),
        ("plain.csv.gz", b"a,b\n1,2\n"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n")[:-6]),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as .csv"):
            read_table(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="none.csv does not exist"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize("text", ["x", "", "1_000", "1 2"])
def test_the_first_cell_that_is_not_a_number_is_named(tmp_path: Path, text: str) -> None:
    table = read_table(write(tmp_path / "t.csv", f"a,b\n1,2\n3,{text}\n"))
    with pytest.raises(ValueError, match=f"line 3, column 'b': '{text}' is not a number"):
        read_numbers(table, ["a", "b"])
    assert read_numbers(table, ["a"]).tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize("text", ["nan", "inf", "-1e39"])
def test_values_that_are_not_finite_are_named(tmp_path: Path, text: str) -> None:
    table = read_table(write(tmp_path / "t.csv", f"a,b\n1,2\n3,{text}\n{text},1\n"))
    with pytest.raises(ValueError, match="2 values .* first in column 'b', line 3"):
        read_numbers(table, ["a", "b"])


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", "a,b\n1,2\n"))
    with pytest.raises(ValueError, match="no column 'c'; its columns are a, b"):
        read_numbers(table, ["c"])


def test_an_archive_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.ones(2))
    assert read_npz(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


def test_invalid_archives_raise_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError, match="a.npz does not exist"):
        read_npz(path)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(ValueError, match="object array, which is never unpickled"):
        read_npz(path)
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=1000))
    content = path.read_bytes()
    damaged = (content[:-100], content[:500] + b"\0" * 100 + content[600:], b"", b"text")
    for number, broken in enumerate(damaged):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="a.npz cannot be read as .npz"):
            read_npz(path), number
    with path.open("wb") as stream:
        np.save(stream, np.ones(3))
    with pytest.raises(ValueError, match="it is not an archive"):
        read_npz(path)
