"""The confusion matrix agrees with NumPy, also in special cases."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS
from helpers.metrics import CLASSES, ROWS, SCORES, SIZE, WEIGHTS, K, confusion_counts, value

import trainlib as tl

matrix = tl.metrics.confusion_matrix


def test_the_confusion_matrix_has_true_classes_in_rows():
    for y in (CLASSES, CLASSES[:, None], ROWS):
        found = value(matrix(), y, SCORES, WEIGHTS)
        np.testing.assert_allclose(found, confusion_counts(WEIGHTS), rtol=1e-14)
    unweighted = value(matrix(), CLASSES, SCORES)
    np.testing.assert_array_equal(unweighted, confusion_counts(np.ones(SIZE)))


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_a_single_score_gives_a_binary_matrix(shape):
    y_pred = np.array([0.75, 0.5, 0.25, 0.75]).reshape(shape)
    counts = value(matrix(), [1, 1, 0, 0], y_pred)
    assert counts.tolist() == [[1, 1], [1, 1]]
    assert value(matrix(0.25), [1, 1, 0, 0], y_pred).tolist() == [[1, 1], [0, 2]]
    assert matrix().empty(1).weights.shape == [2, 2]


@pytest.mark.parametrize("execution", ["eager", "xla"])
def test_an_example_of_an_unknown_class_is_excluded(execution):
    y_true = tf.constant([-1, K, 0, 2**40])
    y_pred = tf.constant(np.eye(K)[[1, 1, 1, 1]])
    counts = EXECUTIONS[execution](lambda y, p: matrix().from_model_output(y, p).weights)
    assert counts(y_true, y_pred).numpy().tolist() == [[0, 1, 0, 0]] + [[0] * K] * 3
    assert counts(y_true, y_pred[:, 1]).numpy().tolist() == [[0, 1], [0, 0]]
