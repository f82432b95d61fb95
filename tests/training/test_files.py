"""Files are written atomically, and no temporary file is left."""

from __future__ import annotations

import json
import os

import pytest

from trainlib.training.files import as_json, write_atomically, write_text


def test_a_file_is_first_written_under_a_hidden_name_of_this_process(tmp_path):
    path, asides = tmp_path / "model.v2.keras", []
    path.write_text("old")

    def write(aside):
        asides.append(aside)
        aside.write_text("new")
        assert path.read_text() == "old"

    write_atomically(path, write)
    (aside,) = asides
    assert (aside.parent, aside.suffix) == (tmp_path, ".keras")
    assert aside.name.startswith(".") and str(os.getpid()) in aside.name
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("begun", [True, False])
def test_a_failed_write_keeps_the_old_file(begun, error, tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(aside):
        if begun:
            aside.write_text("ne")
        raise error("of writing")

    with pytest.raises(error, match="of writing"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_that_cannot_be_encoded_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "größe")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "größe"


def test_nothing_is_left_where_a_file_cannot_be_renamed(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_text(folder, "text")
    assert list(tmp_path.iterdir()) == [folder]
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "file.txt", "text")


def refuse(word):
    raise AssertionError(f"{word} is no JSON")


def test_json_has_null_for_numbers_that_are_not_finite():
    nan, inf = float("nan"), float("inf")
    content = {"a": nan, "b": [inf, 1.5, [-inf, "NaN"]], "c": (1, None, True), "d": {"e": -0.25}}
    expected = {
        "a": None,
        "b": [None, 1.5, [None, "NaN"]],
        "c": [1, None, True],
        "d": {"e": -0.25},
    }
    for indent in (None, 2):
        assert json.loads(as_json(content, indent), parse_constant=refuse) == expected
    assert as_json(expected) == json.dumps(expected)
