"""Arrays of several inputs and outputs by their names in an archive."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.data.named_arrays import array_name, arrays_of_part, flat_names


@pytest.mark.parametrize(
    ("key", "kind", "name", "part"),
    [
        ("x", "x", "", ""),
        ("y_train", "y", "", "train"),
        ("x_wide", "x", "wide", ""),
        ("x_wide_train", "x", "wide", "train"),
        ("y_train_test", "y", "train", "test"),
        ("x_a_b_validation", "x", "a_b", "validation"),
    ],
)
def test_a_name_has_a_kind_an_input_and_a_part(key, kind, name, part):
    assert arrays_of_part({key: 1}, kind, part, "file") == {name: 1}
    assert arrays_of_part({key: 1}, "y" if kind == "x" else "x", part, "file") == {}
    assert array_name(kind, name, part) == key


def test_other_names_are_of_no_part():
    arrays = dict.fromkeys(["xs", "weight", "weight_train", "y2", "x_"])
    for part in ("", "train"):
        assert arrays_of_part(arrays, "x", part, "file") == {}


@pytest.mark.parametrize(("kind", "what"), [("x", "input"), ("y", "output")])
def test_an_array_without_a_name_beside_one_with_a_name_is_refused(kind, what):
    for keys in ([f"{kind}_train", f"{kind}_a_train"], [f"{kind}_a_train", f"{kind}_train"]):
        with pytest.raises(
            ValueError, match=f"file holds {kind}_train and {kind}_a_train: .* {what}"
        ):
            arrays_of_part(dict.fromkeys(keys), kind, "train", "file")


def test_dicts_become_names():
    x = np.ones(2)
    assert flat_names("x", "", x) == {"x": x}
    assert flat_names("y", "test", {"main": 1, "aux": 2}) == {"y_main_test": 1, "y_aux_test": 2}
