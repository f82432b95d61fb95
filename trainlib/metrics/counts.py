"""Numbers of true and false positives and negatives."""

from __future__ import annotations

from collections.abc import Sequence

from trainlib.metrics.base import Metric
from trainlib.metrics.positives import at_thresholds


def true_positives(thresholds: Sequence[float] | float | None = None) -> Metric:
    """Sum the weights of the positive predictions that are correct.

    Each column of each example counts as a prediction. The metric takes y_true as labels 0 or 1 of
    the shape of y_pred, or as class indices.

    Args:
        thresholds: a score above it is positive; a number in [0, 1], or a sequence of them for a
            value each. Default: None, 0.5.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.true_positives()
        >>> state = metric.from_model_output([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
        >>> float(metric.compute(state))
        2.0

    Differences:
        Keras: as for `precision`.
    """
    return at_thresholds(lambda state: state.tp, thresholds)


def false_positives(thresholds: Sequence[float] | float | None = None) -> Metric:
    """Sum the weights of the positive predictions that are wrong.

    The metric takes its arguments as `true_positives` does.

    Args:
        thresholds: a score above it is positive; a number in [0, 1], or a sequence of them for a
            value each. Default: None, 0.5.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.false_positives()
        >>> state = metric.from_model_output([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
        >>> float(metric.compute(state))
        1.0

    Differences:
        Keras: as for `precision`.
    """
    return at_thresholds(lambda state: state.fp, thresholds)


def true_negatives(thresholds: Sequence[float] | float | None = None) -> Metric:
    """Sum the weights of the negative predictions that are correct.

    The metric takes its arguments as `true_positives` does.

    Args:
        thresholds: a score above it is positive; a number in [0, 1], or a sequence of them for a
            value each. Default: None, 0.5.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.true_negatives()
        >>> state = metric.from_model_output([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
        >>> float(metric.compute(state))
        0.0

    Differences:
        Keras: as for `precision`.
    """
    return at_thresholds(lambda state: state.tn, thresholds)


def false_negatives(thresholds: Sequence[float] | float | None = None) -> Metric:
    """Sum the weights of the negative predictions that are wrong.

    The metric takes its arguments as `true_positives` does.

    Args:
        thresholds: a score above it is positive; a number in [0, 1], or a sequence of them for a
            value each. Default: None, 0.5.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.false_negatives()
        >>> state = metric.from_model_output([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
        >>> float(metric.compute(state))
        1.0

    Differences:
        Keras: as for `precision`.
    """
    return at_thresholds(lambda state: state.fn, thresholds)
