"""Precision and recall of each class."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.report.class_scores import (
    class_curves,
    class_scores,
    class_table,
    precision_recall,
    precision_recall_figure,
)
from trainlib.report.predictions import Predictions, confusion_counts

GENERATOR = np.random.default_rng(0)
TRUE = GENERATOR.integers(0, 3, 60)
SCORES = GENERATOR.dirichlet([1, 1, 1], 60).astype(np.float32)
FOUND = Predictions(TRUE, SCORES.argmax(1), SCORES, np.zeros(60))


def test_scores_are_those_of_keras():
    found = class_scores(confusion_counts(FOUND, 3))
    one_hot = np.eye(3)[TRUE]
    f1 = keras.metrics.F1Score()
    f1.update_state(one_hot, np.eye(3)[FOUND.predicted])
    np.testing.assert_allclose(found.f1, f1.result(), rtol=1e-5)
    for k in range(3):
        for kind, values in {"Precision": found.precision, "Recall": found.recall}.items():
            metric = getattr(keras.metrics, kind)(class_id=k, top_k=1)
            metric.update_state(one_hot, SCORES)
            assert values[k] == pytest.approx(float(metric.result()), rel=1e-5)
    assert found.examples.tolist() == np.bincount(TRUE).tolist()


def test_a_class_that_does_not_occur_has_no_recall():
    counts = np.array([[2, 0, 1], [0, 0, 0], [1, 0, 3]])
    found = class_scores(counts)
    np.testing.assert_allclose(found.precision, [2 / 3, np.nan, 3 / 4])
    np.testing.assert_allclose(found.recall, [2 / 3, np.nan, 3 / 4])
    assert np.isnan(found.f1[1])


def test_the_average_precision_is_that_of_scikit_learn():
    curve = precision_recall(np.array([0, 0, 1, 1]) == 1, np.array([0.1, 0.4, 0.35, 0.8]))
    assert curve is not None
    assert curve.average == pytest.approx(0.8333333)  # the example of average_precision_score
    assert curve.recall.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curve.precision.tolist() == [1, 1, 0.5, pytest.approx(2 / 3), 0.5]


def test_equal_scores_are_one_threshold():
    curve = precision_recall(np.array([True, False, False, True]), np.full(4, 0.5))
    assert curve is not None
    assert (curve.recall.tolist(), curve.average) == ([0, 1], 0.5)
    assert precision_recall(np.zeros(3, bool), np.ones(3)) is None


def test_the_table_and_the_figure_show_every_class():
    pytest.importorskip("matplotlib")
    curves = class_curves(FOUND, 3)
    html = class_table(confusion_counts(FOUND, 3), curves, ["cat", "dog & co", "owl"])
    assert all(text in html for text in ("cat", "dog &amp; co", "owl", "mean of the classes"))
    figure = precision_recall_figure(curves, ["cat", "dog", "owl"])
    labels = [line.get_label() for line in figure.axes[0].get_lines()]
    assert sorted(label.partition(":")[0] for label in labels) == ["cat", "dog", "owl"]
