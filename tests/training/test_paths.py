"""Paths as they are written, recorded and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainlib.training.paths import absolute, existing_part, expanded, printable, shown


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/a.csv") == absolute("~/a.csv") == Path("/home/me/a.csv")
    assert expanded("a~.csv") == Path("a~.csv")


def test_a_path_is_absolute_without_reading_links(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "none")
    assert absolute("x/../link") == tmp_path / "link"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("{here}/a.csv", "a.csv"),
        ("{here}", "."),
        ("/far/away.csv", "/far/away.csv"),
        ("given/as.it.is", "given/as.it.is"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred\udcff\u202e", r"\x1b[31mred\udcff\u202e"),
        ("größe 数", "größe 数"),
    ],
)
def test_a_path_is_shown_short_and_printable(path, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(path.replace("{here}", str(tmp_path))) == text


def test_a_removed_working_directory_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert shown("/a.csv") == "/a.csv"
    assert printable("a") == "a"


def test_the_part_of_a_path_that_exists_is_found(tmp_path):
    assert existing_part(tmp_path / "runs" / "a") == tmp_path
    assert existing_part(tmp_path) == tmp_path
