"""Models with one text of their architecture compute the same, given their numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.training.functional_model import as_functional_model
from trainlib.training.layer_numbers import architecture, layer_numbers

X = np.ones((4000, 4), "float32")


def dropped(rate, noise_shape=None):
    """A model that drops some of its inputs."""
    layers = [keras.layers.Dropout(rate, noise_shape=noise_shape, name="dropout")]
    return keras.Sequential([keras.Input((4,), name="inputs"), *layers], name="net")


def two_branches(first, second):
    """A model whose nested models have a dropout layer of one name each."""
    inputs = keras.Input((4,), name="inputs")
    branches = []
    for name, rate in (("a", first), ("b", second)):
        x = keras.Input((4,), name="inputs")
        y = keras.layers.Dropout(rate, name="dropout")(x)
        branches.append(keras.Model(x, y, name=name)(inputs))
    return keras.Model(inputs, branches, name="net")


@pytest.mark.parametrize(
    ("rate", "other", "noise_shape", "is_number"),
    [
        (0.2, 0.5, None, True),
        (0.2, 0.5, (None, 1), False),
        (0.0, 1.0, None, False),
        (0.0, 0.5, None, False),
    ],
)
def test_rates_that_are_no_numbers_of_the_state_are_in_the_text(
    rate, other, noise_shape, is_number
):
    texts = {architecture(dropped(r, noise_shape)) for r in (rate, other)}
    assert None not in texts
    assert len(texts) == (1 if is_number else 2)


def test_seeds_are_not_in_the_text():
    for noise_shape in (None, (None, 1)):
        layers = [keras.layers.Dropout(0.5, noise_shape, seed, name="drop") for seed in (1, 2)]
        inputs = keras.Input((4,), name="inputs")
        models = [keras.Sequential([inputs, x], name="net") for x in layers]
        assert len(set(map(architecture, models))) == 1


def test_given_statistics_are_numbers_and_adapted_ones_are_variables():
    given = keras.layers.Normalization(mean=1.0, variance=4.0, name="given")
    adapted = keras.layers.Normalization(name="adapted")
    adapted.adapt(X)
    numbers = layer_numbers(keras.Sequential([keras.Input((4,)), given, adapted]))
    assert {path: x.numpy().ravel().tolist() for path, x in numbers.items()} == {
        "number/given/mean": [1.0] * 4,
        "number/given/variance": [4.0] * 4,
    }


def test_layers_of_one_name_have_numbers_of_their_own():
    numbers = layer_numbers(two_branches(0.25, 0.75))
    assert sorted(float(x) for x in numbers.values()) == [0.25, 0.75]
    assert architecture(two_branches(0.25, 0.75)) == architecture(two_branches(0.5, 0.1))
    # The trace of one model serves the other: it computes with the numbers of the state.
    pure = as_functional_model(two_branches(0.5, 0.1), open_numbers=True)
    outputs = pure.apply_fn(pure.params, {**pure.model_state, **numbers}, X, True).y_pred
    assert [np.mean(y == 0) for y in outputs] == pytest.approx([0.25, 0.75], abs=0.03)
