"""`lr_finder`: one short training run with a growing learning rate, and the rate to train with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypedDict

import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.types import Optimizer, Schedule, Tensor, Tree
from trainlib.regularizers import Regularizer
from trainlib.schedules import exponential_decay
from trainlib.step.train import train_step
from trainlib.tools.loss_curve import LRFinderResult, OnStep, RangeTest, follow
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.augmentation import Augmentation, AugmentFunction
from trainlib.training.chunks import specs_of
from trainlib.training.objectives import FromLogits, Losses, LossWeights
from trainlib.training.order import epoch_order
from trainlib.training.trainer import Trainer
from trainlib.transforms.accumulate import accumulates
from trainlib.transforms.decay import Mask
from trainlib.transforms.sam import SamState
from trainlib.transforms.states import has_state

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT = RangeTest()


class RangeTrainerOptions(TypedDict, total=False):
    """Options of `Trainer` that `lr_finder` takes too."""

    seed: int
    precision: str | None
    execution: str
    loss_weights: LossWeights
    from_logits: FromLogits
    regularizer: Regularizer | None
    regularizer_mask: Mask
    augment: Augmentation | AugmentFunction | None
    gradient_checkpointing: bool


def lr_finder(
    model: Any,
    loss: Losses,
    optimizer: Callable[[Schedule], Optimizer],
    data: tuple[Any, ...],
    *,
    batch_size: int = 32,
    range_test: RangeTest = DEFAULT,
    on_step: OnStep | None = None,
    **options: Unpack[RangeTrainerOptions],
) -> LRFinderResult:
    """Run a learning-rate range test: train a copy of the model while the learning rate grows.

        eta_k = start_lr (end_lr / start_lr)^(k / max_steps)         k = 0, 1, ..., max_steps
        avg_k = s avg_(k-1) + (1 - s) L_k,  avg_(-1) = 0
        S_k   = avg_k / (1 - s^(k+1))

    eta_k is the learning rate of the update on batch k, L_k the loss of that batch before the
    update, penalties included, S_k the smoothed loss. The test ends after max_steps + 1 batches,
    at a loss that is not finite, or where S_k > best + (diverge_factor - 1) |best| with best the
    lowest value so far.

    The first w steps, whose S_k average few losses, and the steps after m, where the rest of
    S_k is lowest, are ignored. With w = min(1 / (1 - s), max_steps / 10):

        steepest           eta_k with the most negative slope (S_(k+h) - S_(k-h)) over log eta,
                           h = max(w / 2, 1), w <= k <= m
        tenth_of_minimum   eta_m / 10
        suggestion         the first eta_k with S_k <= S_w - 0.6 (S_w - S_m)

    `suggestion` varies least with the seed: `steepest` depends on single batches, and
    `tenth_of_minimum` on the position of the minimum along a flat part of the curve.

    Steps that a loss scale skips are left out. Batches are in the order of a training run with the
    same seed. The model, its batch statistics and its dropout seeds are not changed.

    Args:
        model: a built Keras model, or a `FunctionalModel`.
        loss: as for `Trainer`: of one output, or by output.
        optimizer: a function of a learning rate, which is a schedule here: `tl.adam`, or
            `lambda rate: tl.chain(tl.clip_by_norm(1.0), tl.adam(rate))`. Instead of
            `accumulate`, give the number of examples of an update as the batch_size; instead of
            `sam`, its optimizer.
        data: arrays (x, y) or (x, y, sample_weight), as for `Trainer.fit`.
        batch_size: examples per step, at least 1. Default: 32.
        range_test: learning rates, number of steps, smoothing and end of the test. Default:
            `RangeTest()`, 100 steps from 1e-7 to 10.
        on_step: function called after each step with the step, its learning rate, its loss and its
            smoothed loss. Default: None.
        **options: `seed`, `precision`, `execution`, `loss_weights`, `from_logits`, `regularizer`,
            `regularizer_mask`, `augment` and `gradient_checkpointing`, as for `Trainer`.

    Returns:
        An `LRFinderResult`; train with its `suggestion`.

    Raises:
        TypeError: an argument has another type.
        ValueError: an argument is out of its range; the first loss is not finite; the loss
            diverged before it fell, or fell by no more than the losses of batches differ.

    Example:
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> model = tl.models.mlp((1,), 1, hidden=(), initializer="zeros")
        >>> result = tl.lr_finder(
        ...     model, "mean_squared_error", tl.sgd, (x, 3 * x), execution="graph"
        ... )
        >>> result.stopped, 0.01 < result.suggestion < 3
        ('diverged', True)

    Differences:
        Keras: callbacks of this name read `logs["loss"]`, the mean of the epoch so far, and leave
            the model trained; this function reads the loss of each batch. Some compare with the
            lowest raw loss (`best_of="raw"`), or treat losses of 0 and below in other ways.

    References:
        Smith 2017, "Cyclical Learning Rates for Training Neural Networks".
    """
    check_integer("batch_size", batch_size, at_least=1)
    ratio = range_test.end_lr / range_test.start_lr
    ramp = exponential_decay(range_test.start_lr, range_test.max_steps, ratio, dtype="float64")
    tx = _made_by(optimizer, ramp)
    # The model is safe: only `fit` writes to it.
    trainer = Trainer(model, loss, tx, strategy="one_device", **options)
    if accumulates(trainer.state.opt_state):
        raise ValueError(
            "optimizer must not accumulate: give the examples of a whole window as the batch_size"
        )
    if has_state(trainer.state.opt_state, SamState):
        raise ValueError(
            "optimizer must not be tl.sam, which updates at every second batch: test the optimizer "
            "inside it"
        )
    steps = range_test.max_steps + 1
    found = itertools.islice(_losses(trainer, data, batch_size), steps)
    return follow(found, ramp(tf.range(steps)).numpy(), range_test, on_step)


def _made_by(factory: Any, ramp: Schedule) -> Optimizer:
    """Return the optimizer that the user's function makes."""
    if not callable(factory):
        raise TypeError(
            f"optimizer must be a function of a learning rate such as tl.adam, got {factory!r}"
        )
    optimizer: Optimizer = factory(ramp)
    return optimizer


