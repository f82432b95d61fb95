"""The learning-rate range test: one short run in which the rate climbs, and what its losses say.

    eta_k = start_lr (end_lr / start_lr)^(k / max_steps)         k = 0, 1, ..., max_steps
    avg_k = s avg_(k-1) + (1 - s) L_k,  avg_(-1) = 0
    S_k   = avg_k / (1 - s^(k+1))

L_k: loss of batch k, penalties included, before the update at the rate eta_k. s: smoothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.core.tree import kernels
from trainlib.core.types import Optimizer, Schedule, Tensor, Tree
from trainlib.losses import Loss
from trainlib.regularizers import Regularizer
from trainlib.schedules import exponential_decay
from trainlib.training.input_pipeline import Arrays, check_pairs
from trainlib.training.order import epoch_order
from trainlib.training.trainer import Trainer
from trainlib.transforms.accumulate import AccumulateState
from trainlib.transforms.decay import Mask
from trainlib.transforms.states import find_states

DESCENT = 0.6
"""The share of the loss's descent that is made at the suggested rate."""
BEST_OF = ("smoothed", "raw")

OnStep: TypeAlias = Callable[[int, float, float, float], None]
"""Is told each step, its learning rate, its loss and the smoothed loss."""


class LRFinderResult(NamedTuple):
    """What a range test saw, and the rates that follow from it.

    rates, losses, smoothed: of each step, float64; the last loss may be the one that stopped the
    test. steepest: the rate at which the smoothed loss fell fastest. tenth_of_minimum: a tenth of
    the rate at which it was least. suggestion: the rate at which it had made 0.6 of its descent.
    stopped: "diverged", "nan" (also for an infinite loss) or "end".
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float
    tenth_of_minimum: float
    suggestion: float
    stopped: str


def lr_finder(
    model: Any,
    loss: str | Loss,
    optimizer: Callable[[Schedule], Optimizer],
    data: tuple[Any, ...],
    *,
    batch_size: int = 32,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    max_steps: int = 100,
    smoothing: float = 0.9,
    diverge_factor: float = 4.0,
    best_of: str = "smoothed",
    regularizer: Regularizer | None = None,
    regularizer_mask: Mask = kernels,
    seed: int = 0,
    precision: str | None = None,
    execution: str = "auto",
    on_step: OnStep | None = None,
) -> LRFinderResult:
    """Trains a copy of the model for some batches, the learning rate climbing, and reads the rate.

        eta_k = start_lr (end_lr / start_lr)^(k / max_steps)         k = 0, 1, ..., max_steps

    for the update on batch k. The test ends after max_steps + 1 batches; where a loss is not
    finite; or where the smoothed loss S_k > best + (diverge_factor - 1) |best|, best being the
    least so far: diverge_factor * best, where that is above 0.

    Batches come in the order of training with this seed, epoch after epoch. The model, its batch
    statistics and dropout seeds stay as they are: what the test trains is its own.

    The ends of the curve say little: the first w steps, whose S_k are means of few losses, and
    all that follows the least of the others, S_m. With w = min(1 / (1 - s), max_steps / 10):

        steepest           eta_k with the most negative slope (S_(k+h) - S_(k-h)) over log eta,
                           h = w / 2 steps to both sides (at least 1), between w and m
        tenth_of_minimum   eta_m / 10
        suggestion         the first eta_k with S_k <= S_w - 0.6 (S_w - S_m)

    The first is drawn by single batches and the second by where on a long, flat floor the least
    loss happens to lie; of the three the suggestion changes least with the seed. The smoothed
    loss follows the rate some 1 / (1 - s) steps late: fewer steps want less smoothing.

    Args:
        model: a built Keras model, or a `FunctionalModel` of any function and its parameters.
        loss: a name of the registry, or `(y_true, y_pred) -> loss of each example`.
        optimizer: makes the optimizer of a learning rate, which is a schedule here: `tl.adam`, or
            `lambda rate: tl.chain(tl.clip_by_norm(1.0), tl.adam(rate))`. Not with `accumulate`:
            give the examples of its whole window as the batch_size.
        data: arrays (x, y) or (x, y, sample_weight), as for `Trainer.fit`.
        batch_size: examples a step.
        start_lr: the first rate, above 0.
        end_lr: the last rate, above start_lr.
        max_steps: steps from the first rate to the last, at least 10.
        smoothing: s, in [0, 1).
        diverge_factor: above 1.
        best_of: "smoothed" or "raw": whose least value the smoothed loss is compared with. With
            "raw" one easy batch can end the test.
        regularizer: a penalty on the parameters of the regularizer_mask, as of `Trainer`.
        regularizer_mask: as of `Trainer`.
        seed: an int of at least 0; the order of examples and dropout follow from it.
        precision: as of `Trainer`, with losses scaled as there.
        execution: as of `Trainer`.
        on_step: is called with each step, its learning rate, its loss and the smoothed loss.

    Raises:
        ValueError, TypeError: an argument of another kind, or out of its range.
        ValueError: the first loss is not finite; the loss diverged before it fell; or over the
            whole range it fell by no more than the standard deviation of a batch's loss.

    Differs from: finders that are Keras callbacks, which read the mean of the epoch so far from
    `logs["loss"]` where this reads the batch's own loss, and leave the model trained; those that
    compare with the least raw loss (best_of="raw"); those that pass over a loss of exactly 0, or
    stop at once where losses are negative.

    Reference: Smith 2017, "Cyclical Learning Rates for Training Neural Networks".
    """
    check_number("start_lr", start_lr, above=0)
    check_number("end_lr", end_lr, above=start_lr)
    check_integer("batch_size", batch_size, at_least=1)
    check_integer("max_steps", max_steps, at_least=10)
    check_number("smoothing", smoothing, at_least=0, below=1)
    check_number("diverge_factor", diverge_factor, above=1)
    check_choice("best_of", best_of, BEST_OF)
    ramp = exponential_decay(start_lr, max_steps, end_lr / start_lr, dtype="float64")
    trainer = Trainer(
        model,  # only `fit` writes to it
        loss,
        _made_by(optimizer, ramp),
        regularizer=regularizer,
        regularizer_mask=regularizer_mask,
        seed=seed,
        precision=precision,
        strategy="one_device",
        execution=execution,
    )
    if any(find_states(trainer.state.opt_state, AccumulateState)):
        raise ValueError(
            "optimizer must not accumulate: give the examples of a whole window as the batch_size"
        )
    rates = ramp(tf.range(max_steps + 1)).numpy()
    found = itertools.islice(_losses(trainer, data, batch_size), max_steps + 1)
    losses, smoothed, stopped = _curve(
        found, rates, smoothing, diverge_factor, best_of, on_step or _say_nothing
    )
    settled = round(min(1 / (1 - smoothing), max_steps / 10))
    seen = rates[: len(losses)]
    return LRFinderResult(
        seen, losses, smoothed, *_suggestions(seen, losses, smoothed, settled, stopped), stopped
    )


def _made_by(factory: Any, ramp: Schedule) -> Optimizer:
    """The optimizer at the ramp's rates."""
    if not callable(factory):
        raise TypeError(
            f"optimizer must be a function of a learning rate such as tl.adam, got {factory!r}"
        )
    optimizer: Optimizer = factory(ramp)
    return optimizer


