"""Cases of metrics: merged states of uneven parts, compared with Keras on the whole batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import trainlib.metrics as metrics
from trainlib.verify.case import ORDINARY, FunctionCase, Rounding
from trainlib.verify.function_cases.metric_data import (
    CLASSES,
    SIZE,
    all_true,
    binary,
    classes,
    column,
    counts,
    distinct,
    distributions,
    embeddings,
    fine_binary,
    fine_labels,
    labels,
    logits,
    number,
    numbers,
    one_hot,
    predicted,
    probabilities,
    sequences,
    void_classes,
)
from trainlib.verify.function_cases.metric_peers import KerasMetric, case

WHOLE = (0, SIZE)
"""One part, for a metric that depends on the batches."""
IN_FLOAT32 = Rounding("Keras computes it in float32", {"float64": 1e-6, "float32": 1e-4})
LOG_2 = Rounding("Keras's log 2 has the precision of float32", {"float64": 1e-7})
CANCELLED = Rounding(
    "the parts of this area nearly cancel, and Keras rounds them", {"float32": 1e-3}
)
SIGNED_AREA = {"curve": "PRGAIN", "summation_method": "interpolation"}
CTC_IN_FLOAT32 = Rounding(IN_FLOAT32.note, {"float64": 1e-4, "float32": 1e-4})


def _by_example() -> Iterator[FunctionCase]:
    """Yield the cases of accuracies."""
    for name, peer, data in (
        ("accuracy", "SparseCategoricalAccuracy", classes),
        ("sparse_categorical_accuracy", "SparseCategoricalAccuracy", classes),
        ("categorical_accuracy", "CategoricalAccuracy", one_hot),
    ):
        values = name if name != "accuracy" else "sparse_categorical_accuracy"
        yield case(name, "", KerasMetric(peer, values=values), data)
    yield case("accuracy", "one-hot", "CategoricalAccuracy", one_hot)
    for k in (2, 5):
        for name, peer, data in (
            ("top_k_categorical_accuracy", "TopKCategoricalAccuracy", one_hot),
            ("sparse_top_k_categorical_accuracy", "SparseTopKCategoricalAccuracy", classes),
        ):
            yield case(name, f"k={k}", KerasMetric(peer, values=name), data, {"k": k})
    name, peer = "binary_accuracy", "BinaryAccuracy"
    for form, data in (("", binary), ("column", column), ("labels", labels)):
        values = name if data is not column else ""
        yield case(name, form, KerasMetric(peer, values=values), data)
    options = {"threshold": 0.25}
    yield case(name, "threshold=0.25", KerasMetric(peer, values=name), labels, options)


def _losses() -> Iterator[FunctionCase]:
    """Yield the cases of losses as metrics."""
    for name in ("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error"):
        peer = name.title().replace("_", "")
        yield case(name, "", KerasMetric(peer, values=name), numbers)
    yield case("mean_squared_logarithmic_error", "", "MeanSquaredLogarithmicError", counts)
    yield case("cosine_similarity", "", "CosineSimilarity", numbers)
    yield case("huber", "delta=0.5", "huber", numbers, {"delta": 0.5})
    yield case("log_cosh", "", "LogCoshError", numbers, rounding=LOG_2)
    yield case("poisson", "", "Poisson", counts)
    yield case("kl_divergence", "", "KLDivergence", distributions)
    yield case("hinge", "", "Hinge", labels)
    yield case("squared_hinge", "", "SquaredHinge", labels)
    yield case("categorical_hinge", "", "CategoricalHinge", one_hot)
    smooth = {"label_smoothing": 0.25}
    yield case("binary_crossentropy", "", "BinaryCrossentropy", labels, smooth)
    yield case("binary_crossentropy", "logits", "BinaryCrossentropy", labels, {"from_logits": True})
    yield case("categorical_crossentropy", "", "CategoricalCrossentropy", distributions, smooth)
    sparse = "sparse_categorical_crossentropy"
    yield case(sparse, "", "SparseCategoricalCrossentropy", probabilities)
    yield case(sparse, "logits", "SparseCategoricalCrossentropy", distinct, {"from_logits": True})
    focal = {"gamma": 3.0}
    for name, data in (
        ("binary_focal_crossentropy", labels),
        ("categorical_focal_crossentropy", distributions),
    ):
        yield case(name, "gamma=3", name, data, focal)
    name = "categorical_generalized_cross_entropy"
    yield case(name, "", name, probabilities, {"q": 0.25})
    yield case("circle", "one batch", "circle", embeddings, cuts=WHOLE)
    yield case("ctc", "", "ctc", sequences, rounding=CTC_IN_FLOAT32)
    for name in ("dice", "tversky"):
        yield case(name, "", KerasMetric(name, outputs=("result",)), labels)
        yield case(name, "axis=1", name, labels, {"axis": 1})


def _regression() -> Iterator[FunctionCase]:
    name, peer = "root_mean_squared_error", "RootMeanSquaredError"
    yield case(name, "", peer, numbers)
    yield case(name, "one output", peer, number)
    for aggregation in ("uniform_average", "variance_weighted_average", "none"):
        ours = {"class_aggregation": aggregation}
        theirs = ours if aggregation != "none" else {"class_aggregation": None}
        yield case("r2_score", aggregation, KerasMetric("R2Score", theirs), numbers, ours)
    # Keras up to 3.15 counts the targets of all outputs, and those of weight 0.
    adjusted = {"num_regressors": 7}
    peer_of_one = KerasMetric("R2Score", adjusted, outputs=("result",))
    yield case("r2_score", "num_regressors=7", peer_of_one, number, adjusted)
    by_target = adjusted | {"counted": "targets"}
    yield case("r2_score", "num_regressors=7, targets", peer_of_one, numbers, by_target)
    yield case("r2_score", "one output", "R2Score", number)
    for name, peer in (
        ("pearson_correlation", "PearsonCorrelation"),
        ("concordance_correlation", "ConcordanceCorrelation"),
    ):
        yield case(name, "", peer, numbers)
        yield case(name, "axis=0", KerasMetric(peer, outputs=("result",)), numbers, {"axis": 0})
    of_values = KerasMetric("Sum", arguments=lambda y_true, y_pred: (y_pred,))
    yield case("sum", "", of_values, numbers)


def _classification() -> Iterator[FunctionCase]:
    for name in ("precision", "recall"):
        peer = name.title()
        for form, data in (("", binary), ("column", column), ("classes", classes)):
            yield case(name, form, peer, data)
        for options in (
            {"thresholds": 0.25},
            {"thresholds": [0.0, 0.5, 1.0]},
            {"top_k": 2},
            {"top_k": 3, "thresholds": 0.5},
            {"class_id": 1},
            {"class_id": 4, "top_k": 2, "thresholds": [0.25, 0.5]},
        ):
            form = ", ".join(f"{k}={x}" for k, x in options.items())
            yield case(name, form, peer, labels, options)
    for name in ("true_positives", "false_positives", "true_negatives", "false_negatives"):
        peer = name.title().replace("_", "")
        yield case(name, "", peer, binary)
        yield case(name, "classes", peer, classes, {"thresholds": [0.25, 0.75]})
    for average in ("macro", "micro", "weighted", "none"):
        for threshold in (None, 0.5):
            ours: dict[str, Any] = {"average": average, "threshold": threshold}
            theirs = ours | ({"average": None} if average == "none" else {})
            form = average if threshold is None else f"{average}, threshold={threshold}"
            yield case("f1_score", form, KerasMetric("F1Score", theirs), labels, ours)
        ours, theirs = ({**x, "beta": 2.0} for x in (ours, theirs))
        yield case("fbeta_score", average, KerasMetric("FBetaScore", theirs), labels, ours)
    by_class = KerasMetric("F1Score", {"average": "macro"})
    yield case("f1_score", "classes", by_class, distinct)
    yield from _confusion()


def _confusion() -> Iterator[FunctionCase]:
    """Yield the cases of functions of the confusion matrix."""
    dense = {"num_classes": CLASSES, "sparse_y_pred": False}
    rows = dense | {"sparse_y_true": False}
    for form, data, options in (("", classes, dense), ("one-hot", one_hot, rows)):
        matrix = KerasMetric("MeanIoU", options, read=lambda metric: metric.total_cm)
        yield case("confusion_matrix", form, matrix, data)
        mean = KerasMetric("MeanIoU", options)
        yield case("mean_iou", form, mean, data, rounding=IN_FLOAT32)
    void = {"ignore_class": 255}
    ignoring = KerasMetric("MeanIoU", dense | void)
    yield case("mean_iou", "ignore_class", ignoring, void_classes, void, rounding=IN_FLOAT32)
    some = {"target_class_ids": [0, 3]}
    yield case("iou", "", KerasMetric("IoU", dense | some), classes, some, rounding=IN_FLOAT32)
    indices = {"num_classes": CLASSES, "sparse_y_pred": True}
    yield case("mean_iou", "indices", "MeanIoU", predicted, indices, rounding=IN_FLOAT32)
    of_rows = KerasMetric("OneHotIoU", {"num_classes": CLASSES} | some)
    yield case("one_hot_iou", "", of_rows, one_hot, some, rounding=IN_FLOAT32)
    of_all = KerasMetric("OneHotMeanIoU", {"num_classes": CLASSES})
    yield case("one_hot_mean_iou", "", of_all, one_hot, rounding=IN_FLOAT32)
    yield case("binary_iou", "", "BinaryIoU", binary, rounding=IN_FLOAT32)
    one = {"target_class_ids": [1], "threshold": 0.25}
    yield case("binary_iou", "class 1", "BinaryIoU", binary, one, rounding=IN_FLOAT32)


def _operating_points() -> Iterator[FunctionCase]:
    for name, bound in (
        ("precision_at_recall", "recall"),
        ("recall_at_precision", "precision"),
        ("sensitivity_at_specificity", "specificity"),
        ("specificity_at_sensitivity", "sensitivity"),
    ):
        peer = name.title().replace("_", "")
        # Keras rounds the bound to float32.
        yield case(name, "", peer, fine_binary, {bound: 0.625})
        of_class: dict[str, Any] = {bound: 0.375, "num_thresholds": 50, "class_id": 1}
        yield case(name, "class_id=1", peer, fine_labels, of_class)
        yield case(name, "one threshold", peer, binary, {bound: 0.25, "num_thresholds": 1})


def _areas() -> Iterator[FunctionCase]:
    for curve in ("ROC", "PR", "PRGAIN"):
        for method in ("interpolation", "minoring", "majoring"):
            options: dict[str, Any] = {"curve": curve, "summation_method": method}
            rounding = CANCELLED if options == SIGNED_AREA else ORDINARY
            form = f"{curve}, {method}"
            yield case("auc", form, "AUC", fine_binary, options, rounding=rounding)
        for count in (2, 50):
            options = {"curve": curve, "num_thresholds": count}
            yield case("auc", f"{curve}, num_thresholds={count}", "AUC", labels, options)
        options = {"curve": curve, "thresholds": [0.75, 0.125, 0.5]}
        yield case("auc", f"{curve}, thresholds", "AUC", labels, options)
        options = {"curve": curve, "multi_label": True}
        yield case("auc", f"{curve}, multi_label", "AUC", fine_labels, options)
        weights = {"curve": curve, "label_weights": [0.5, 2.0, 0.0, 1.0, 3.0]}
        yield case("auc", f"{curve}, label_weights", "AUC", fine_labels, weights)
        weighted = f"{curve}, multi_label, label_weights"
        yield case("auc", weighted, "AUC", fine_labels, options | weights)
        if curve != "PRGAIN":
            yield case("auc", f"{curve}, no negatives", "AUC", all_true, {"curve": curve})
        yield case("auc", f"{curve}, classes", "AUC", distinct, {"curve": curve})

        def make(curve: str = curve) -> metrics.Metric:
            return metrics.on_probabilities(metrics.auc(curve=curve), "sigmoid")

        peer = KerasMetric("AUC", {"curve": curve, "from_logits": True})
        yield case("auc", f"{curve}, logits", peer, logits, make=make)


CASES: list[FunctionCase] = [
    *_by_example(),
    *_losses(),
    *_regression(),
    *_classification(),
    *_operating_points(),
    *_areas(),
]
