"""Metric states over no examples."""

from __future__ import annotations

import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.losses import LossByOutput
from trainlib.metrics import OutputMetric
from trainlib.training.empty_states import columns_by_output, empty_states, sized_metrics

MSE = tl.losses.mean_squared_error
MATRIX = tl.metrics.confusion_matrix()


def config(loss=MSE, **metrics):
    return tl.StepConfig(lambda *_: tl.ModelOutput(0.0), loss, metrics=metrics, norms=True)


def test_states_have_a_loss_the_metrics_and_in_training_the_norms():
    one = config(mse=MSE)
    assert list(empty_states(one)) == ["loss", "mse"]
    trained = empty_states(one, training=True)
    assert list(trained) == ["loss", "mse", "gradient_norm", "update_norm"]
    assert all(float(x) == 0 for x in tf.nest.flatten(trained))


def test_states_of_metrics_have_the_shape_for_the_columns_of_their_output():
    by_output = config(
        LossByOutput({"a": MSE, "b": MSE}, {}, False),
        a_matrix=OutputMetric("a", MATRIX),
        b_matrix=OutputMetric("b", MATRIX),
        b_mse=OutputMetric("b", MSE),
    )
    assert sized_metrics(by_output) == ["a_matrix", "b_matrix"]
    columns = columns_by_output(by_output, {"a": tf.zeros([2, 3]), "b": tf.zeros([2, 4])})
    assert columns == {"a": 3, "b": 4}
    states = empty_states(by_output, columns)
    for name, size in (("a_matrix", 3), ("b_matrix", 4)):
        assert (size, size) in [tuple(x.shape) for x in tf.nest.flatten(states[name])]


def test_predictions_without_a_last_axis_have_one_column():
    assert columns_by_output(config(), tf.zeros([5])) == {"": 1}
    assert columns_by_output(config(), tf.zeros([5, 7, 2])) == {"": 2}


def test_metrics_of_one_output_are_refused_for_several():
    with pytest.raises(ValueError, match="^metrics matrix need a model of one output"):
        columns_by_output(config(matrix=MATRIX), {"a": tf.zeros([2, 3]), "b": tf.zeros([2, 4])})
