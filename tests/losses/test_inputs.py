"""What every loss accepts and rejects, and the dtype in which it is computed."""

from __future__ import annotations

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib.losses as losses

OTHERS = (
    "class_weights",
    "reduce",
    "weighted_sum",
)
NAMES = sorted(
    name
    for name in losses.__all__
    if inspect.isfunction(getattr(losses, name)) and name not in OTHERS
)
INDICES = ("sparse_categorical_crossentropy", "categorical_generalized_cross_entropy", "circle")
OF_PAIRS = [name for name in NAMES if name not in (*INDICES, "ctc")]
OPTIONS = {
    "binary_crossentropy": [{}, {"from_logits": True}, {"label_smoothing": 0.1}],
    "categorical_crossentropy": [{}, {"from_logits": True}, {"label_smoothing": 0.1}],
    "sparse_categorical_crossentropy": [{}, {"from_logits": True}, {"ignore_class": 1}],
    "binary_focal_crossentropy": [{}, {"from_logits": True}, {"apply_class_balancing": True}],
    "categorical_focal_crossentropy": [{}, {"from_logits": True}, {"alpha": [0.1, 0.2, 0.7]}],
    "dice": [{}, {"axis": 1}],
    "tversky": [{}, {"axis": 1}],
}
FORMS = [(name, options) for name in NAMES for options in OPTIONS.get(name, [{}])]


def test_every_loss_of_keras_exists_with_its_arguments_and_defaults():
    functions = {
        name: f
        for name, f in vars(keras.losses).items()
        if inspect.isfunction(f) and name not in ("serialize", "deserialize", "get")
    }
    canonical = {f.__name__ for f in functions.values()}
    assert canonical <= set(NAMES)
    for name in canonical:
        theirs = inspect.signature(functions[name]).parameters
        ours = inspect.signature(getattr(losses, name)).parameters
        assert list(ours)[: len(theirs)] == list(theirs), name
        for argument, parameter in theirs.items():
            if argument != "q":  # Keras has a default for it in the class alone.
                assert ours[argument].default == parameter.default, (name, argument)


def test_docstrings_have_every_argument_and_section():
    sections = ["\nArgs:", "\nReturns:", "\nRaises:", "\nExample:", "\nReferences:"]
    for name in NAMES:
        text = inspect.getdoc(getattr(losses, name))
        arguments = inspect.signature(getattr(losses, name)).parameters
        parts = sections + [f"\n    {argument}: " for argument in arguments]
        assert [part for part in parts if part not in text] == [], name


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float64", "float64"),
        ("float32", "float32"),
        ("bfloat16", "float32"),
        ("float16", "float32"),
    ],
)
@pytest.mark.parametrize(("name", "options"), FORMS)
def test_losses_are_computed_in_float32_or_in_the_float64_of_y_pred(name, options, dtype, expected):
    loss = functools.partial(getattr(losses, name), **options)
    y_pred = tf.cast([[0.25, 0.25, 0.5], [0.125, 0.5, 0.375]], dtype)
    shape = [2] if name in INDICES else [2, 3]
    if name == "ctc":
        y_pred, shape = y_pred[:, :, tf.newaxis] * tf.constant([1.0, 2.0], dtype), [2, 1]
    for y_dtype in ("float64", "float16", "int32"):
        y_true = tf.ones(shape, y_dtype)
        values = tf.convert_to_tensor(loss(y_true, y_pred))
        assert values.dtype == expected
        wide = tf.convert_to_tensor(loss(y_true, tf.cast(y_pred, expected)))
        np.testing.assert_array_equal(values, wide)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_that_are_not_floating_or_have_no_axis_are_rejected(name):
    with pytest.raises(TypeError, match="^y_pred must be of a floating dtype, got int32"):
        getattr(losses, name)(tf.ones([2], tf.int32), tf.ones([2, 2], tf.int32))
    with pytest.raises(ValueError, match=r"^y_pred must have shape \[batch, ..., d\]"):
        getattr(losses, name)(tf.constant(1.0), tf.constant(1.0))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ctc"])
def test_shapes_that_would_broadcast_are_rejected(name):
    for shape in ((1, 3), (6, 4), (6, 1, 3), (3,), ()):
        shape = shape[:-1] + (2,) if name in INDICES else shape
        with pytest.raises(ValueError, match=r"^y_true .*must have .*shape"):
            getattr(losses, name)(tf.zeros(shape), tf.ones([6, 3]))


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
@pytest.mark.parametrize("name", [name for name in OF_PAIRS if name not in ("dice", "tversky")])
def test_a_last_axis_of_length_1_may_be_missing(name, shape):
    y, p = np.random.default_rng(0).uniform(0.1, 0.9, size=(2, 6, 1))
    loss = getattr(losses, name)
    for other in ((6,), (6, 1)):
        found = loss(y.reshape(shape), p.reshape(other))
        if shape == other == (6,):
            assert found.shape == ()
        else:
            np.testing.assert_array_equal(found, loss(y, p))


SMOOTHED = [name for name in NAMES if "label_smoothing" in inspect.getdoc(getattr(losses, name))]


@pytest.mark.parametrize("name", SMOOTHED)
def test_label_smoothing_out_of_range_is_rejected(name):
    for value in (-0.1, 1.1, float("nan")):
        message = f"^label_smoothing must be .*at least 0 and at most 1, got {value}"
        with pytest.raises(ValueError, match=message):
            getattr(losses, name)(tf.ones([2, 2]), tf.ones([2, 2]), label_smoothing=value)


def numeric(name):
    parameters = inspect.signature(getattr(losses, name)).parameters.values()
    return [(name, p.name) for p in parameters if p.annotation.startswith("float")]


@pytest.mark.parametrize(("name", "argument"), [pair for name in NAMES for pair in numeric(name)])
def test_options_that_are_not_numbers_are_rejected(name, argument):
    y = tf.ones([2]) if name in INDICES else tf.ones([2, 2])
    for value in ("0.1", True, None):
        with pytest.raises(TypeError, match=f"^{argument} must be a number"):
            getattr(losses, name)(y, tf.ones([2, 2]), **{argument: value})


WITH_AXIS = [
    name for name in NAMES if "axis" in inspect.signature(getattr(losses, name)).parameters
]


@pytest.mark.parametrize("name", WITH_AXIS)
def test_an_axis_out_of_range_is_rejected(name):
    y = tf.ones([2]) if name in INDICES else tf.ones([2, 2])
    for value in (2, -3):
        message = f"^axis must be at least -2 and at most 1, got {value}"
        with pytest.raises(ValueError, match=message):
            getattr(losses, name)(y, tf.ones([2, 2]), axis=value)
