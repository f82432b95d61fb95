"""What a callback is told, and when, and what it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from trainlib.core.types import Tree
from trainlib.step.state import TrainState

Results: TypeAlias = dict[str, Any]
"""By name: numbers, and of metrics of several values nested lists of them."""


class NonFiniteError(FloatingPointError):
    """A run came to values that are not finite, and was not to go on.

    Args:
        message: in a line.
        batch: at which, counted over the model's whole training from 1; None where nobody looked.
    """

    def __init__(self, message: str, batch: int | None = None) -> None:
        super().__init__(message)
        self.batch = batch


class Stop(NamedTuple):
    """Ends the run: from `on_train_batch_end` at once, from `on_epoch_end` after the epoch.

    reason: in a few words. resumable: whether the run is to go on later, from a checkpoint; it is
    not finished then.
    """

    reason: str = ""
    resumable: bool = False


class Save(NamedTuple):
    """Saves a checkpoint; one that is the best so far is kept until another one is."""

    best: bool = False


class SetHyperparams(NamedTuple):
    """Changes hyperparameters in the optimizer's state, as `Trainer.set_hyperparams` does."""

    values: Mapping[str, float]


class SetWeights(NamedTuple):
    """Gives the model other parameters and other state, such as batch statistics."""

    params: Tree
    model_state: Tree


class RollBack(NamedTuple):
    """Goes back to the last good checkpoint; the batches since then are left out.

    reason: in a few words.
    """

    reason: str = ""


Request: TypeAlias = Stop | Save | SetHyperparams | SetWeights | RollBack
Requests: TypeAlias = Request | Sequence[Request] | None


def _nothing() -> None:
    """What there is of a batch before the first."""


class TrainingStatus(NamedTuple):
    """Read-only status of a training run, passed to each callback method.

    Attributes:
        epoch: the current or just completed epoch, from 1 to `epochs`; 0 before the first.
        epochs: epochs of the whole run.
        batch: batches trained on in this epoch.
        steps_per_epoch: batches per epoch; None where it is unknown.
        global_batch: batches trained on since the model was new, over all epochs and fits.
        history: results of each completed epoch, a dict each.
        metrics: function that returns the results of the current epoch so far. Waits for the
            device, so call it only when you need it.
        state: function that returns the `TrainState` as tensors. Waits for the device.
        nonfinite: which tensor was not finite at the last step, in `on_train_batch_end` of a
            trainer that stops or rolls back at such a step; None where all were finite.
        stop: the request that ended the run, in `on_train_end`; None where none did.
        finished: whether the run is complete, in `on_train_end`: neither interrupted nor failed.
        gradients: function that returns the gradients of the last batch at the current parameters,
            in training mode; None before the first batch. All workers must call it together.
        graph: function that returns the `tf.Graph` of a training step; None before the first batch.
        is_chief: whether this process writes files: the first worker, or the only process.
    """

    epoch: int
    epochs: int
    batch: int
    steps_per_epoch: int | None
    global_batch: int
    history: Sequence[Results]
    metrics: Callable[[], Results]
    state: Callable[[], TrainState]
    nonfinite: str | None = None
    stop: Stop | None = None
    finished: bool = False
    gradients: Callable[[], Tree] = _nothing
    graph: Callable[[], Any] = _nothing
    is_chief: bool = True

    @property
    def results(self) -> Results:
        """Return the results of the last completed epoch; {} before the first."""
        return self.history[-1] if self.history else {}


class Callback:
    """Base class of callbacks: override the methods you need; each may return requests.

    Attributes:
        state: what checkpoints keep of the callback, a structure of tensors; None for nothing. Its
            structure must be complete when `on_train_begin` returns.
        every: call `on_train_batch_end` after every `every` batches exactly; None: only after each
            call to the device, which runs many batches.
    """

    state: Any = None
    every: int | None = None

    def on_train_begin(self, status: TrainingStatus) -> Requests:
        """Before the first epoch; or, of a run that is resumed, before it goes on."""

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        """After each call to the device, of many steps."""

    def on_test_batch_end(self, status: TrainingStatus) -> Requests:
        """After each call to the device in the validation at the end of an epoch."""

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        """After an epoch and its validation, of which `status.results` are the results."""

    def on_train_end(self, status: TrainingStatus) -> Requests:
        """After the last epoch, or when a request, an error or the user ends the run."""


class EachEpoch(Callback):
    """A function of the status as a callback: it is called after each epoch."""

    def __init__(self, function: Callable[[TrainingStatus], Requests]) -> None:
        self.function = function

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        return self.function(status)


def as_callback(callback: Any) -> Callback:
    """A `Callback` as it is, a function as one.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(callback, Callback):
        return callback
    if callable(callback) and not isinstance(callback, type):
        return EachEpoch(callback)
    raise TypeError(
        f"a callback must be a Callback or a function that is called after each epoch, got "
        f"{callback!r}"
    )


def as_requests(callback: Callback, returned: Any) -> Iterable[Request]:
    """What a callback returned, as requests.

    Raises:
        TypeError: it is something else.
    """
    if returned is None:
        return ()
    kinds = (Stop, Save, SetHyperparams, SetWeights, RollBack)
    requests = [returned] if isinstance(returned, kinds) else returned
    if not isinstance(requests, (list, tuple)) or not all(isinstance(r, kinds) for r in requests):
        name = type(callback).__name__
        if isinstance(callback, EachEpoch):
            name = getattr(callback.function, "__name__", name)
        raise TypeError(
            f"callback {name} must return None or requests such as tl.callbacks.Stop(), got "
            f"{returned!r}"
        )
    return requests
