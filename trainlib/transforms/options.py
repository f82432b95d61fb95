"""The options that every Keras optimizer takes, composed in one order."""

from __future__ import annotations

from collections.abc import Callable

from trainlib.core.checks import check_number
from trainlib.core.types import Optimizer, Tensor
from trainlib.transforms.accumulate import accumulate
from trainlib.transforms.average import ema
from trainlib.transforms.chain import chain
from trainlib.transforms.checks import check_optimizer
from trainlib.transforms.clip import clip_by_global_norm, clip_by_norm, clip_by_value
from trainlib.transforms.constrain import constrain
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
    """An optimizer with the options of Keras's base `Optimizer`, by their names there.

        loss_scale_factor               scale(1 / f)
        gradient_accumulation_steps     accumulate(..., every_k)        around all the others
        clipnorm                        clip_by_norm
        global_clipnorm                 clip_by_global_norm
        clipvalue                       clip_by_value
        weight_decay                    the optimizer's own argument; after clipping, unclipped
        exclude_from_weight_decay       the optimizer's decay_mask, by path
        a variable's constraint         constrain
        use_ema, ema_momentum, ema_overwrite_frequency      ema(debias=False)

    It is `accumulate(chain(scale, clip, optimizer, constrain, ema), every_k)` of those given:
    gradients are summed first, then clipped, then the weights decay and step, are constrained,
    and averaged last.

    Args:
        optimizer: the rule, with its weight decay.
        constraint: a function of one parameter, that holds for all of them; `constrain` has a
            mask.

    Raises:
        ValueError: two kinds of clipping at once, or an option out of its range.

    Differs from: Keras in three places. Under accumulation its schedule, its average and the
    average's overwriting count micro-batches, here updates. Its average is of the parameters
    before the constraint, here after. Its clipping comes before the sum over replicas, here
    after.
    """
    check_optimizer(optimizer, "keras_options")
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
        raise ValueError("give one of clipnorm, clipvalue and global_clipnorm at most")
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
