"""Which layers of a Keras model are trained, and changes of it between epochs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.training.trainable import (
    flags_with,
    parts_of,
    set_trainable_flags,
    trainable_flags,
)

layers = keras.layers


def nested():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="a"), layers.BatchNormalization(name="norm")],
        name="inner",
    )
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(1, name="head")(inner(x)), name="outer")


def trained(model):
    return [v.path.removeprefix("outer/") for v in model.trainable_variables]


def test_layers_of_nested_models_are_frozen_and_unfrozen_by_name_or_by_paths():
    model = nested()
    before = trainable_flags(model)
    assert [layer.name for layer in parts_of(model)] == ["a", "norm", "head"]
    set_trainable_flags(model, flags_with(model, "a/.*|norm", False))
    assert trained(model) == ["head/kernel", "head/bias"]
    assert not model.get_layer("inner").get_layer("norm").trainable
    set_trainable_flags(model, flags_with(model, "norm", True))
    assert trained(model) == ["inner/norm/gamma", "inner/norm/beta", "head/kernel", "head/bias"]
    set_trainable_flags(model, flags_with(model, "inner", False))
    assert trained(model) == ["head/kernel", "head/bias"]
    set_trainable_flags(model, flags_with(model, "a", True))
    assert trained(model)[:2] == ["inner/a/kernel", "inner/a/bias"] and len(trained(model)) == 4
    set_trainable_flags(model, before)
    assert trainable_flags(model) == before


def test_a_frozen_batch_normalization_keeps_its_statistics():
    model = nested()
    set_trainable_flags(model, flags_with(model, "norm", False))
    norm = model.get_layer("inner").get_layer("norm")
    model(np.random.default_rng(0).normal(size=(8, 4)), training=True)
    np.testing.assert_array_equal(norm.moving_variance, 1)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("b", "no layer fully matches 'b'; the layers with parameters are a, norm, head"),
        (
            ".*kernel",
            "matches inner/a/kernel, but not all parameters of layer a: .*=inner/a/kernel",
        ),
        ("(", "not a valid regular expression"),
    ],
)
def test_patterns_that_match_no_layer_or_a_part_of_one_are_refused(pattern, message):
    with pytest.raises(ValueError, match=message):
        flags_with(nested(), pattern, False)
