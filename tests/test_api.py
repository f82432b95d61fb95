"""The public names, when they are found, and what the core may import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trainlib as tl
import trainlib.api

PACKAGE = Path(tl.__file__).parent
SHELL = {"__init__", "api", "callbacks", "cli", "data", "files", "finder", "interop", "loop"} | {
    "models",
    "plots",
    "report",
    "verify",
}
"""Modules with effects; every other module is of the core."""
CORE_FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).with_suffix("").parts[0] not in SHELL
]
LIBRARIES = {"tensorflow", "numpy"}
EFFECTS = {"print", "open", "input", "exec", "eval"}


def imports(tree):
    """The dotted modules that a file imports, whether at its top or in a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name", trainlib.api.__all__)
def test_each_public_name_resolves(name):
    assert getattr(tl, name) is getattr(trainlib.api, name)


def test_the_names_are_sorted_and_listed_by_dir():
    names = trainlib.api.__all__
    assert len(names) == len(set(names))
    assert names == sorted(names)
    assert dir(tl) == sorted([*names, "__version__"])


@pytest.mark.parametrize("name", ["adm", "tf", "np", "_private", "__wrapped__"])
def test_other_names_are_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"module 'trainlib' has no attribute '{name}'"):
        getattr(tl, name)


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_trainlib_imports_nothing_heavy():
    loaded = run("import sys, trainlib; trainlib.__version__; print(*sys.modules)")
    assert "trainlib" in loaded
    assert not {"tensorflow", "keras", "numpy", "rich", "absl", "trainlib.api"} & set(loaded)


def test_the_core_was_found():
    names = {path.stem for path in CORE_FILES}
    assert {"base", "tree", "step", "counts", "crossentropy", "chain", "sgd", "registry"} <= names


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: path.stem)
def test_the_core_imports_only_itself_and_arithmetic(path):
    for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        package, *rest = name.split(".")
        if package == "trainlib":
            assert rest and rest[0] not in SHELL, f"imports {name}, of the shell"
        else:
            assert package in LIBRARIES | sys.stdlib_module_names, f"imports {name}"


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: path.stem)
def test_the_core_has_no_effects(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in EFFECTS, f"calls {node.func.id} in line {node.lineno}"
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            assert text != "tf.Variable", f"makes a variable in line {node.lineno}"
            hidden = text.startswith(("tf.random.", "np.random."))
            hidden = hidden and "stateless" not in text and text != "tf.random.experimental"
            assert not hidden, f"draws hidden randomness in line {node.lineno}: {text}"
