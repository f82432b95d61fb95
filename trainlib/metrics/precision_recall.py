"""Precision and recall."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.positives import PositivesState, at_thresholds


def precision(
    thresholds: Sequence[float] | float | None = None,
    top_k: int | None = None,
    class_id: int | None = None,
) -> Metric:
    """Compute the fraction of positive predictions that are correct, TP / (TP + FP).

    It is 0 if there are none. Each column of each example counts as a prediction. The metric takes
    y_true as labels 0 or 1 of the shape of y_pred, or as class indices.

    Args:
        thresholds: a score above it is positive; a number in [0, 1], or a sequence of them for a
            value each. Default: None, 0.5, or no threshold if top_k is set.
        top_k: only the k largest scores of an example are positive, the first of equal ones; None
            for all. Default: None.
        class_id: the only column that counts; None for all. Default: None.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.precision()
        >>> state = metric.from_model_output([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
        >>> print(f"{float(metric.compute(state)):.3f}")
        0.667

    Differences:
        Keras: with three or more even thresholds, a score at a threshold may count on its other
            side, because its bucket is computed by a product; top_k is taken over the batch for
            y_pred of shape [batch].
    """

    def ratio(state: PositivesState) -> Tensor:
        return tf.math.divide_no_nan(state.tp, state.tp + state.fp)

    return at_thresholds(ratio, thresholds, top_k, class_id)


def recall(
    thresholds: Sequence[float] | float | None = None,
    top_k: int | None = None,
    class_id: int | None = None,
) -> Metric:
    """Compute the fraction of positive labels that are found, TP / (TP + FN).

    It is 0 if there are none.

    Args:
        thresholds: as in `precision`.
        top_k: as in `precision`.
        class_id: as in `precision`.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.recall(thresholds=[0.5, 0.75])
        >>> state = metric.from_model_output([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
        >>> metric.compute(state).numpy().round(3)
        array([0.667, 0.333])

    Differences:
        Keras: as for `precision`.
    """

    def ratio(state: PositivesState) -> Tensor:
        return tf.math.divide_no_nan(state.tp, state.tp + state.fn)

    return at_thresholds(ratio, thresholds, top_k, class_id)
