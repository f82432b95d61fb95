"""Cross-entropies at their bounds: confident and wrong, large logits, labels of every form."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, WITHOUT_XLA

import trainlib.losses as losses

LOGITS = {"from_logits": True}
OUTSIDE = -np.log(1e-7)
PROBABILITIES = [
    ("binary_crossentropy", [1.0], [0.0], OUTSIDE),
    ("binary_crossentropy", [0.0], [1.0], OUTSIDE),
    ("binary_crossentropy", [1.0], [1.0], -np.log(1 - 1e-7)),
    ("binary_crossentropy", [0.0], [-0.5], -np.log(1 - 1e-7)),
    ("binary_crossentropy", [0.0, 1.0], [5e-8, 1.5], -np.log(1 - 1e-7)),
    ("categorical_crossentropy", [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], OUTSIDE),
    ("categorical_crossentropy", [1.0, 0.0, 0.0], [3.0, 0.0, 0.0], -np.log(1 - 1e-7)),
    ("categorical_crossentropy", [0.0, 1.0, 0.0], [1.0, 2e-8, 1e-8], OUTSIDE),
    ("sparse_categorical_crossentropy", 0, [0.0, 1.0, 0.0], OUTSIDE + np.log(1 + 1e-7)),
    ("sparse_categorical_crossentropy", 0, [1.0, 0.0, 0.0], np.log(1 + 1e-7) - np.log(1 - 1e-7)),
    ("sparse_categorical_crossentropy", 0, [2.0, 1.0, 1.0], np.log(3)),
]


@pytest.mark.parametrize(("name", "y_true", "y_pred", "expected"), PROBABILITIES)
def test_probabilities_are_clipped_and_their_gradient_is_0_outside(
    name, y_true, y_pred, expected, execution, loss_by_name
):
    values, gradients = loss_by_name(name, np.array([y_true]), np.array([y_pred]), execution)
    # 1 - (1 - 1e-7) is 1e-7 to nine digits.
    np.testing.assert_allclose(values, [expected], rtol=1e-9)
    assert not gradients.any()


def test_categorical_probabilities_are_normalized_before_they_are_clipped(loss_by_name):
    y_true, y_pred = np.array([[1.0, 0.0, 0.0]]), np.array([[2.0, 1.0, 1.0]])
    values, gradients = loss_by_name("categorical_crossentropy", y_true, y_pred)
    np.testing.assert_allclose(values, [np.log(2)], rtol=1e-15)
    np.testing.assert_allclose(gradients, [[-0.125, 0.125, 0.125]], rtol=1e-15)


def test_the_output_of_a_softmax_counts_as_probabilities(execution):
    # Keras goes back to the logits of a softmax in a graph, and answers 100.
    @execution
    def loss(z):
        return losses.sparse_categorical_crossentropy([1], tf.nn.softmax(z))

    np.testing.assert_allclose(loss(tf.constant([[100.0, 0, 0]], tf.float64)), [OUTSIDE], rtol=1e-7)


def test_a_confident_wrong_float32_probability_has_loss_15_94():
    # The nearest float32 number to 1 - 1e-7 is 1 - 2^-23.
    loss = losses.binary_crossentropy(tf.constant([[0.0]]), tf.constant([[1.0]]))
    np.testing.assert_allclose(loss, [23 * np.log(2)], rtol=2**-23)


@pytest.mark.parametrize(
    ("name", "y_true", "z", "expected", "gradient"),
    [
        ("binary_crossentropy", [1.0], [-800.0], 800, [-1]),
        ("binary_crossentropy", [0.0], [-800.0], 0, [0]),
        ("binary_crossentropy", [0.0], [800.0], 800, [1]),
        ("binary_crossentropy", [1.0], [800.0], 0, [0]),
        # A new model whose last layer is 0 has these logits.
        ("binary_crossentropy", [1.0], [0.0], np.log(2), [-0.5]),
        ("binary_crossentropy", [0.0], [-0.0], np.log(2), [0.5]),
        ("categorical_crossentropy", [1.0, 0.0], [-800.0, 800.0], 1600, [-1, 1]),
        ("categorical_crossentropy", [1.0, 0.0], [800.0, -800.0], 0, [0, 0]),
        ("categorical_crossentropy", [1.0, 0.0], [800.0, 800.0], np.log(2), [-0.5, 0.5]),
        ("sparse_categorical_crossentropy", 0, [-800.0, 800.0], 1600, [-1, 1]),
        ("sparse_categorical_crossentropy", 0, [800.0, -800.0], 0, [0, 0]),
        ("sparse_categorical_crossentropy", 0, [0.0, 0.0], np.log(2), [-0.5, 0.5]),
    ],
)
def test_logits_are_not_clipped(name, y_true, z, expected, gradient, execution, loss_by_name):
    values, gradients = loss_by_name(
        name, np.array([y_true]), np.array([z]), execution, from_logits=True
    )
    np.testing.assert_allclose(values, [expected], rtol=1e-15)
    np.testing.assert_allclose(gradients, [np.array(gradient) * 0.5], rtol=1e-15)


@pytest.mark.parametrize("options", [{}, LOGITS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothed_categorical_crossentropy_of_two_classes_equals_the_binary_one(smoothing, options):
    rng = np.random.default_rng(0)
    y, p = rng.uniform(size=(2, 100, 1))
    z = np.log(p / (1 - p))
    both, one = (np.hstack([0 * z, z]), z) if options else (np.hstack([1 - p, p]), p)
    options = options | {"label_smoothing": smoothing}
    np.testing.assert_allclose(
        losses.categorical_crossentropy(np.hstack([1 - y, y]), both, **options),
        losses.binary_crossentropy(y, one, **options),
        rtol=1e-12,
    )


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_class_indices_may_have_any_dtype_and_a_last_axis(shape, dtype):
    y, z = np.array([0, 1, 2, 2, 1, 0]), np.random.default_rng(0).normal(size=(6, 3))
    theirs = keras.losses.sparse_categorical_crossentropy(y, tf.constant(z), from_logits=True)
    y = y.astype(dtype).reshape(shape)
    ours = losses.sparse_categorical_crossentropy(y, z, from_logits=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_class_out_of_range_raises_or_is_nan_under_xla(label):
    z = tf.constant([[0.0, 1.0, 2.0]])
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"label value of {label}"):
        losses.sparse_categorical_crossentropy([label], z, from_logits=True)
    loss = tf.function(losses.sparse_categorical_crossentropy, jit_compile=True)
    assert np.isnan(loss(tf.constant([label]), z)).all()


@pytest.mark.parametrize("ignored", [-1, 1, 255])
def test_an_ignored_class_has_zero_loss_and_gradient_for_any_logits(
    ignored, execution, loss_by_name
):
    y = np.array([0, ignored, 2, ignored])
    z = np.random.default_rng(0).normal(size=(4, 3))
    expected, gradients = loss_by_name(
        "sparse_categorical_crossentropy", y % 3, z, execution, **LOGITS
    )
    z[1] = np.nan
    options = LOGITS | {"ignore_class": ignored}

    @execution
    def both(y, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = losses.sparse_categorical_crossentropy(y, z, **options)
            total = tf.reduce_sum(np.linspace(0.5, 2, 12).reshape(4, 3)[:, 0] * loss.values)
        return loss.values, loss.mask, tape.gradient(total, z)

    values, mask, found = (x.numpy() for x in both(tf.constant(y), tf.constant(z)))
    assert mask.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(values, np.where(mask, expected, 0))
    np.testing.assert_array_equal(found, np.where(mask[:, np.newaxis], gradients, 0))


@pytest.mark.parametrize("axis", [0, 1, -2])
@pytest.mark.parametrize("options", [{}, LOGITS])
@pytest.mark.parametrize("name", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_classes_may_be_on_any_axis(name, options, axis):
    rng = np.random.default_rng(0)
    y, p = rng.integers(5, size=(2, 3, 4)), rng.uniform(0.1, 0.9, size=(2, 3, 4, 5))
    rows = name == "categorical_crossentropy"
    if rows:
        y, options = np.eye(5)[y], options | {"label_smoothing": 0.2}
    expected = getattr(losses, name)(y, p, **options)
    y = np.moveaxis(y, -1, axis) if rows else y
    found = getattr(losses, name)(y, np.moveaxis(p, -1, axis), axis=axis, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("execution", WITHOUT_XLA)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_large_logits_in_low_precision_have_exact_losses_and_gradients(execution, dtype):
    z = tf.constant([[-800.0, 800.0]], dtype)
    one_hot, index = tf.constant([[1.0, 0.0]]), tf.constant([0])
    cases = [
        ("binary_crossentropy", one_hot, 800.0, [-0.5, 0.5]),
        ("categorical_crossentropy", one_hot, 1600.0, [-1.0, 1.0]),
        ("sparse_categorical_crossentropy", index, 1600.0, [-1.0, 1.0]),
        ("binary_focal_crossentropy", one_hot, 800.0, [-0.5, 0.5]),
        ("categorical_focal_crossentropy", one_hot, 400.0, [-0.25, 0.25]),
    ]

    @EXECUTIONS[execution]
    def gradients(labels, z):
        found = []
        for (name, *_), y in zip(cases, labels, strict=True):
            with tf.GradientTape() as tape:
                tape.watch(z)
                loss = getattr(losses, name)(y, z, from_logits=True)
            found.append((loss, tape.gradient(loss, z)))
        return found

    results = gradients([y for _, y, *_ in cases], z)
    for (_, _, expected, expected_gradient), (loss, found) in zip(cases, results, strict=True):
        assert (loss.dtype, found.dtype) == (tf.float32, z.dtype)
        np.testing.assert_array_equal(loss, [expected])
        np.testing.assert_array_equal(tf.cast(found, tf.float32), [expected_gradient])


def test_kl_divergence_is_the_cross_entropy_minus_the_entropy_of_the_target():
    y, p = np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 50))
    entropy = -np.sum(y * np.log(y), axis=-1)
    expected = losses.categorical_crossentropy(y, p) - entropy
    np.testing.assert_allclose(losses.kl_divergence(y, p), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("value", [1.5, "0", True])
def test_an_ignored_class_that_is_not_an_integer_is_rejected(value):
    with pytest.raises(TypeError, match="^ignore_class must be an integer"):
        losses.sparse_categorical_crossentropy([0], tf.ones([1, 2]), ignore_class=value)
