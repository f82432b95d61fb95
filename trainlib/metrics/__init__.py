"""Metrics: functions of examples, and metric states that merge by addition.

A per-example function `(y_true, y_pred) -> value of each example` is a metric by its mean. A
`Metric` is anything else: an area, a ratio of sums, a matrix. States merge by addition alone, so
that any split into batches or replicas gives the result of the whole.

accuracies: per-example accuracies.
area_under_curve: `auc`.
base: `Metric`, `Mean`, and functions of them.
confusion: `confusion_matrix`.
inputs: shapes of targets, predictions and weights.
precision_recall: `precision`, `recall` and `f1_score`.
regression: `root_mean_squared_error` and `r2_score`.
"""

from trainlib.losses import mean_absolute_error, mean_squared_error
from trainlib.metrics.accuracies import (
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from trainlib.metrics.area_under_curve import AucState, auc
from trainlib.metrics.base import (
    ExampleMetric,
    Mean,
    Metric,
    as_metric,
    make_metric,
    mean,
    merge,
    on_probabilities,
    results,
)
from trainlib.metrics.confusion import ConfusionState, confusion_matrix
from trainlib.metrics.precision_recall import PositivesState, f1_score, precision, recall
from trainlib.metrics.regression import R2State, r2_score, root_mean_squared_error

__all__ = [
    "AucState",
    "ConfusionState",
    "ExampleMetric",
    "Mean",
    "Metric",
    "PositivesState",
    "R2State",
    "accuracy",
    "as_metric",
    "auc",
    "binary_accuracy",
    "categorical_accuracy",
    "confusion_matrix",
    "f1_score",
    "make_metric",
    "mean",
    "mean_absolute_error",
    "mean_squared_error",
    "merge",
    "on_probabilities",
    "precision",
    "r2_score",
    "recall",
    "results",
    "root_mean_squared_error",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]
