"""Intersections over unions of predicted and true classes, from the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.confusion import ConfusionState, count_classes
from trainlib.metrics.inputs import (
    INDICES,
    ROWS,
    class_indices,
    match_labels,
    match_targets,
    num_columns,
    weights_like,
)

EPSILON = 1e-7
"""Added to the denominators, as in Keras."""
TINY = 1e-9
"""A class whose union has at most this weight is absent."""


def iou(
    target_class_ids: Sequence[int] | None = None,
    num_classes: int | None = None,
    ignore_class: int | None = None,
    sparse_y_pred: bool = False,
) -> Metric:
    """Compute the mean intersection over union of some classes.

        IoU_k = TP_k / (TP_k + FP_k + FN_k + 1e-7)

    averaged over the classes that are present in y_true or y_pred; 0 if none is. y_true holds class
    indices of shape [batch, ...] or [batch, ..., 1], or one-hot rows. y_pred holds scores of shape
    [batch, ..., K], of which the largest predicts the class. An example whose class is outside
    0..K-1 is excluded.

    Args:
        target_class_ids: the classes that count. Default: None, all.
        num_classes: K, at least 2. Default: None, the number of columns of y_pred.
        ignore_class: true class of the examples to exclude, such as 255 or -1. Default: None.
        sparse_y_pred: whether y_pred holds class indices instead of scores; num_classes is then
            required. Default: False.

    Returns:
        A `Metric` with state `ConfusionState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.iou([0])
        >>> state = metric.from_model_output([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> print(f"{float(metric.compute(state)):.3f}")
        0.500

    Differences:
        Keras: num_classes is required, and y_pred and y_true hold class indices by default.
    """
    return _iou(target_class_ids, num_classes, ignore_class, sparse_y_pred, f"{INDICES} or {ROWS}")


def mean_iou(
    num_classes: int | None = None, ignore_class: int | None = None, sparse_y_pred: bool = False
) -> Metric:
    """Compute the mean intersection over union of all classes that are present.

    It is `iou` without target_class_ids.

    Args:
        num_classes: as in `iou`. Default: None.
        ignore_class: as in `iou`. Default: None.
        sparse_y_pred: as in `iou`. Default: False.

    Returns:
        A `Metric` with state `ConfusionState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.mean_iou(num_classes=2, sparse_y_pred=True)
        >>> state = metric.from_model_output([0, 0, 1, 1], [0, 1, 0, 1])
        >>> print(f"{float(metric.compute(state)):.3f}")
        0.333

    Differences:
        Keras: as for `iou`.
    """
    return iou(None, num_classes, ignore_class, sparse_y_pred)


def one_hot_iou(
    target_class_ids: Sequence[int] | None = None,
    num_classes: int | None = None,
    ignore_class: int | None = None,
    sparse_y_pred: bool = False,
) -> Metric:
    """Compute the mean intersection over union of some classes; accept only one-hot rows.

    Args:
        target_class_ids: as in `iou`. Default: None, all.
        num_classes: as in `iou`. Default: None.
        ignore_class: as in `iou`. Default: None.
        sparse_y_pred: as in `iou`. Default: False.

    Returns:
        A `Metric` with state `ConfusionState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.one_hot_iou([1])
        >>> state = metric.from_model_output([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]])
        >>> print(f"{float(metric.compute(state)):.3f}")
        1.000
    """
    return _iou(target_class_ids, num_classes, ignore_class, sparse_y_pred, ROWS)


def one_hot_mean_iou(
    num_classes: int | None = None, ignore_class: int | None = None, sparse_y_pred: bool = False
) -> Metric:
    """Compute the mean intersection over union of all present classes; accept only one-hot rows.

    Args:
        num_classes: as in `iou`. Default: None.
        ignore_class: as in `iou`. Default: None.
        sparse_y_pred: as in `iou`. Default: False.

    Returns:
        A `Metric` with state `ConfusionState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.one_hot_mean_iou()
        >>> state = metric.from_model_output([[1, 0], [0, 1]], [[0.9, 0.1], [0.8, 0.2]])
        >>> print(f"{float(metric.compute(state)):.3f}")
        0.250
    """
    return one_hot_iou(None, num_classes, ignore_class, sparse_y_pred)


def binary_iou(target_class_ids: Sequence[int] = (0, 1), threshold: float = 0.5) -> Metric:
    """Compute the mean intersection over union of the classes 0 and 1.

    A score of at least the threshold predicts class 1. Each score of an example counts.

    Args:
        target_class_ids: the classes that count. Default: (0, 1).
        threshold: finite. Default: 0.5.

    Returns:
        A `Metric` with state `ConfusionState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.binary_iou([0, 1], threshold=0.3)
        >>> state = metric.from_model_output([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])
        >>> print(f"{float(metric.compute(state)):.3f}")
        0.333
    """
    check_number("threshold", threshold)
    targets = _checked_classes(target_class_ids, 2)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> ConfusionState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        return count_classes(tf.cast(y, tf.int64), tf.cast(p >= threshold, tf.int64), 2, w)

    return Metric(lambda outputs: _empty(2), from_model_output, lambda state: _mean(state, targets))


def _iou(
    target_class_ids: Sequence[int] | None,
    num_classes: int | None,
    ignore_class: int | None,
    sparse_y_pred: bool,
    forms: str,
) -> Metric:
    """Return the metric for y_true of some forms; see `class_indices`."""
    if num_classes is not None:
        check_integer("num_classes", num_classes, at_least=2)
    elif sparse_y_pred:
        raise ValueError("sparse_y_pred needs num_classes, the number of classes")
    if ignore_class is not None:
        check_integer("ignore_class", ignore_class, at_least=-(2**31), at_most=2**31 - 1)
    targets = None
    if target_class_ids is not None:
        targets = _checked_classes(target_class_ids, num_classes)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> ConfusionState:
        if sparse_y_pred:
            y, predicted = _sparse(y_true, y_pred, forms)
        else:
            y, scores = class_indices("iou", y_true, y_pred, forms)
            predicted = tf.argmax(scores, axis=-1)
        w = weights_like(sample_weight, y)
        if ignore_class is not None:
            w = tf.where(y == ignore_class, tf.zeros_like(w), w)
        return count_classes(y, predicted, num_classes or num_columns(y_pred), w)

    return Metric(
        lambda outputs: _empty(num_classes or outputs),
        from_model_output,
        lambda state: _mean(state, targets),
    )


def _sparse(y_true: Tensor, y_pred: Tensor, forms: str) -> tuple[Tensor, Tensor]:
    """Return the true and the predicted classes, where y_pred holds class indices."""
    if INDICES not in forms:
        y_true = tf.argmax(y_true, axis=-1)
    return match_targets(y_true, y_pred, tf.int64)


def _checked_classes(ids: Sequence[int], num_classes: int | None) -> list[int]:
    """Return class indices as a list, after checking them."""
    if not len(ids):
        raise ValueError("target_class_ids must hold one class or more, got none")
    for k in ids:
        most = None if num_classes is None else num_classes - 1
        check_integer("a class of target_class_ids", k, at_least=0, at_most=most)
    return [int(k) for k in ids]


def _empty(classes: int) -> ConfusionState:
    """Return the state of no examples."""
    return ConfusionState(tf.zeros([classes, classes], tf.float64))


def _mean(state: ConfusionState, targets: list[int] | None) -> Tensor:
    """Return the mean over the classes that are present, of those that count."""
    both = tf.linalg.diag_part(state.weights)
    union = tf.reduce_sum(state.weights, 0) + tf.reduce_sum(state.weights, 1) - both
    if targets is not None:
        if max(targets) >= num_columns(both):
            raise ValueError(
                f"a class of target_class_ids must be below {num_columns(both)}, the number of "
                f"classes, got {max(targets)}"
            )
        both, union = tf.gather(both, targets), tf.gather(union, targets)
    present = tf.cast(union > TINY, tf.float64)
    return tf.reduce_sum(present * both / (union + EPSILON)) / (tf.reduce_sum(present) + EPSILON)
