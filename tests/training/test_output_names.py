"""The names of outputs, and arguments with an entry for each."""

from __future__ import annotations

import keras
import pytest

import trainlib as tl
from trainlib.training.output_names import OutputNames, entries, names_in, names_of_outputs

L = keras.layers


def model_of(join):
    x = keras.Input((2,))
    return keras.Model(x, join(L.Dense(1, name="zz")(x), L.Dense(1, name="bb")(x)))


@pytest.mark.parametrize(
    ("join", "names", "by_order"),
    [
        (lambda a, b: [a, b], ("zz", "bb"), True),
        (lambda a, b: (a, a), ("zz", "zz_1"), True),
        (lambda a, b: {"z": a, "a": b}, ("a", "z"), False),
        (lambda a, b: {"heads": {"z": a}, "first": b}, ("first", "heads/z"), False),
        (lambda a, b: a, ("zz",), True),
    ],
)
def test_outputs_are_named_as_in_keras(join, names, by_order):
    assert names_of_outputs(model_of(join)) == OutputNames(names, by_order)


def test_two_layers_on_two_inputs_have_four_outputs():
    a, b, first, second = keras.Input((2,)), keras.Input((2,)), L.Dense(1), L.Dense(1)
    first.name, second.name = "dense", "dense_1"
    model = keras.Model([a, b], [first(a), second(a), first(b), second(b)])
    assert names_of_outputs(model).names == ("dense", "dense_1", "dense_2", "dense_1_1")


def test_a_stack_of_layers_has_one_output():
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, name="last")])
    assert names_of_outputs(model) == OutputNames(("last",), True)


def test_functions_show_no_outputs():
    assert names_of_outputs(tl.FunctionalModel(lambda *_: None, {})) is None


def test_a_loss_names_the_outputs_of_a_model_that_does_not_show_them():
    assert names_in(["mse", "mae"]) == OutputNames(("output_1", "output_2"), True)
    assert names_in({"b": "mse", "a": None}) == OutputNames(("a", "b"), False)
    assert names_in({"x": {"b": "mse"}}) == OutputNames(("x/b",), False)


FLAT, DEEP = OutputNames(("main", "aux"), True), OutputNames(("heads/aux", "one"), False)


def test_entries_are_taken_by_name_or_in_order():
    assert entries("loss", {"aux": 2, "main": 1}, FLAT) == {"main": 1, "aux": 2}
    assert entries("loss", (1, [2, 3]), FLAT) == {"main": 1, "aux": [2, 3]}
    assert entries("loss", {"one": 1, "heads": {"aux": 2}}, DEEP) == {"heads/aux": 2, "one": 1}
    assert entries("metrics", {"aux": 2}, FLAT, None) == {"aux": 2}


@pytest.mark.parametrize(
    ("value", "outputs", "message"),
    [
        ({"main": 1, "auxx": 2}, FLAT, "^loss has an entry for 'auxx', which .* mean 'aux'"),
        ({"main": 1}, FLAT, "^loss has no entry for output 'aux': the outputs are main, aux"),
        ([1], FLAT, "^loss has 1 entries, but the model has 2 outputs: .* each of main, aux"),
        ({"heads": 1, "one": 2}, DEEP, "^loss has an entry for 'heads', which is no output"),
    ],
)
def test_other_entries_are_refused(value, outputs, message):
    with pytest.raises(ValueError, match=message):
        entries("loss", value, outputs)
