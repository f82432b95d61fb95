"""`MixedTargets`, the targets of mixed examples, and their loss and metrics.

    loss = share l(first, y_pred) + (1 - share) l(second, y_pred)

For a cross-entropy, which is linear in its targets, that is the loss of the mixed one-hot targets;
for a squared error its gradient is that of the mixed numbers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.tree import as_floating, with_rank
from trainlib.core.types import Tensor, Tree
from trainlib.losses import Loss, LossByOutput, Masked
from trainlib.metrics import Metric, OutputMetric
from trainlib.step.state import Batch, StepConfig


class MixedTargets(NamedTuple):
    """Targets of mixed examples, each a mixture of two.

    Attributes:
        first: targets of the first example of each mixture, any structure.
        second: targets of the second example, in the same structure.
        share: share of the first example in the mixture, in [0, 1]; of shape [batch], or of the
            shape of the sample weights. A mapping by output if the sample weights are one.
    """

    first: Tree
    second: Tree
    share: Tree

    def of_output(self, name: str) -> MixedTargets:
        """Return the targets of one of several outputs."""
        share = self.share[name] if isinstance(self.share, Mapping) else self.share
        return MixedTargets(self.first[name], self.second[name], share)


def mix_targets(first: Batch, second: Batch, share: Tensor) -> Batch:
    """Return the targets of mixed examples, and their weights if they have any.

    The weight of a mixture is the mean of the weights of its two examples:

        weight = share w_1 + (1 - share) w_2

    Args:
        first: `(y,)` or `(y, sample_weight)` of the first examples.
        second: `(y,)` or `(y, sample_weight)` of the second examples.
        share: share of the first example in each mixture, in [0, 1], [batch].

    Returns:
        `(MixedTargets,)` or `(MixedTargets, sample_weight)`.
    """
    y, *weight = first
    other, *other_weight = second
    if not weight:
        return (MixedTargets(y, other, share),)

    def parts(w: Tensor, w_2: Tensor) -> tuple[Tensor, Tensor]:
        w, w_2 = (as_floating(x, share.dtype) for x in (w, w_2))
        s = with_rank(tf.cast(share, w.dtype), w.shape.rank)
        return s * w, s * w + (1 - s) * w_2

    first_part = tf.nest.map_structure(lambda *w: parts(*w)[0], weight[0], other_weight[0])
    total = tf.nest.map_structure(lambda *w: parts(*w)[1], weight[0], other_weight[0])
    shares = tf.nest.map_structure(tf.math.divide_no_nan, first_part, total)
    return MixedTargets(y, other, shares), total


def takes_mixed_targets(config: StepConfig) -> StepConfig:
    """Return a configuration whose loss and metrics take `MixedTargets` too.

    Metrics are computed on the target that has the larger share.
    """
    metrics = {name: _metric_of_mixed(metric) for name, metric in config.metrics.items()}
    loss = config.loss_fn
    if isinstance(loss, LossByOutput):
        mixed = {name: _loss_of_mixed(of_output) for name, of_output in loss.trained.items()}
        loss = dataclasses.replace(loss, losses={**loss.losses, **mixed})
    else:
        loss = _loss_of_mixed(loss)
    return dataclasses.replace(config, loss_fn=loss, metrics=metrics)


def _loss_of_mixed(loss: Loss) -> Loss:
    """Return a loss that is the mean of those of both targets, weighted by their shares."""

    @functools.wraps(loss)
    def mixed(y_true: Tree, y_pred: Tree) -> Tensor:
        if not isinstance(y_true, MixedTargets):
            return loss(y_true, y_pred)
        first, second = loss(y_true.first, y_pred), loss(y_true.second, y_pred)
        if isinstance(first, Masked) or tf.convert_to_tensor(first).shape.rank == 0:
            raise ValueError(
                "augment: examples cannot be mixed under a loss that leaves values out or is one "
                "number for the batch: use a loss with a value for each example, or leave out "
                "mixup and cutmix"
            )
        share = with_rank(tf.cast(y_true.share, first.dtype), first.shape.rank)
        return share * first + (1 - share) * second

    return mixed


def _metric_of_mixed(metric: Any) -> Any:
    """Return a metric of the targets with the larger share."""
    if isinstance(metric, OutputMetric):
        return metric._replace(metric=_metric_of_mixed(metric.metric))
    if isinstance(metric, Metric):
        return metric._replace(from_model_output=_of_larger_share(metric.from_model_output))
    return _of_larger_share(metric)


def _of_larger_share(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a metric function that is called with the targets of the larger share."""

    @functools.wraps(function)
    def of_larger(y_true: Tree, *rest: Any, **options: Any) -> Any:
        if isinstance(y_true, MixedTargets):
            is_first = y_true.share >= 0.5
            y_true = tf.nest.map_structure(
                lambda a, b: tf.where(_over(is_first, a), a, b), y_true.first, y_true.second
            )
        return function(y_true, *rest, **options)

    return of_larger


def _over(is_first: Tensor, target: Tensor) -> Tensor:
    """Reshape bools [batch, ...] so that they broadcast with a target."""
    while is_first.shape.rank > target.shape.rank:
        is_first = is_first[..., 0]
    return with_rank(is_first, target.shape.rank)
