"""Statistics of activations by hand, in nested, subclassed and recurrent models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.callbacks import layer_statistics
from trainlib.callbacks.layer_statistics import ActivationObserver, by_tag, gradient_statistics

X = np.array([[-1.0, 2.0], [3.0, 0.5]], "float32")


def identity(units=2, **options):
    """A dense layer that passes its inputs on."""
    return keras.layers.Dense(units, kernel_initializer="identity", **options)


def test_moments_are_those_of_the_outputs_of_each_layer():
    model = keras.Sequential([keras.Input((2,)), identity(name="plain"), keras.layers.Flatten()])
    found = layer_statistics(model, X)
    assert list(found) == ["plain"]
    assert found["plain"][:2] == pytest.approx((X.mean(), X.std()), rel=1e-6)
    assert found["plain"][2:] == (None, None)


def test_examples_of_several_batches_count_alike():
    x = np.random.default_rng(0).normal(3, 2, (150, 2)).astype("float32")
    model = keras.Sequential([keras.Input((2,)), identity(activation="relu", name="a")])
    found = layer_statistics(model, x)["a"]
    y = np.maximum(x.astype("float64"), 0)
    assert found[:2] == pytest.approx((y.mean(), y.std()), rel=1e-9)


def test_saturated_activations_are_within_a_hundredth_of_an_end():
    x = np.array([[0.0, 4.0], [5.0, -5.0]], "float32")  # sigmoid(4) = 0.982, sigmoid(5) = 0.9933
    layers = [keras.Input((2,)), keras.layers.Activation("sigmoid", name="s")]
    assert layer_statistics(keras.Sequential(layers), x)["s"].saturated == 0.5
    x = np.array([[2.0, 2.5], [-2.5, 0.0]], "float32")  # tanh(2) = 0.964, tanh(2.5) = 0.987
    layers = [keras.Input((2,)), identity(activation="tanh", name="t")]
    assert layer_statistics(keras.Sequential(layers), x)["t"].saturated == 0.5


def test_dead_units_are_0_for_every_example():
    x = np.array([[-1.0, -1.0], [-2.0, 3.0]], "float32")
    for layer in (identity(activation="relu", name="r"), keras.layers.ReLU(name="r")):
        found = layer_statistics(keras.Sequential([keras.Input((2,)), layer]), x)
        assert found["r"].dead == 0.5 and found["r"].saturated is None
    leaky = keras.Sequential([keras.Input((2,)), keras.layers.ReLU(negative_slope=0.1, name="r")])
    assert leaky(x) is not None and layer_statistics(leaky, x)["r"].dead is None


class Twice(keras.Model):
    """Calls one layer two times, and a nested model."""

    def __init__(self):
        super().__init__(name="twice")
        self.shared = identity(name="shared")
        self.inner = keras.Sequential([identity(activation="relu", name="in")], name="inner")

    def call(self, x):
        return self.inner(self.shared(self.shared(x)))


def test_layers_of_nested_and_subclassed_models_are_found_at_each_call():
    model = Twice()
    model(X)
    assert list(layer_statistics(model, X)) == ["shared", "shared (call 2)", "inner/in"]
    assert not any("call" in vars(layer) for layer in (model.shared, model.inner))


def test_a_recurrent_layer_is_one_layer():
    layers = [keras.Input((5, 2)), keras.layers.LSTM(3, name="lstm"), identity(3, name="out")]
    x = np.ones([4, 5, 2], "float32")
    found = layer_statistics(keras.Sequential(layers), x)
    assert list(found) == ["lstm", "out"] and found["lstm"].saturated is None


def test_other_values_of_the_variables_can_be_given():
    model = keras.Sequential([keras.Input((2,)), identity(use_bias=False, name="a")])
    observer = ActivationObserver(model)
    double = {"a/kernel": 2 * np.eye(2, dtype="float32")}
    assert observer(X, double)["a"].mean == pytest.approx(2 * observer(X)["a"].mean)


def test_statistics_are_points_by_tag():
    found = {"a": tl.callbacks.LayerStatistics(1.0, 2.0, dead=0.25)}
    assert by_tag(found) == {"activation_mean/a": 1.0, "activation_std/a": 2.0, "dead/a": 0.25}
    grads = gradient_statistics({"w": np.array([1.0, 3.0]), "b": np.array([2.0])})
    assert grads["gradient_mean"] == {"w": 2.0, "b": 2.0}
    assert grads["gradient_std"] == {"w": 1.0, "b": 0.0}


def test_a_layer_derived_from_an_activation_is_observed():
    class Rectifier(keras.layers.ReLU):
        pass

    model = keras.Sequential([keras.Input((2,)), Rectifier(name="rectifier")])
    found = tl.callbacks.layer_statistics(model, np.array([[-1.0, 1.0]], "float32"))
    assert (found["rectifier"].mean, found["rectifier"].dead) == (0.5, 0.5)


def test_a_layer_that_was_unfrozen_since_then_is_observed_with_the_values_of_the_state():
    model = keras.Sequential([keras.Input((2,)), identity(name="plain")])
    model.get_layer("plain").trainable = False
    observer = ActivationObserver(model)
    params = {"plain/kernel": 2 * np.eye(2, dtype="float32"), "plain/bias": np.zeros(2, "float32")}
    found = observer(X, params, {})
    assert found["plain"].mean == pytest.approx(2 * X.mean(), rel=1e-6)


def test_a_parameter_without_a_gradient_has_no_statistics():
    found = gradient_statistics({"w": np.array([1.0, 3.0]), "unused": None})
    assert found == {"gradient_mean": {"w": 2.0}, "gradient_std": {"w": 1.0}}


def test_inputs_without_an_example_are_refused():
    model = keras.Sequential([keras.Input((2,)), identity()])
    with pytest.raises(ValueError, match="x must hold at least one example"):
        layer_statistics(model, X[:0])
