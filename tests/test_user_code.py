"""Modules of the user's: found where they are, and errors in them with their place."""

from __future__ import annotations

import os
import sys

import pytest

from trainlib.user_code import code_path_of, import_function, import_module, import_object

SOURCE = """
def place():
    import {name}_inner
    return {name}_inner.VALUE

def fail(x):
    return {{}}[x]
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """`modules("a", text)`: write a module into the folder `a`; all have one name."""
    name = f"user_{tmp_path.name}".replace("-", "_")
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(folder, text=SOURCE):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.py").write_text(text.format(name=name))
        (tmp_path / folder / f"{name}_inner.py").write_text(f"VALUE = {folder!r}\n")
        return name

    write.name = name
    yield write
    for module in [x for x in sys.modules if x.startswith(name)]:
        del sys.modules[module]


def test_a_module_is_found_in_the_working_directory_and_what_it_imports_later(
    modules, tmp_path, monkeypatch
):
    name = modules("a")
    monkeypatch.chdir(tmp_path / "a")
    place = import_function("model", f"{name}:place")
    monkeypatch.chdir(tmp_path)
    assert place() == "a"


def test_a_module_of_the_same_name_in_another_folder_takes_its_place(modules, tmp_path):
    name = modules("a", "VALUE = 1\n")
    modules("b", "VALUE = 2\n")
    folders = [str(tmp_path / folder) for folder in ("a", "b")]
    assert [import_object("model", f"{name}:VALUE", x) for x in (*folders, folders[0])] == [1, 2, 1]


def test_the_folders_of_modules_are_known_again(modules, tmp_path):
    name = modules("a", "VALUE = 1\n")
    code_path = os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "a")])
    module = import_module("imports", name, code_path)
    assert code_path_of([module, sys.modules["json"], pytest]) == str(tmp_path / "a")
    assert code_path_of([pytest]) is None


def test_an_error_in_a_function_names_its_file_and_line(modules, tmp_path):
    name = modules("a")
    fail = import_function("loss", f"{name}:fail", str(tmp_path / "a"))
    file = tmp_path / "a" / f"{name}.py"
    with pytest.raises(ValueError) as error:
        fail("key")
    assert str(error.value) == f"loss {name}:fail: {file}, line 7: KeyError: 'key'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_thing\n", "line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("x = (\n", "line 1: SyntaxError: "),
        ("\n\n1 / 0\n", "line 3: ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_while_importing_names_its_file_and_line(text, message, modules, tmp_path):
    name = modules("a", text)
    with pytest.raises(ValueError) as error:
        import_object("loss", f"{name}:f", str(tmp_path / "a"))
    file = tmp_path / "a" / f"{name}.py"
    assert str(error.value).startswith(f"loss {name}:f: {file}, {message}")


def test_a_missing_module_is_named_with_the_folders_searched(tmp_path):
    with pytest.raises(ValueError) as error:
        import_object("loss", "no_such_module:f", str(tmp_path))
    assert str(error.value) == (
        f"loss no_such_module:f: No module named 'no_such_module' in {tmp_path}, the code_path"
    )