def _say_nothing(step: int, learning_rate: float, loss: float, smoothed: float) -> None:
    """What is called at each step where nothing else is."""


def _losses(trainer: Trainer, data: tuple[Any, ...], batch_size: int) -> Iterator[float]:
    """The losses of the batches of training, one after another, an update after each."""
    feed = Arrays("data", check_pairs("data", data), batch_size)
    step = trainer.programs.train_step(compile_update=trainer.execution == "xla_update")
    state = trainer.state

    def advance(state: Tree, batch: Tree) -> tuple[Tree, Tensor]:
        state, records = step(state, batch)
        return state, records["loss"].compute()

    run = tf.function(
        advance,
        input_signature=[
            tf.nest.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), state),
            feed.specs,
        ],
        jit_compile=trainer.execution == "xla",
        autograph=False,
    )
    for epoch in itertools.count():
        for chunk in feed.training(epoch_order(int(state.seed), epoch, feed.size)):
            for start in range(0, chunk.stop, chunk.rows):
                rows = slice(start, start + chunk.rows)
                batch = tf.nest.map_structure(lambda a: a[rows], chunk.examples)  # noqa: B023
                state, loss = run(state, batch)
                yield float(loss)


def _curve(
    found: Iterator[float],
    rates: np.ndarray,
    smoothing: float,
    diverge_factor: float,
    best_of: str,
    on_step: OnStep,
) -> tuple[np.ndarray, np.ndarray, str]:
    """The losses, the smoothed losses, and why there are no more of them."""
    losses: list[float] = []
    smoothed: list[float] = []
    average, best, stopped = 0.0, math.inf, "end"
    for k, loss in enumerate(found):
        average = smoothing * average + (1 - smoothing) * loss
        losses.append(loss)
        smoothed.append(average / (1 - smoothing ** (k + 1)))
        on_step(k, float(rates[k]), loss, smoothed[-1])
        if not math.isfinite(loss):
            stopped = "nan"
            break
        best = min(best, smoothed[-1] if best_of == "smoothed" else loss)
        if smoothed[-1] > best + (diverge_factor - 1) * abs(best):
            stopped = "diverged"
            break
    return np.array(losses), np.array(smoothed), stopped


