"""Declarations of the hyperparameters of losses and metrics."""

from __future__ import annotations

from trainlib.core.hyperparameters.declaration import (
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    Declaration,
    Range,
    Table,
    choice,
    integer,
    number,
    switch,
)

_MOST_BINS = 100_000

LOSSES: Table = {
    "axis": integer("axis of the classes"),
    "cosine_similarity.axis": integer("axis of the vectors"),
    "binary_crossentropy.axis": integer("axis of the mean"),
    "dice.axis": Declaration("axis", "axes that are summed, by default all", optional=True),
    "tversky.axis": Declaration("axis", "axes that are summed, by default all", optional=True),
    "label_smoothing": number("amount of label smoothing", FRACTION),
    "ignore_class": integer("class index that is left out of the loss", optional=True),
    "delta": number("error at which the loss turns from quadratic to linear", POSITIVE),
    "apply_class_balancing": switch("weight the classes by alpha"),
    "binary_focal_crossentropy.alpha": number("weight of class 1", FRACTION),
    "categorical_focal_crossentropy.alpha": number(
        "weight of every class, or a sequence with one for each", NON_NEGATIVE
    ),
    "tversky.alpha": number("weight of the false positives", NON_NEGATIVE),
    "tversky.beta": number("weight of the false negatives", NON_NEGATIVE),
    "alpha_weighs": choice("errors that alpha weighs", "false_positives", "false_negatives"),
    "gamma": number("how much easy examples are down-weighted", NON_NEGATIVE),
    "circle.gamma": number("scale of the similarities", POSITIVE),
    "margin": number("margin between positive and negative pairs", FRACTION),
    "q": number("power of the probability", Range(above=0, at_most=1)),
    "remove_diagonal": switch("leave out the pair of an example with itself"),
    "ref_embeddings": Declaration("structure", "reference embeddings", optional=True),
    "ref_labels": Declaration("structure", "class indices of ref_embeddings", optional=True),
}

METRICS: Table = {
    **LOSSES,
    "pearson_correlation.axis": integer("-1, over the outputs; 0, over the examples"),
    "concordance_correlation.axis": integer("-1, over the outputs; 0, over the examples"),
    "ignore_class": integer("true class whose examples are left out", optional=True),
    "function": Declaration("structure", "per-example function to sum", optional=True),
    "threshold": number("score above which class 1 is predicted"),
    "f1_score.threshold": number(
        "score above which a class is predicted, by default the largest",
        Range(above=0, at_most=1),
        optional=True,
    ),
    "fbeta_score.threshold": number(
        "score above which a class is predicted, by default the largest",
        Range(above=0, at_most=1),
        optional=True,
    ),
    "fbeta_score.beta": number("weight of recall against precision", POSITIVE),
    "thresholds": Declaration(
        "floats", "scores above which a class is predicted, by default 0.5", optional=True
    ),
    "auc.thresholds": Declaration(
        "floats", "thresholds between 0 and 1, by default even ones", optional=True
    ),
    "label_weights": Declaration("floats", "weight of each column, by default 1", optional=True),
    "top_k": integer("count only the k largest scores", Range(at_least=1), optional=True),
    "class_id": integer("the only class that counts", NON_NEGATIVE, optional=True),
    "k": integer("number of largest scores that may hold the true class", Range(at_least=1)),
    "average": choice("mean over the classes", "macro", "micro", "weighted", "none"),
    "class_aggregation": choice(
        "mean over the outputs", "uniform_average", "variance_weighted_average", "none"
    ),
    "num_regressors": integer("regressors of the adjusted score, 0 for none", NON_NEGATIVE),
    "counted": choice("what the adjustment counts", "examples", "targets"),
    "num_thresholds": integer("number of thresholds", Range(at_least=1, at_most=_MOST_BINS)),
    "auc.num_thresholds": integer("number of thresholds", Range(at_least=2, at_most=_MOST_BINS)),
    "num_bins": integer("number of bins of the confidence", Range(at_least=1, at_most=_MOST_BINS)),
    "curve": choice("curve whose area is computed", "ROC", "PR", "PRGAIN"),
    "summation_method": choice("Riemann summation", "interpolation", "minoring", "majoring"),
    "multi_label": switch("compute an area for each column and average them"),
    "recall": number("bound of recall", FRACTION),
    "precision": number("bound of precision", FRACTION),
    "sensitivity": number("bound of sensitivity", FRACTION),
    "specificity": number("bound of specificity", FRACTION),
    "target_class_ids": Declaration("ints", "classes that count, by default all", optional=True),
    "binary_iou.target_class_ids": Declaration("ints", "classes that count"),
    "num_classes": integer(
        "number of classes, by default that of the scores",
        Range(at_least=2, at_most=10_000),  # a matrix of so many rows and columns
        optional=True,
    ),
    "sparse_y_pred": switch("take predictions as class indices"),
}
