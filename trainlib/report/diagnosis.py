"""Diagnosis of a run by its history: whether the model overfits, and what to try next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trainlib.report import columns
from trainlib.report.columns import VALIDATION_PREFIX, History

FEW_EPOCHS = 3
"""Smallest number of epochs of a history that is diagnosed."""
LAST = 0.2
"""Fraction of the epochs, the last ones, in which a falling validation loss must fall."""
CHANGE = 0.02
"""Relative decrease of the lowest validation loss in the last epochs that counts as falling."""
RISE = 0.05
"""Relative increase of the validation loss above its lowest value that counts as rising."""
GAP = 1.5
"""Ratio of validation loss and training loss above which a model counts as overfitting."""
UNSET = ("", "0", "0.0", "False", "None")
"""Values of flags that are not used."""
CURES = {
    "early_stop_restore_best_weights": "keep the best weights "
    "(--early_stop --early_stop_restore_best_weights)",
    "regularizer": "penalize large weights (--regularizer=l2)",
    "dropout": "drop units, where the model has --dropout",
}
"""Remedies against overfitting, by the flag that shows that the remedy was used."""


def diagnose(
    history: History,
    settings: Mapping[str, str] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return sentences on the losses of a run, and on what to try next.

    Args:
        history: history of the run.
        settings: values of the run's flags, as text by name. Default: None, unknown.
        summary: results of the saved model by part of the data. Default: None, the run is not
            finished.
    """
    trained = columns.column(history, "loss")
    name = VALIDATION_PREFIX + "loss"
    if (nonfinite := ~np.isfinite(trained)).any():
        epoch = int(columns.epochs(history)[nonfinite][0])
        return [
            f"The loss was not finite in epoch {epoch}. Lower the learning rate (--learning_rate), "
            "or clip gradients (--global_clipnorm=1)."
        ]
    if not any(name in results for results in history):
        return [
            "There are no validation data, which would show whether the model overfits "
            "(--validation_split=0.1)."
        ]
    validated = columns.column(history, name)
    for results, loss in zip(history, validated, strict=True):
        if name in results and not np.isfinite(loss):
            return [
                f"The validation loss was not finite in epoch {results['epoch']}. Look for values "
                "in the validation data that are not finite, or far from the training data."
            ]
    if len(history) < FEW_EPOCHS or not np.isfinite(validated).all():
        return ["There are too few epochs to see whether the model overfits."]
    return [_course(history, trained, validated), *_gap(settings or {}, summary or {})]


def _course(history: History, trained: np.ndarray, validated: np.ndarray) -> str:
    """Return a sentence on the course of the losses over at least three epochs; all are finite."""
    best, last = int(np.argmin(validated)), max(1, round(LAST * len(history)))
    epoch, lowest = int(columns.epochs(history)[best]), float(validated[best])
    rise = (float(validated[-1]) - lowest) / abs(lowest) if lowest else 0.0
    if rise > RISE and trained[-1] < trained[best]:
        return (
            f"After epoch {epoch} the validation loss rose by {100 * rise:.0f} % while the "
            "training loss fell: overfitting."
        )
    if rise > RISE:
        return (
            f"After epoch {epoch} training and validation loss rose: training is unstable. Lower "
            "the learning rate (--learning_rate), or let it fall (--schedule=cosine_decay)."
        )
    before = float(validated[:-last].min())
    if before - lowest > CHANGE * abs(before):
        return "The validation loss was still falling: train for more epochs (--epochs)."
    return f"The validation loss has hardly fallen in the last {last} of {len(history)} epochs."


def _gap(settings: Mapping[str, str], summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield advice if the loss is much higher on the validation data than on the training data."""
    parts = ("train", "validation")
    losses = [columns.number(summary.get(part, {}).get("loss")) for part in parts]
    ratio = losses[1] / losses[0] if losses[0] > 0 else np.nan
    if ratio >= GAP:
        left = [text for flag, text in CURES.items() if settings.get(flag, "") in UNSET]
        ways = ", ".join(["train on more data", *left])
        yield (
            f"The loss of the saved model on validation data is {ratio:.2g} times that on training "
            f"data. To reduce overfitting: {ways}."
        )
