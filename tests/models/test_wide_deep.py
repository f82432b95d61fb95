"""`wide_deep` with one input or two, and one output or two."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.models import wide_deep, wide_deep_signature

X = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")


def test_the_wide_part_passes_the_hidden_layers_by():
    model = wide_deep((8,), 1)
    kernel, bias = model.get_layer("outputs").get_weights()
    hidden = keras.Model(model.input, model.get_layer("activation_2").output)(X).numpy()
    expected = np.concatenate([X, hidden], axis=1) @ kernel + bias
    np.testing.assert_allclose(model(X), expected, rtol=1e-5, atol=1e-6)
    assert model.count_params() == 9 * 30 + 31 * 30 + (8 + 30) + 1


def test_two_inputs_take_their_columns_and_the_auxiliary_output_sees_the_deep_part_only():
    model = wide_deep((8,), 1, wide_columns="0-4", deep_columns="2-7", auxiliary_output=True)
    shapes = {name: x.shape for name, x in model.input.items()}
    assert shapes == {"wide": (None, 5), "deep": (None, 6)}
    assert model.count_params() == 7 * 30 + 31 * 30 + (5 + 30 + 1) + 31
    first = model({"wide": X[:, :5], "deep": X[:, 2:]})
    second = model({"wide": X[:, 1:6], "deep": X[:, 2:]})
    assert first["main"].shape == first["aux"].shape == (5, 1)
    np.testing.assert_array_equal(first["aux"], second["aux"])
    assert np.any(first["main"] != second["main"])


def test_outputs_are_named_after_their_last_layer():
    model = wide_deep((8,), 3, "softmax", auxiliary_output=True)
    assert model.output_names == ["aux", "main"] or set(model.output_names) == {"main", "aux"}
    assert model.get_layer("main").activation is keras.activations.softmax
    shapes = {name: x.shape for name, x in model.output.items()}
    assert shapes == {"main": (None, 3), "aux": (None, 3)}


def test_each_input_has_its_preprocessing():
    before = {"wide": [keras.layers.Rescaling(2.0)], "deep": [keras.layers.Rescaling(0.0)]}
    model = wide_deep((8,), 1, None, before, wide_columns="0-4", deep_columns="2-7")
    kernel, bias = model.get_layer("outputs").get_weights()
    hidden = keras.Model(model.input, model.get_layer("activation_2").output)
    deep = hidden({"wide": X[:, :5], "deep": X[:, 2:]}).numpy()
    assert np.all(deep == 0)  # biases start at 0
    found = model({"wide": X[:, :5], "deep": X[:, 2:]})
    np.testing.assert_allclose(found, 2 * X[:, :5] @ kernel[:5] + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("0-4", "2-7"), {"wide": (0, 1, 2, 3, 4), "deep": (2, 3, 4, 5, 6, 7)}),
        (("7, 0,2-3", None), {"wide": (7, 0, 2, 3), "deep": tuple(range(8))}),
        ((None, None), {}),
    ],
)
def test_columns_are_numbers_and_ranges(columns, expected):
    assert wide_deep_signature((8,), *columns).inputs == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wide_columns": "0-8"}, "wide_columns must be of the columns 0 to 7 of the data"),
        ({"deep_columns": "4-2"}, "deep_columns must be of the columns"),
        ({"deep_columns": "-2"}, "deep_columns must be written as in 0-4"),
        ({"deep_columns": "1,1"}, "deep_columns must name a column once"),
        ({"deep_columns": ""}, "deep_columns must be written as in"),
        ({"input_shape": (8, 8), "deep_columns": "1"}, "wide_columns and .* are for tables"),
        ({"hidden": ()}, "hidden must hold at least one width"),
        (
            {"wide_columns": "1", "preprocessing": [keras.layers.Rescaling(1)]},
            "preprocessing of two inputs must be a dict",
        ),
        ({"preprocessing": {"wide": []}}, "preprocessing by input is for"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        wide_deep(**{"input_shape": (8,), "outputs": 1} | options)
