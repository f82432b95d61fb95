"""Modules are imported at their first use, without the output of native code."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

from trainlib.cli.lazy_import import DeferredModule, capture_stderr, defer, hide_packages


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a package that is not imported; its import is undone after the test."""
    name = f"lazy_{os.path.basename(tmp_path)}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("import os\nos.write(2, b'noise')\nvalue = 3\n")
    (package / "inner.py").write_text("value = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for known in [known for known in sys.modules if known.partition(".")[0] == name]:
        del sys.modules[known]


def test_a_deferred_module_is_imported_at_its_first_use(module):
    defer(module)
    placeholder = importlib.import_module(module)
    assert isinstance(placeholder, DeferredModule)
    assert not hasattr(placeholder, "__wrapped__")
    assert sys.modules[module] is placeholder
    assert placeholder.value == 3
    assert sys.modules[module] is not placeholder
    assert importlib.import_module(module).value == 3


def test_attributes_and_submodules_of_a_deferred_module_can_be_imported(module):
    defer(module)
    assert importlib.import_module(f"{module}.inner").value == 4
    assert sys.modules[module].value == 3


def test_the_import_is_silent(module, capfd):
    defer(module)
    assert sys.modules[module].value == 3
    assert capfd.readouterr() == ("", "")


def test_an_imported_module_is_not_replaced():
    defer("json")
    assert sys.modules["json"] is json


def test_a_missing_attribute_raises_attribute_error(module):
    defer(module)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = sys.modules[module].nothing


def test_a_module_that_is_not_installed_raises_at_its_first_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "no_such_module", raising=False)
    defer("no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = sys.modules["no_such_module"].value
    assert "no_such_module" not in sys.modules


def test_a_hidden_package_cannot_be_imported_inside_the_context(module):
    with hide_packages(module):
        with pytest.raises(ImportError, match=module):
            importlib.import_module(module)
        with hide_packages(module):
            pass
        with pytest.raises(ImportError, match=module):
            importlib.import_module(f"{module}.inner")
    assert importlib.import_module(module).value == 3


def test_an_imported_package_is_not_hidden():
    with hide_packages("json"):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json


FIRST_USE = """
import sys
from trainlib.cli.lazy_import import NOT_NEEDED, defer
defer("tensorflow", "keras")
import tensorflow as tf, keras
keras.layers.Dense(1)(tf.ones([1, 1]))
print(*set(NOT_NEEDED) & set(sys.modules), end="!")
"""


@pytest.mark.soak
def test_tensorflow_and_keras_do_not_import_optional_packages():
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "!"), done.stderr


IMPORTS = """
import importlib, sys
from trainlib.cli.commands import COMMANDS
for command in COMMANDS.values():
    importlib.import_module(command.module)
print("tensorflow.python" in sys.modules, "keras.src" in sys.modules)
"""


def test_commands_are_imported_without_tensorflow_and_keras():
    """Flags are parsed, and workers started, before either is loaded."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "False False\n"), done.stderr


def test_stderr_is_discarded_inside_the_context_only(capfd):
    with capture_stderr():
        os.write(2, b"noise")
    os.write(2, b"later")
    assert capfd.readouterr().err == "later"


@pytest.mark.parametrize(("error", "shown"), [(ImportError, "noise"), (KeyboardInterrupt, "")])
def test_stderr_is_written_after_an_error_but_not_after_an_interrupt(error, shown, capfd):
    with pytest.raises(error), capture_stderr():
        os.write(2, b"noise")
        raise error
    assert capfd.readouterr().err == shown
