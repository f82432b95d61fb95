"""Metrics: functions of examples, and metric states that merge by addition.

A per-example function `(y_true, y_pred) -> value of each example` is a metric by its mean; every
loss is one. A `Metric` is anything else: an area, a ratio of sums, a matrix. States merge by
addition alone, so that any split into batches or replicas gives the result of the whole.

accuracies: per-example accuracies.
area_under_curve: `auc`.
base: `Metric`, `Mean`, and functions of them.
calibration: `expected_calibration_error`, `brier_score` and `log_loss`.
confusion: `confusion_matrix`.
correlation: correlations and the cosine similarity.
counts: `true_positives` and the like.
f_scores: `fbeta_score` and `f1_score`.
inputs: shapes of targets, predictions and weights.
iou: intersections over unions.
names: the tables of metrics by name.
operating_points: `precision_at_recall` and the like.
overlap: `dice` and `tversky`.
positives: counts at thresholds, which several metrics share.
precision_recall: `precision` and `recall`.
regression: `root_mean_squared_error` and `r2_score`.
score_histograms: histograms of scores, which several metrics share.
"""

from trainlib.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    categorical_hinge,
    circle,
    ctc,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from trainlib.metrics.accuracies import (
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from trainlib.metrics.area_under_curve import auc
from trainlib.metrics.base import (
    ExampleMetric,
    Mean,
    Metric,
    OutputMetric,
    as_metric,
    mean,
    merge,
    on_probabilities,
    results,
    sum,
)
from trainlib.metrics.calibration import (
    CalibrationState,
    brier_score,
    expected_calibration_error,
    log_loss,
)
from trainlib.metrics.confusion import ConfusionState, confusion_matrix
from trainlib.metrics.correlation import (
    CorrelationState,
    concordance_correlation,
    cosine_similarity,
    pearson_correlation,
)
from trainlib.metrics.counts import (
    false_negatives,
    false_positives,
    true_negatives,
    true_positives,
)
from trainlib.metrics.f_scores import f1_score, fbeta_score
from trainlib.metrics.iou import (
    binary_iou,
    iou,
    mean_iou,
    one_hot_iou,
    one_hot_mean_iou,
)
from trainlib.metrics.operating_points import (
    precision_at_recall,
    recall_at_precision,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)
from trainlib.metrics.overlap import (
    OverlapState,
    dice,
    tversky,
)
from trainlib.metrics.positives import PositivesState
from trainlib.metrics.precision_recall import precision, recall
from trainlib.metrics.regression import (
    R2State,
    r2_score,
    root_mean_squared_error,
)
from trainlib.metrics.score_histograms import HistogramState

__all__ = [
    "CalibrationState",
    "ConfusionState",
    "CorrelationState",
    "ExampleMetric",
    "HistogramState",
    "Mean",
    "Metric",
    "OutputMetric",
    "OverlapState",
    "PositivesState",
    "R2State",
    "accuracy",
    "as_metric",
    "auc",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "binary_iou",
    "brier_score",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "concordance_correlation",
    "confusion_matrix",
    "cosine_similarity",
    "ctc",
    "dice",
    "expected_calibration_error",
    "f1_score",
    "false_negatives",
    "false_positives",
    "fbeta_score",
    "hinge",
    "huber",
    "iou",
    "kl_divergence",
    "log_cosh",
    "log_loss",
    "mean",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_iou",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "merge",
    "on_probabilities",
    "one_hot_iou",
    "one_hot_mean_iou",
    "pearson_correlation",
    "poisson",
    "precision",
    "precision_at_recall",
    "r2_score",
    "recall",
    "recall_at_precision",
    "results",
    "root_mean_squared_error",
    "sensitivity_at_specificity",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "specificity_at_sensitivity",
    "squared_hinge",
    "sum",
    "top_k_categorical_accuracy",
    "true_negatives",
    "true_positives",
    "tversky",
]
