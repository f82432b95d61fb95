"""The tables of metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trainlib.metrics as metrics
from trainlib.losses import names as loss_names

OF_ALL_EXAMPLES = ("cosine_similarity", "dice", "tversky")
"""The losses whose metric is another function than the mean of the losses."""

EXAMPLE_METRICS: Mapping[str, Callable[..., Any]] = {
    "accuracy": metrics.accuracy,
    "binary_accuracy": metrics.binary_accuracy,
    "categorical_accuracy": metrics.categorical_accuracy,
    "sparse_categorical_accuracy": metrics.sparse_categorical_accuracy,
    "top_k_categorical_accuracy": metrics.top_k_categorical_accuracy,
    "sparse_top_k_categorical_accuracy": metrics.sparse_top_k_categorical_accuracy,
    "cosine_similarity": metrics.cosine_similarity,
    "brier_score": metrics.brier_score,
    "log_loss": metrics.log_loss,
    **{name: f for name, f in loss_names.LOSSES.items() if name not in OF_ALL_EXAMPLES},
}
"""Per-example functions, whose first two arguments are y_true and y_pred."""

METRIC_FACTORIES: Mapping[str, Callable[..., Any]] = {
    "root_mean_squared_error": metrics.root_mean_squared_error,
    "r2_score": metrics.r2_score,
    "pearson_correlation": metrics.pearson_correlation,
    "concordance_correlation": metrics.concordance_correlation,
    "sum": metrics.sum,
    "precision": metrics.precision,
    "recall": metrics.recall,
    "f1_score": metrics.f1_score,
    "fbeta_score": metrics.fbeta_score,
    "true_positives": metrics.true_positives,
    "false_positives": metrics.false_positives,
    "true_negatives": metrics.true_negatives,
    "false_negatives": metrics.false_negatives,
    "auc": metrics.auc,
    "precision_at_recall": metrics.precision_at_recall,
    "recall_at_precision": metrics.recall_at_precision,
    "sensitivity_at_specificity": metrics.sensitivity_at_specificity,
    "specificity_at_sensitivity": metrics.specificity_at_sensitivity,
    "confusion_matrix": metrics.confusion_matrix,
    "iou": metrics.iou,
    "mean_iou": metrics.mean_iou,
    "binary_iou": metrics.binary_iou,
    "one_hot_iou": metrics.one_hot_iou,
    "one_hot_mean_iou": metrics.one_hot_mean_iou,
    "expected_calibration_error": metrics.expected_calibration_error,
    "dice": metrics.dice,
    "tversky": metrics.tversky,
}
"""Factories of a `Metric`."""

METRICS: Mapping[str, Callable[..., Any]] = {**EXAMPLE_METRICS, **METRIC_FACTORIES}
"""The metrics by name."""

ALIASES: Mapping[str, str] = {
    **loss_names.ALIASES,
    "acc": "accuracy",
    "rmse": "root_mean_squared_error",
    "r2": "r2_score",
    "f1": "f1_score",
    "miou": "mean_iou",
    "ece": "expected_calibration_error",
    "brier": "brier_score",
    "nll": "log_loss",
}
"""Short names of metrics, in lower or upper case."""
