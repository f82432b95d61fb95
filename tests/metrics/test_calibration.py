"""The calibration error, the Brier score and the logarithmic loss, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.metrics import brier_score, expected_calibration_error, log_loss

Y = np.array([0, 1, 1, 1])
P = np.array([[0.85, 0.15], [0.82, 0.18], [0.35, 0.65], [0.4, 0.6]])


def ece(y, p, weight=None, **options):
    metric = expected_calibration_error(**options)
    return float(metric.compute(metric.from_model_output(y, p, weight)))


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    # (0.8, 0.9]: accuracy 1/2, confidence 0.835; (0.6, 0.7]: 1 and 0.65; (0.5, 0.6]: 1 and 0.6.
    expected = 2 / 4 * 0.335 + 1 / 4 * 0.35 + 1 / 4 * 0.4
    assert ece(Y, P, num_bins=10) == pytest.approx(expected, abs=1e-12)
    assert ece(np.eye(2)[Y], P, num_bins=10) == pytest.approx(expected, abs=1e-12)


def test_weights_count_as_repeated_examples():
    times = [3, 1, 0, 2]
    repeated = np.repeat(Y, times), np.repeat(P, times, axis=0)
    assert ece(Y, P, np.array(times)) == pytest.approx(ece(*repeated), abs=1e-12)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_of_one_column_it_compares_the_probability_with_the_frequency_of_class_1(shape):
    p = np.array([0.1, 0.1, 0.7, 0.8]).reshape(shape)
    expected = 2 / 4 * abs(0.1 - 0.5) + 1 / 4 * 0.3 + 1 / 4 * 0.8
    assert ece([1, 0, 1, 0], p, num_bins=10) == pytest.approx(expected, abs=1e-12)


def test_a_confidence_at_an_edge_counts_below_it_and_the_ends_count():
    state = expected_calibration_error(4).from_model_output([0, 1, 0, 1], [0.0, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(state.weight, [1, 1, 1, 1])


def test_perfect_confidences_have_no_error_and_no_examples_give_0():
    assert ece([0, 1], [[1.0, 0.0], [0.0, 1.0]]) == 0
    metric = expected_calibration_error()
    assert float(metric.compute(metric.empty(2))) == 0


def test_a_confidence_that_is_not_a_number_shows_in_the_result():
    assert math.isnan(ece([0, 1], [[0.5, 0.5], [math.nan, math.nan]]))


def test_the_brier_score_is_the_squared_error_over_the_classes():
    np.testing.assert_allclose(brier_score(Y[:2], P[:2]), [2 * 0.15**2, 2 * 0.82**2], rtol=1e-12)
    np.testing.assert_allclose(brier_score([1, 0], [0.75, 0.5]), [0.0625, 0.25], rtol=1e-12)


def test_the_log_loss_is_that_of_keras_for_indices_rows_and_one_column():
    keras_loss = tf.keras.losses.sparse_categorical_crossentropy(Y, P)
    np.testing.assert_allclose(log_loss(Y, P), keras_loss, rtol=1e-6)
    np.testing.assert_allclose(log_loss(np.eye(2)[Y], P), keras_loss, rtol=1e-6)
    of_one = tf.keras.losses.binary_crossentropy(Y[:, None], P[:, 1:])
    np.testing.assert_allclose(log_loss(Y, P[:, 1:]), of_one, rtol=1e-6)


def test_the_log_loss_of_an_impossible_class_is_large_and_finite():
    losses = log_loss([0, 0], tf.constant([[0.0, 1.0], [1.0, 0.0]]))
    assert losses.numpy().tolist() == [pytest.approx(-math.log(np.finfo("float32").tiny)), 0]


def test_they_are_given_probabilities_where_a_model_ends_in_logits():
    model = tl.models.mlp((2,), 2, hidden=())
    x = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    y = np.arange(40) % 2
    loss = "sparse_categorical_crossentropy"
    found = tl.Evaluator(model, loss, metrics=["ece", "brier", "nll"]).evaluate((x, y))
    p = tf.nn.softmax(model(x)).numpy()
    assert found["nll"] == pytest.approx(found["loss"], rel=1e-5)
    assert found["ece"] == pytest.approx(ece(y, p), rel=1e-4)
    assert found["brier"] == pytest.approx(float(((p - np.eye(2)[y]) ** 2).sum(1).mean()), rel=1e-4)
