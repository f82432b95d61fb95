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
    "tversky.alpha": number("weight of the false negatives", NON_NEGATIVE),
    "tversky.beta": number("weight of the false positives", NON_NEGATIVE),
    "gamma": number("how much easy examples are down-weighted", NON_NEGATIVE),
    "circle.gamma": number("scale of the similarities", POSITIVE),
    "margin": number("margin between positive and negative pairs", FRACTION),
    "q": number("power of the probability", Range(above=0, at_most=1)),
    "remove_diagonal": switch("leave out the pair of an example with itself"),
    "ref_embeddings": Declaration("structure", "reference embeddings", optional=True),
    "ref_labels": Declaration("structure", "class indices of ref_embeddings", optional=True),
}

METRICS: Table = {
    "threshold": number("score above which class 1 is predicted"),
    "f1_score.threshold": number(
        "score above which a class is predicted, by default the largest",
        Range(above=0, at_most=1),
        optional=True,
    ),
    "thresholds": number(
        "score above which a class is predicted, by default 0.5", FRACTION, optional=True
    ),
    "top_k": integer("count only the k largest scores", Range(at_least=1), optional=True),
    "class_id": integer("the only class that counts", NON_NEGATIVE, optional=True),
    "k": integer("number of largest scores that may hold the true class", Range(at_least=1)),
    "average": choice("mean over the classes", "macro", "micro", "weighted", "none"),
    "class_aggregation": choice(
        "mean over the outputs", "uniform_average", "variance_weighted_average", "none"
    ),
    "num_regressors": integer("regressors of the adjusted score, 0 for none", NON_NEGATIVE),
    "num_thresholds": integer("number of thresholds", Range(at_least=2)),
    "curve": choice("curve whose area is computed", "ROC", "PR"),
    "summation_method": choice("Riemann summation", "interpolation", "minoring", "majoring"),
    "multi_label": switch("compute an area for each column and average them"),
}