def _losses(trainer: Trainer, data: tuple[Any, ...], batch_size: int) -> Iterator[float]:
    """Yield the loss of each batch of training, with an update after it.

    Batches that the loss scale skips are left out, as `state.step` and the learning rate do not
    advance; NaN is yielded where it cannot be reduced further.
    """
    adapter = ArrayAdapter("data", trainer.context.read("data", data), batch_size)
    config = trainer.context.programs.config
    step = train_step(config, compile_update=trainer.execution == "xla_update")
    state = trainer.state

    def advance(state: Tree, batch: Tree) -> tuple[Tree, Tensor]:
        state, metrics = step(state, batch)
        return state, metrics["loss"].compute()

    run = None
    for epoch in itertools.count():
        order = epoch_order(int(state.seed), epoch, adapter.size)
        for chunk in trainer.context.augmented(adapter.training(order), adapter, epoch):
            run = run or _compiled(advance, state, chunk.examples, trainer.execution)
            for start in range(0, chunk.stop, chunk.rows):
                rows = slice(start, start + chunk.rows)
                batch = tf.nest.map_structure(lambda a: a[rows], chunk.examples)  # noqa: B023
                state, loss = run(state, batch)
                guard = state.finite_guard if config.skips_nonfinite else None
                if guard is None or guard.skipped_in_a_row == 0:
                    yield float(loss)
                elif guard.exhausted:
                    yield math.nan


def _compiled(
    advance: Callable[..., Any], state: Tree, examples: Tree, execution: str
) -> Callable[..., Any]:
    """Return a step, traced for batches of any size."""
    specs = tf.nest.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), state)
    compiled: Callable[..., Any] = tf.function(
        advance,
        input_signature=[specs, specs_of(examples)],
        jit_compile=execution == "xla",
        autograph=False,
    )
    return compiled
