"""Focal and generalized cross-entropies."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS
from helpers.gradients import with_gradient

import trainlib.losses as losses

FOCAL = {
    "binary_focal_crossentropy": "binary_crossentropy",
    "categorical_focal_crossentropy": "categorical_crossentropy",
}


def examples():
    rng = np.random.default_rng(0)
    return np.eye(4)[rng.integers(4, size=20)], rng.dirichlet(np.ones(4), size=20)


def value_and_gradient(loss, y_true, y_pred, execution):
    results = with_gradient(loss, execution)(tf.constant(y_true), tf.constant(y_pred))
    return [x.numpy() for x in results]


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(("name", "plain"), FOCAL.items())
def test_gamma_0_is_the_cross_entropy(name, plain, from_logits):
    y, p = examples()
    options = {"from_logits": from_logits, "label_smoothing": 0.1}
    expected = getattr(losses, plain)(y, p, **options)
    options |= {"gamma": 0.0} | ({"alpha": 1.0} if name.startswith("cat") else {})
    np.testing.assert_allclose(getattr(losses, name)(y, p, **options), expected, rtol=1e-12)


def test_the_binary_focal_loss_follows_the_equation_of_the_paper():
    y, p = examples()
    p_t, alpha_t = np.where(y == 1, p, 1 - p), np.where(y == 1, 0.3, 0.7)
    expected = np.mean(-alpha_t * (1 - p_t) ** 1.5 * np.log(p_t), axis=-1)
    options = {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5}
    of_p = losses.binary_focal_crossentropy(y, p, **options)
    z = np.log(p) - np.log1p(-p)
    of_z = losses.binary_focal_crossentropy(y, z, from_logits=True, **options)
    np.testing.assert_allclose(of_p, expected, rtol=1e-12)
    np.testing.assert_allclose(of_z, expected, rtol=1e-9)


def test_the_categorical_focal_loss_follows_the_equation_of_the_paper():
    y, p = examples()
    alpha = [0.1, 0.2, 0.3, 0.4]
    p_t = np.sum(y * p, axis=-1)
    expected = -(y @ alpha) * (1 - p_t) ** 1.5 * np.log(p_t)
    options = {"alpha": alpha, "gamma": 1.5}
    of_p = losses.categorical_focal_crossentropy(y, p, **options)
    of_z = losses.categorical_focal_crossentropy(y, np.log(p), from_logits=True, **options)
    np.testing.assert_allclose(of_p, expected, rtol=1e-11)
    np.testing.assert_allclose(of_z, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("gamma", "execution"),
    [
        *((gamma, "eager") for gamma in (0.0, 0.5, 1.0, 2.0)),
        (0.5, "graph"),  # whose derivative at 0 is infinite
        *(pytest.param(gamma, "graph", marks=pytest.mark.soak) for gamma in (0.0, 1.0, 2.0)),
    ],
    indirect=["execution"],
)
@pytest.mark.parametrize("name", FOCAL)
def test_gradients_are_finite_where_the_model_is_certain(name, gamma, execution):
    def loss(y, p):
        return getattr(losses, name)(y, p, gamma=gamma, from_logits=logits)

    y_true, right_and_wrong = np.array([[0.0, 1.0]] * 2), np.array([[0.0, 1.0], [1.0, 0.0]])
    for logits, certain in ((False, 1.0), (True, 800.0)):
        values, gradients = value_and_gradient(loss, y_true, certain * right_and_wrong, execution)
        assert np.isfinite(gradients).all()
        assert logits or values[0] <= 2e-7
        assert values[1] > 1


def test_classes_may_be_on_any_axis_with_an_alpha_each():
    rng = np.random.default_rng(0)
    y, p = rng.dirichlet(np.ones(3), size=(2, 2, 4))
    options = {"alpha": [0.1, 0.5, 1.0], "label_smoothing": 0.2}
    expected = losses.categorical_focal_crossentropy(y, p, **options)
    y, p = np.moveaxis(y, -1, 1), np.moveaxis(p, -1, 1)
    found = losses.categorical_focal_crossentropy(y, p, axis=1, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_the_generalized_cross_entropy_is_between_absolute_error_and_cross_entropy():
    y, p = examples()
    true, labels = np.sum(y * p, axis=-1), y.argmax(-1)
    loss = losses.categorical_generalized_cross_entropy
    np.testing.assert_allclose(loss(labels, p, q=1.0), 1 - true, rtol=1e-12)
    np.testing.assert_allclose(loss(labels, p, q=1e-6), -np.log(true), rtol=1e-5)
    np.testing.assert_allclose(loss(labels[:, np.newaxis], p), 2 - 2 * true**0.5, rtol=1e-12)


@pytest.mark.parametrize("execution", EXECUTIONS.values(), ids=EXECUTIONS)
@pytest.mark.parametrize("label", [0, 3, -1])
def test_probability_0_and_an_unknown_class_have_loss_1_over_q_and_no_gradient(label, execution):
    loss = losses.categorical_generalized_cross_entropy
    values, gradients = value_and_gradient(loss, [label], [[0.0, 0.25, 0.75]], execution)
    np.testing.assert_array_equal(values, [2.0])
    np.testing.assert_array_equal(gradients, [[0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("binary_focal_crossentropy", {"alpha": 1.5}, "alpha must be at least 0 and at most 1"),
        ("binary_focal_crossentropy", {"gamma": -1.0}, "gamma must be at least 0, got -1"),
        ("categorical_focal_crossentropy", {"gamma": -1.0}, "gamma must be at least 0, got -1"),
        ("categorical_focal_crossentropy", {"alpha": -1.0}, "alpha must be at least 0, got -1"),
        ("categorical_focal_crossentropy", {"alpha": [1.0, -1.0]}, "each alpha must be at least"),
        ("categorical_focal_crossentropy", {"alpha": [1.0]}, "alpha must be a number or 2 of them"),
        ("categorical_generalized_cross_entropy", {"q": 0.0}, "q must be above 0 and at most 1"),
        ("categorical_generalized_cross_entropy", {"q": 1.5}, "q must be above 0 and at most 1"),
    ],
)
def test_options_out_of_range_are_rejected(name, options, message):
    y = tf.zeros([2], tf.int32) if "generalized" in name else tf.ones([2, 2])
    with pytest.raises(ValueError, match=f"^{message}"):
        getattr(losses, name)(y, tf.ones([2, 2]), **options)
