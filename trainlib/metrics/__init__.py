"""Metrics: functions of examples and records of batches, which merge into the record of the whole.

A per-example function `(y_true, y_pred) -> value of each example` is a metric by its mean. A
`Metric` is what no mean of examples is: an area, a ratio of sums, a matrix. The records of both
merge by addition alone, so that any split into batches or replicas has the result of the whole.
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
