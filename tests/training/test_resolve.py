"""Losses, metrics and regularizers by name, as functions, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training.resolve import metrics_by_name, resolve_loss, restrict_regularizer


def error_of_sign(y_true, y_pred):
    """The mean over a row of whether the signs differ."""
    return tf.reduce_mean(tf.cast(tf.sign(y_true) != tf.sign(y_pred), tf.float32), axis=-1)


def test_metrics_have_the_names_of_the_registry_of_functions_and_of_keys():
    assert list(metrics_by_name(["accuracy", error_of_sign])) == ["accuracy", "error_of_sign"]
    metric = tl.metrics.f1_score()
    found = metrics_by_name({"f1": metric, "wrong": error_of_sign, "hits": "accuracy"})
    assert list(found) == ["f1", "wrong", "hits"]
    assert found["f1"] is metric and found["wrong"].__wrapped__ is error_of_sign


def test_a_metric_by_name_is_that_of_the_registry_with_its_defaults():
    y_true, y_pred = tf.constant([0, 1, 1]), tf.constant([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    metric = tl.metrics.as_metric(metrics_by_name(["accuracy"])["accuracy"])
    assert float(metric.compute(metric.from_model_output(y_true, y_pred))) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ("accuracy", TypeError, "metrics must be a list, got 'accuracy': write \\['accuracy'\\]"),
        ([tl.metrics.f1_score()], TypeError, "a Metric needs a name: write metrics="),
        (["accuracy", "accuracy"], ValueError, "two results are named 'accuracy': give each metr"),
        ({"loss": "accuracy"}, ValueError, "two results are named 'loss': give each metric a dif"),
        (["acuracy"], ValueError, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ([3], TypeError, "metric must be a name or a function \\(y_true, y_pred\\), got 3"),
    ],
)
def test_other_metrics_are_refused(metrics, error, message):
    with pytest.raises(error, match=f"^{message}"):
        metrics_by_name(metrics)


def test_a_loss_is_found_by_its_name_or_is_the_function_itself():
    assert resolve_loss("huber") is tl.losses.huber
    assert resolve_loss(error_of_sign).__wrapped__ is error_of_sign
    with pytest.raises(ValueError, match="^unknown loss 'hubr': did you mean 'huber'"):
        resolve_loss("hubr")
    with pytest.raises(TypeError, match="^loss must be a name or a function"):
        resolve_loss(None)


def squared_error(y_true, y_pred):
    """The square of the error, by broadcasting."""
    return tf.square(y_true - y_pred)


@pytest.mark.parametrize("shapes", [((2,), (2, 1)), ((2, 1), (2,))])
def test_custom_functions_are_given_targets_and_predictions_in_one_rank(shapes):
    y_true, y_pred = tf.reshape([2.0, 4.0], shapes[0]), tf.reshape([1.0, 2.0], shapes[1])
    metric = metrics_by_name({"squared_error": squared_error})["squared_error"]
    for function in (resolve_loss(squared_error), metric):
        values = function(y_true, y_pred)
        assert values.shape == [2, 1]
        assert float(tf.reduce_mean(values)) == 2.5  # (1 + 4) / 2; by broadcasting to [2, 2], 3.5


def test_custom_functions_are_given_floating_targets_in_the_dtype_of_the_predictions():
    y_true, y_pred = tf.constant([2.0], tf.float64), tf.constant([1.0])
    assert resolve_loss(squared_error)(y_true, y_pred).dtype == tf.float32
    assert resolve_loss(lambda y, p: y)(tf.constant([2]), y_pred).dtype == tf.int32


def test_the_loss_of_a_custom_function_is_that_of_keras_without_a_last_axis_in_the_targets():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    model.compile(loss=squared_error)
    x, y = np.array([[1.0], [2.0]], "float32"), np.array([2.0, 4.0], "float32")
    loss = tl.Evaluator(model, squared_error).evaluate((x, y))["loss"]
    assert loss == model.evaluate(x, y, verbose=0) == 2.5


PARAMS = {"kernel": tf.constant([[3.0]]), "bias": tf.constant([4.0])}


def test_a_regularizer_is_restricted_to_the_parameters_of_its_mask():
    penalty = restrict_regularizer(tl.l2(0.5), tl.kernels, PARAMS)
    assert float(penalty(PARAMS)) == pytest.approx(0.5 * 9)
    assert float(restrict_regularizer(tl.l2(0.5), None, PARAMS)(PARAMS)) == pytest.approx(0.5 * 25)
    assert restrict_regularizer(None, tl.kernels, PARAMS) is None


def test_a_regularizer_or_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="^regularizer must be a function such as tl.l2"):
        restrict_regularizer("l2", None, PARAMS)
    with pytest.raises(ValueError, match="structure"):
        restrict_regularizer(tl.l2(0.5), {"other": True}, PARAMS)
