"""What a callback is told, and when, and what it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from trainlib.base import Tree
from trainlib.step import TrainState

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
    """Ends the run: from `on_step` at once, from `on_epoch` after the epoch.

    reason: in a few words. for_now: whether the run is to go on later, from a checkpoint; it is
    not finished then.
    """

    reason: str = ""
    for_now: bool = False


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


class Facts(NamedTuple):
    """How a run stands.

    epoch: the one under way or just ended, from 1 to `epochs`; 0 before the first. position:
    batches trained on in this epoch, of `steps`, which is None where nobody knows. batches: those
    of the model's whole training. history: a dict of results for each epoch that has ended.
    metrics: the results of the epoch so far, by name; state: the `TrainState`, as tensors. Both
    wait for the device, so call them only when you need them. not_finite: of a trainer that stops
    or rolls back where a step is not finite, in `on_step`: what was not, at the last step.
    gradients: of the last batch trained on, at the present parameters, in training mode; graph: of
    a training step, a `tf.Graph`. Both are made when they are called, give None before the first
    batch, and of several workers must be called by all. writes: whether this process is the one
    that writes files. stop: in `on_end`, why the run did not go on. finished: in `on_end`, whether
    it has come to its end, not broken off by an error or for now.
    """

    epoch: int
    epochs: int
    position: int
    steps: int | None
    batches: int
    history: Sequence[Results]
    metrics: Callable[[], Results]
    state: Callable[[], TrainState]
    not_finite: str | None = None
    stop: Stop | None = None
    finished: bool = False
    gradients: Callable[[], Tree] = _nothing
    graph: Callable[[], Any] = _nothing
    writes: bool = True

    @property
    def results(self) -> Results:
        """Those of the last epoch that has ended; {} before."""
        return self.history[-1] if self.history else {}


class Callback:
    """Override what is wanted; each does nothing by itself, and may return requests.

    state: what a checkpoint keeps of the callback, a structure of tensors; None for nothing. It
    must have its structure from `on_start` on. every: where not None, `on_step` comes after each
    so many batches exactly, whatever else.
    """

    state: Any = None
    every: int | None = None

    def on_start(self, facts: Facts) -> Requests:
        """Before the first epoch; or, of a run that is resumed, before it goes on."""

    def on_step(self, facts: Facts) -> Requests:
        """After each call to the device, of many steps."""

    def on_evaluation(self, facts: Facts) -> Requests:
        """After each call to the device in the validation at the end of an epoch."""

    def on_epoch(self, facts: Facts) -> Requests:
        """After an epoch and its validation, of which `facts.results` are the results."""

    def on_end(self, facts: Facts) -> Requests:
        """After the last epoch, or when a request, an error or the user ends the run."""


class EachEpoch(Callback):
    """A function of the facts as a callback: it is called after each epoch."""

    def __init__(self, function: Callable[[Facts], Requests]) -> None:
        self.function = function

    def on_epoch(self, facts: Facts) -> Requests:
        return self.function(facts)


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