def _suggestions(
    rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, settled: int, stopped: str
) -> tuple[float, float, float]:
    """steepest, tenth_of_minimum and suggestion, with `settled` the first step to look at."""
    if not math.isfinite(losses[0]):
        raise ValueError(
            f"the first loss is {losses[0]}, before any update: look at the data and at the "
            "values of the model's variables"
        )
    smoothed = smoothed[np.isfinite(smoothed)]
    least = settled + int(np.argmin(smoothed[settled:])) if len(smoothed) > settled else 0
    part = slice(settled, least + 1)
    if least <= settled or (stopped == "end" and not _fell(losses[part], smoothed[part])):
        raise ValueError(_no_descent(rates, losses, stopped))
    half = max(settled // 2, 1)
    at = np.arange(settled, max(least - half, settled) + 1)
    before, after = np.maximum(at - half, 0), np.minimum(at + half, least)
    slopes = (smoothed[after] - smoothed[before]) / np.log(rates[after] / rates[before])
    goal = smoothed[settled] - DESCENT * (smoothed[settled] - smoothed[least])
    reached = settled + int(np.argmax(smoothed[settled : least + 1] <= goal))
    return (
        float(rates[at[np.argmin(slopes)]]),
        float(rates[least] / 10),
        float(rates[reached]),
    )


def _fell(losses: np.ndarray, smoothed: np.ndarray) -> bool:
    """Whether the loss fell by more than the standard deviation of a batch's loss.

    It is that of the differences of neighbours, which know little of the descent, over sqrt(2).
    """
    return bool(smoothed[0] - smoothed[-1] > np.std(np.diff(losses)) / math.sqrt(2))


def _no_descent(rates: np.ndarray, losses: np.ndarray, stopped: str) -> str:
    """What to do where no rate lowered the loss."""
    if stopped == "end":
        return (
            f"between learning rates {rates[0]:.3g} and {rates[-1]:.3g} the loss fell by no more "
            "than batches differ: give a smaller start_lr, a larger end_lr or a larger batch_size"
        )
    end = "diverged" if stopped == "diverged" else f"was {losses[-1]}"
    return (
        f"the loss {end} at learning rate {rates[-1]:.3g}, step {len(rates) - 1}, and had not "
        "fallen before: give a smaller start_lr"
    )
