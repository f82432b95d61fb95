"""Losses: pure functions `(y_true, y_pred) -> loss of each example`, and their reductions.

y_true and y_pred have shape [batch, ..., d], the loss has shape [batch, ...]. Losses are computed
in float32, or in float64 if y_pred is float64. `from_logits` states whether y_pred holds logits or
probabilities; it is never guessed. Losses with entries that do not count are `Masked`.

by_output: `LossByOutput`, losses of a model of several outputs.
crossentropy: cross-entropies and the Kullback-Leibler divergence.
focal: focal and generalized cross-entropies.
inputs: checks and shapes of y_true and y_pred.
margins: hinge losses.
masked: `Masked`, losses with a mask.
names: the table of losses by name.
overlap: Dice and Tversky losses of segmentation.
reductions: from the losses of a batch to one number; sample and class weights.
regression: losses of real-valued targets.
sequences: connectionist temporal classification.
similarity: cosine similarity and the circle loss.
"""

from trainlib.losses.by_output import LossByOutput
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
    "LossByOutput",
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
