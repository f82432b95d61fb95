"""The options that every Keras optimizer takes, composed in one order."""

from __future__ import annotations

from collections.abc import Callable

from trainlib.core.checks import check_number
from trainlib.core.types import Optimizer, Tensor, check_optimizer
from trainlib.transforms.accumulate import accumulate
from trainlib.transforms.chain import chain
from trainlib.transforms.clip import clip_by_global_norm, clip_by_norm, clip_by_value
from trainlib.transforms.constrain import constrain
from trainlib.transforms.ema import ema
from trainlib.transforms.gradients import scale


def keras_options(
    optimizer: Optimizer,
    *,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    constraint: Callable[[Tensor], Tensor] | None = None,
    use_ema: bool = False,
    ema_momentum: float = 0.99,
    ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None,
) -> Optimizer:
    """Add the options of Keras's base `Optimizer` to an optimizer, with the names that Keras uses.

    It returns `accumulate(chain(scale, clip, optimizer, constrain, ema), every_k)` of those given:
    gradients are summed first, then clipped; the weights decay and move, are constrained, and
    averaged last. Weight decay is an argument of the optimizer itself, and
    `exclude_from_weight_decay` its `decay_mask`.

    Args:
        optimizer: the optimizer, with its weight decay.
        clipnorm: bound of `clip_by_norm`, above 0. Default: None, no clipping.
        clipvalue: bound of `clip_by_value`, above 0. Default: None, no clipping.
        global_clipnorm: bound of `clip_by_global_norm`, above 0. Default: None, no clipping.
        constraint: a function of one parameter, applied to all by `constrain`. Default: None.
        use_ema: whether `ema(debias=False)` averages the parameters. Default: False.
        ema_momentum: its decay, in [0, 1). Default: 0.99.
        ema_overwrite_frequency: updates after which the parameters are set to their average, at
            least 1. Default: None, never.
        loss_scale_factor: the factor f by which the loss was multiplied, above 0; gradients are
            scaled by 1 / f. Default: None.
        gradient_accumulation_steps: micro-batches per update, at least 1; see `accumulate`.
            Default: None, no accumulation.

    Returns:
        The composed `Optimizer`.

    Raises:
        ValueError: two kinds of clipping are given, or an option is out of its range.
        TypeError: an option is of another type, or `optimizer` is not an `Optimizer`.

    Example:
        >>> tx = tl.keras_options(tl.sgd(0.5), clipnorm=2.5, gradient_accumulation_steps=2)
        >>> w = tf.constant([0.0, 0.0])
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(tf.constant([3.0, 4.0]), state, w)
        >>> updates.numpy().tolist()
        [-0.75, -1.0]

    Differences:
        Keras: under accumulation the schedule, the moving average and the overwriting count
            micro-batches; here they count updates. The parameters are averaged before the
            constraint, here after it. Gradients are clipped before the sum over replicas, here
            after it.
    """
    check_optimizer("optimizer of keras_options", optimizer)
    clips = [
        make(bound)
        for make, bound in (
            (clip_by_norm, clipnorm),
            (clip_by_value, clipvalue),
            (clip_by_global_norm, global_clipnorm),
        )
        if bound is not None
    ]
    if len(clips) > 1:
        raise ValueError("give at most one of clipnorm, clipvalue and global_clipnorm")
    members = [*clips, optimizer]
    if loss_scale_factor is not None:
        check_number("loss_scale_factor", loss_scale_factor, above=0)
        members.insert(0, scale(1 / loss_scale_factor))
    if constraint is not None:
        members.append(constrain(constraint))
    if use_ema:
        members.append(ema(ema_momentum, False, ema_overwrite_frequency))
    if gradient_accumulation_steps is None:
        return chain(*members)
    return accumulate(chain(*members), gradient_accumulation_steps)
