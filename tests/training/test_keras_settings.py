"""Keras set to another backend or image format: one line, at every command and in Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import pytest

import trainlib as tl
from trainlib.training.keras_settings import check_backend, check_data_format

COMMANDS = ("train", "evaluate", "predict", "lr_find", "report", "verify", "launch_local")


@pytest.fixture
def not_imported(monkeypatch, tmp_path):
    """Keras as if it were not imported; a function that writes its settings."""
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return lambda text: (tmp_path / "keras.json").write_text(text)


def test_keras_as_it_comes_is_accepted(not_imported):
    check_backend()
    check_data_format()
    not_imported(json.dumps({"backend": "tensorflow", "image_data_format": "channels_last"}))
    check_backend()
    check_data_format()


def test_another_backend_in_the_file_is_refused_unless_the_environment_overrules_it(
    not_imported, monkeypatch, tmp_path
):
    not_imported('{"backend": "jax"}')
    with pytest.raises(ValueError, match=f"backend is jax .{tmp_path}/keras.json., trainlib needs"):
        check_backend()
    monkeypatch.setenv("KERAS_BACKEND", "")
    with pytest.raises(ValueError, match="backend is jax"):
        check_backend()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    check_backend()
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ValueError, match=r"torch \(KERAS_BACKEND\), .* KERAS_BACKEND=tensorflow$"):
        check_backend()


def test_another_image_format_in_the_file_is_refused(not_imported):
    not_imported('{"image_data_format": "channels_first"}')
    with pytest.raises(ValueError, match="image_data_format is channels_first .*keras.json"):
        check_data_format()


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_keras_cannot_read_is_ignored(text, not_imported):
    not_imported(text)
    check_backend()


def test_the_settings_of_an_imported_keras_decide(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    check_backend()
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format is channels_first"):
            check_data_format()
        with pytest.raises(ValueError, match="set it to channels_last"):
            tl.models.cnn((8, 8, 1), 3)
    finally:
        keras.config.set_image_data_format("channels_last")


def python(code, **settings):
    """What a new process prints on stderr, and its status."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | settings
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_with_one_line_and_status_2(command, tmp_path):
    arguments = {"report": ["run"], "launch_local": ["1", "--", "train"]}.get(command, [])
    run = (
        "import sys, importlib\n"
        f"sys.argv = {[command, *arguments]!r}\n"
        f"importlib.import_module('trainlib.cli.{command}').main()"
    )
    status, printed = python(run, KERAS_BACKEND="torch")
    assert status == 2 and printed.count("\n") == 1, printed
    assert printed.startswith(
        f"{command}: Keras's backend is torch (KERAS_BACKEND), trainlib needs"
    )


def test_the_first_use_in_python_raises_importerror():
    status, printed = python(
        "import trainlib as tl\nprint(tl.__version__)\ntl.Trainer", KERAS_BACKEND="jax"
    )
    assert status == 1
    assert printed.splitlines()[-1].startswith(
        "ImportError: Keras's backend is jax (KERAS_BACKEND)"
    )
