"""Intersections over unions agree with NumPy, also in special cases."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.metrics import CLASSES, ROWS, SCORES, WEIGHTS, K, confusion_counts, value

import trainlib as tl

iou, mean_iou = tl.metrics.iou, tl.metrics.mean_iou
PREDICTED = np.argmax(SCORES, axis=-1)


def numpy_iou(counts):
    both = np.diag(counts)
    return both / (counts.sum(0) + counts.sum(1) - both)


def test_the_mean_is_over_the_classes_asked_for():
    scores = numpy_iou(confusion_counts(WEIGHTS))
    for ids in ([0], [1, 3], range(K)):
        found = value(iou(ids), CLASSES, SCORES, WEIGHTS)
        assert found == pytest.approx(scores[list(ids)].mean(), rel=1e-6)
        assert value(tl.metrics.one_hot_iou(ids), ROWS, SCORES, WEIGHTS) == found
    assert value(mean_iou(), CLASSES, SCORES, WEIGHTS) == value(iou(), CLASSES, SCORES, WEIGHTS)
    rows = value(tl.metrics.one_hot_mean_iou(), ROWS, SCORES, WEIGHTS)
    assert rows == pytest.approx(scores.mean(), rel=1e-6)


def test_predictions_may_be_class_indices():
    expected = value(mean_iou(), CLASSES, SCORES, WEIGHTS)
    sparse = {"num_classes": K, "sparse_y_pred": True}
    for y, p in ((CLASSES, PREDICTED), (CLASSES[:, None], PREDICTED[:, None].astype("float32"))):
        assert value(mean_iou(**sparse), y, p, WEIGHTS) == expected
    assert value(tl.metrics.one_hot_mean_iou(**sparse), ROWS, PREDICTED, WEIGHTS) == expected


def test_absent_and_ignored_classes_do_not_count():
    y, p = np.array([0, 0, 1, 2, 7]), np.eye(4)[[0, 1, 1, 1, 0]]
    assert value(mean_iou(), y, p) == pytest.approx((1 / 2 + 1 / 3 + 0) / 3, rel=1e-6)
    assert value(mean_iou(ignore_class=2), y, p) == pytest.approx((1 / 2 + 1 / 2) / 2, rel=1e-6)
    assert value(iou([3]), y, p) == 0


def test_a_score_at_the_threshold_is_class_1():
    y, p = [1, 0, 0, 1], [0.5, 0.25, 0.75, 0.25]
    for ids, expected in (([0], 1 / 3), ([1], 1 / 3), ((0, 1), 1 / 3)):
        found = value(tl.metrics.binary_iou(ids), y, p)
        assert found == pytest.approx(expected, rel=1e-6)
    assert value(tl.metrics.binary_iou([1], threshold=0.25), y, p) == pytest.approx(0.5, rel=1e-6)


def test_pixels_of_images_are_examples():
    y, scores = CLASSES.reshape(20, 2, 2), SCORES.reshape(20, 2, 2, K)
    assert value(mean_iou(), y, scores) == value(mean_iou(), CLASSES, SCORES)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_classes": 1}, ValueError, "num_classes must be at least 2"),
        ({"sparse_y_pred": True}, ValueError, "sparse_y_pred needs num_classes"),
        ({"target_class_ids": []}, ValueError, "target_class_ids must hold one class or more"),
        ({"target_class_ids": [4], "num_classes": 4}, ValueError, "a class of target_class_ids"),
        ({"ignore_class": 0.5}, TypeError, "ignore_class must be an integer"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        iou(**arguments)


def test_a_class_that_the_predictions_do_not_have_is_rejected():
    with pytest.raises(ValueError, match="^a class of target_class_ids must be below 4"):
        value(iou([4]), CLASSES, SCORES)
