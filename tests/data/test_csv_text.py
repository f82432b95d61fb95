"""Text files of tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from helpers.tables import write

from trainlib.data.csv_text import read_names, scan_text


def test_the_names_of_the_columns_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", '\xef\xbb\xbfa ; "b";c\r\n1;2;3\r\n'.encode("latin1"))
    assert read_names(path) == ("a", "b", "c")


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'a,y\n\n1,"two\nlines"\n2,u\n')
    scan = scan_text(path, None, ())
    assert list(scan.lines) == [4, 5]
    assert scan.columns is not None and scan.columns["y"].tolist() == ["two\nlines", "u"]


def test_unreadable_files_raise_an_error(tmp_path: Path) -> None:
    for name, content in [
        ("latin.csv", b"a,b\n\xe9,1\n"),
        ("plain.csv.gz", b"a,b\n1,2\n"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n")[:-6]),
    ]:
        path = write(tmp_path / name, content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as a table"):
            read_names(path)
    with pytest.raises(FileNotFoundError, match="none.csv does not exist"):
        read_names(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("cell", "decimal"), [("1,234.50", None), ("1,234,567", None), ("1,5", None), ("1.500", ",")]
)
def test_a_target_with_marks_is_left_to_the_reader_of_marks(cell, decimal, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f'a,y\n1,"{cell}"\n2,3\n')
    assert scan_text(path, None, (), decimal).columns is None
