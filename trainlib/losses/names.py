"""The table of losses by name, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trainlib.losses as losses

LOSSES: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        losses.mean_squared_error,
        losses.mean_absolute_error,
        losses.mean_absolute_percentage_error,
        losses.mean_squared_logarithmic_error,
        losses.huber,
        losses.log_cosh,
        losses.poisson,
        losses.cosine_similarity,
        losses.binary_crossentropy,
        losses.categorical_crossentropy,
        losses.sparse_categorical_crossentropy,
        losses.binary_focal_crossentropy,
        losses.categorical_focal_crossentropy,
        losses.categorical_generalized_cross_entropy,
        losses.kl_divergence,
        losses.hinge,
        losses.squared_hinge,
        losses.categorical_hinge,
        losses.dice,
        losses.tversky,
        losses.circle,
        losses.ctc,
    )
}
"""The losses by name."""

FROM_LOGITS = frozenset(
    (
        "binary_crossentropy",
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
        "binary_focal_crossentropy",
        "categorical_focal_crossentropy",
    )
)
"""The losses that take `from_logits`: exact for logits, where probabilities round."""

ALIASES: Mapping[str, str] = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "logcosh": "log_cosh",
    "bce": "binary_crossentropy",
    "cce": "categorical_crossentropy",
    "scce": "sparse_categorical_crossentropy",
    "kld": "kl_divergence",
}
"""Short names of losses, in lower or upper case."""
