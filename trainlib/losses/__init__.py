"""Losses: pure functions `(y_true, y_pred) -> loss of each example`, and their reductions.

y_true and y_pred have shapes [batch, ..., d]; the loss has [batch, ...]. Losses run in float32,
or in float64 where y_pred is float64. Whether y_pred holds logits or probabilities is said by
`from_logits`, never guessed. Losses of which some do not count are `Masked`.
"""

from trainlib.losses.crossentropy import (
    binary_crossentropy,
    categorical_crossentropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from trainlib.losses.focal import (
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
)
from trainlib.losses.inputs import EPSILON, Axis, Loss
from trainlib.losses.margins import categorical_hinge, hinge, squared_hinge
from trainlib.losses.masked import Masked
from trainlib.losses.overlap import dice, tversky
from trainlib.losses.reductions import REDUCTIONS, class_weights, reduce, weighted_sum
from trainlib.losses.regression import (
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from trainlib.losses.sequences import ctc
from trainlib.losses.similarity import circle, cosine_similarity

__all__ = [
    "EPSILON",
    "REDUCTIONS",
    "Axis",
    "Loss",
    "Masked",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "class_weights",
    "cosine_similarity",
    "ctc",
    "dice",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "reduce",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
    "weighted_sum",
]
