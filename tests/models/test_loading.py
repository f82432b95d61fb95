"""Models from a file and from the user's function."""

from __future__ import annotations

import os
import sys

import keras
import numpy as np
import pytest

from trainlib.models import cnn, from_function, is_custom, load_model
from trainlib.models.loading import keras_objects


def test_files_and_functions_are_custom_models():
    assert not any(map(is_custom, ("mlp", "cnn", "keras")))
    assert all(map(is_custom, ("folder/best.keras", "nets:small")))


def test_a_saved_model_is_loaded_with_its_values(tmp_path):
    model = cnn((8, 6), 5, "softmax", filters=2, units=3)
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = load_model(path)
    assert [type(x) for x in loaded.layers] == [type(x) for x in model.layers]
    for old, new in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["none.keras", "", "none/none.keras"])
def test_a_missing_file_is_named(tmp_path, name):
    path = str(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="^model .*: there is no such file$") as error:
        load_model(path)
    assert path in str(error.value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_holds_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a Keras model that can be loaded: ") as error:
        load_model(str(path))
    assert str(error.value).startswith(f"model {path}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_holds_more_than_it_may_is_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "model.keras")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    monkeypatch.setenv("TRAINLIB_MAX_DATA_GIB", "1e-6")
    with pytest.raises(ValueError, match="but holds more than 1,073, .*TRAINLIB_MAX_DATA_GIB"):
        load_model(path)


def test_code_in_a_file_is_not_run(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: 2 * x)])
    path = str(tmp_path / "model.keras")
    model.save(path)
    with pytest.raises(ValueError, match="model that can be loaded: .*`Lambda` layer") as error:
        load_model(path)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("; if you trust its author: safe_mode=false")


def test_code_in_a_file_is_run_where_it_is_trusted(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: 2 * x)])
    path = str(tmp_path / "model.keras")
    model.save(path)
    assert load_model(path, safe_mode=False)(np.ones((1, 3))).numpy().tolist() == [[2, 2, 2]]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module into the working directory; its name, which is that of no other test."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        name = f"own_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    return write


def test_a_function_of_the_users_makes_the_model(module):
    name = module(
        "import keras\n"
        "def net(input_shape, outputs):\n"
        "    layers = [keras.Input(input_shape), keras.layers.Dense(outputs)]\n"
        "    return keras.Sequential(layers)\n"
    )
    model = from_function(f"{name}:net", (3,), 2)
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 2))


def test_the_folder_of_a_module_is_searched_last_after_its_import(module, monkeypatch):
    paths = ["somewhere"]
    monkeypatch.setattr("sys.path", paths)
    with pytest.raises(ValueError):
        from_function(f"{module('')}:net", (3,), 2)
    assert paths == ["somewhere", os.getcwd()]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "model '': must be written module:function"),
        ("own", "model 'own': must be written module:function"),
        (":net", "model ':net': must be written module:function"),
        ("own:", "model 'own:': must be written module:function"),
        (
            "no_such_module:net",
            "model no_such_module:net: No module named 'no_such_module' in {here}, the code_path",
        ),
        ("{own}:net", "model {own}:net: module '{own}' has no attribute 'net'"),
        ("{own}:number", "model {own}:number: must be a function, got float"),
        ("{own}:wrong", "model {own}:wrong: must return a keras.Model, got tuple"),
    ],
)
def test_a_function_that_makes_no_model_is_refused(module, spec, message):
    own = module("number = 1.5\ndef wrong(input_shape, outputs):\n    return (1, 2)\n")
    with pytest.raises(ValueError) as error:
        from_function(spec.format(own=own), (3,), 2)
    assert str(error.value) == message.format(own=own, here=os.getcwd())


class Unregistered(keras.layers.Layer):
    """A custom layer that Keras does not know."""

    def call(self, x):
        return 2 * x


def squared(x):
    """A custom activation that Keras does not know."""
    return x**2


def test_a_custom_layer_and_activation_are_found_in_their_module(tmp_path):
    layers = [keras.Input((2,)), Unregistered(), keras.layers.Activation(squared)]
    path = str(tmp_path / "model.keras")
    keras.Sequential(layers).save(path)
    cause = "Could not locate class 'Unregistered'.*; add its module to imports, "
    with pytest.raises(ValueError, match=cause) as error:
        load_model(path)
    assert "config={" not in str(error.value)
    objects = keras_objects(sys.modules[__name__])
    assert load_model(path, custom_objects=objects)(np.ones((1, 2))).numpy().tolist() == [[4, 4]]
    assert {"Unregistered", "squared"} <= objects.keys()
