"""`Callback`: its methods, the status that they receive, and the requests that they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from trainlib.core.checks import nearest
from trainlib.core.types import Tree
from trainlib.step.state import TrainState

Results: TypeAlias = dict[str, Any]
"""Results by name: numbers, and nested lists for metrics of several values."""
NOT_METRICS = ("epoch", "step", "seconds")
"""Results that are not metrics; lines show them in another form or not at all."""


class NonFiniteError(FloatingPointError):
    """Raised by `fit` when the loss or the gradients are not finite and the run must end.

    Args:
        message: one line.
        batch: number of the batch, counted over the model's whole training from 1; None if single
            steps were not tested.

    Attributes:
        batch: as above.

    Example:
        >>> raise tl.callbacks.NonFiniteError("the loss of epoch 3 is not finite")
        Traceback (most recent call last):
        ...
        trainlib.training.callback.NonFiniteError: the loss of epoch 3 is not finite
    """

    def __init__(self, message: str, batch: int | None = None) -> None:
        super().__init__(message)
        self.batch = batch


class Stop(NamedTuple):
    """Request to end the run: at once, or from `on_epoch_end` after the epoch.

    Of several requests, one that is not resumable takes effect.

    Attributes:
        reason: why, in a few words. Default: "".
        resumable: whether the run is interrupted rather than finished, to be resumed from a
            checkpoint later. Default: False.

    Example:
        >>> tl.callbacks.Stop("accuracy reached")
        Stop(reason='accuracy reached', resumable=False)
    """

    reason: str = ""
    resumable: bool = False


class Save(NamedTuple):
    """Request to save a checkpoint.

    Attributes:
        best: whether it is the best checkpoint so far; it is kept until the next one with `best`.
            Default: False.

    Example:
        >>> tl.callbacks.Save(best=True)
        Save(best=True)
    """

    best: bool = False


class SetHyperparams(NamedTuple):
    """Request to change hyperparameters in the optimizer's state, as `Trainer.set_hyperparams`.

    Attributes:
        values: new values by name.

    Example:
        >>> tl.callbacks.SetHyperparams({"learning_rate": 1e-4})
        SetHyperparams(values={'learning_rate': 0.0001})
    """

    values: Mapping[str, float]


class SetWeights(NamedTuple):
    """Request to assign the model's parameters and its other state, such as batch statistics.

    Attributes:
        params: new values, in the structure of `TrainState.params`.
        model_state: new values, in the structure of `TrainState.model_state`.

    Example:
        >>> tl.callbacks.SetWeights({"w": 1.0}, ())
        SetWeights(params={'w': 1.0}, model_state=())
    """

    params: Tree
    model_state: Tree


class SetTrainable(NamedTuple):
    """Request to train or freeze layers of a Keras model from the next epoch on.

    The step is compiled again for the parameters that are trained then. The optimizer keeps its
    state of those that were trained before, and begins with a new one for the others. It may be
    returned by `on_train_begin` and `on_epoch_end`.

    Attributes:
        pattern: a regular expression that must match the whole name of a layer, or the whole path
            of each of its parameters.
        trainable: whether these layers are trained. Default: True.

    Example:
        >>> tl.callbacks.SetTrainable("conv_.*")
        SetTrainable(pattern='conv_.*', trainable=True)
    """

    pattern: str
    trainable: bool = True


class RollBack(NamedTuple):
    """Request to restore the newest checkpoint; the batches since then are left out.

    Attributes:
        reason: why, in a few words. Default: "".

    Example:
        >>> tl.callbacks.RollBack("the loss is not finite")
        RollBack(reason='the loss is not finite')
    """

    reason: str = ""


Request: TypeAlias = Stop | Save | SetHyperparams | SetWeights | SetTrainable | RollBack
Requests: TypeAlias = Request | Sequence[Request] | None


def _nothing() -> None:
    """Return None, as before the first batch."""


class TrainingStatus(NamedTuple):
    """Read-only status of a training run, passed to each callback method.

    Attributes:
        epoch: the current or just completed epoch, from 1 to `epochs`; 0 before the first.
        epochs: epochs of the whole run.
        batch: batches trained on in this epoch.
        steps_per_epoch: batches per epoch; None if it is unknown.
        global_batch: batches trained on since the model was new, over all epochs and fits.
        history: results of each completed epoch, a dict each.
        metrics: function that returns the results of the current epoch so far. Waits for the
            device, so call it only when you need it.
        state: function that returns the `TrainState` as tensors. Waits for the device.
        nonfinite_tensor: which tensor was not finite at the last step, in `on_train_batch_end` of a
            trainer that stops or rolls back at such a step: the loss, a gradient, or a parameter
            that an earlier update made so; None if all were finite.
        stop: the request that ended the run, in `on_train_end`; None if none did.
        finished: whether the run is complete, in `on_train_end`: neither interrupted nor failed.
        gradients: function that returns the gradients of the last batch at the current parameters,
            in training mode; None before the first batch. All workers must call it together.
        graph: function that returns the `tf.Graph` of a training step; None before the first batch.
        is_chief: whether this process writes files: the first worker, or the only process.
        nonfinite_parameter: function that returns the path of the first parameter with an infinite
            or NaN element; None if there is none. Waits for the device.
        skips_validation: whether there are validation data, but `validation_freq` leaves out this
            epoch, whose results then lack those with the prefix `val_`.

    Example:
        >>> status = tl.callbacks.TrainingStatus(
        ...     epoch=1, epochs=3, batch=10, steps_per_epoch=10, global_batch=10,
        ...     history=[{"loss": 0.5}], metrics=dict, state=lambda: None)
        >>> status.results
        {'loss': 0.5}
    """

    epoch: int
    epochs: int
    batch: int
    steps_per_epoch: int | None
    global_batch: int
    history: Sequence[Results]
    metrics: Callable[[], Results]
    state: Callable[[], TrainState]
    nonfinite_tensor: str | None = None
    stop: Stop | None = None
    finished: bool = False
    gradients: Callable[[], Tree] = _nothing
    graph: Callable[[], Any] = _nothing
    is_chief: bool = True
    nonfinite_parameter: Callable[[], str | None] = _nothing
    skips_validation: bool = False

    @property
    def results(self) -> Results:
        """The results of the last completed epoch; {} before the first."""
        return self.history[-1] if self.history else {}


class Callback:
    """Base class of callbacks. Override the methods you need; each may return requests.

    Each method receives the `TrainingStatus` and returns None, a request (`Stop`, `Save`,
    `SetHyperparams`, `SetWeights`, `SetTrainable`, `RollBack`) or a list of requests.

    Attributes:
        state: structure of tensors that checkpoints store and a resumed run restores; None for
            none. It must have its final structure when `on_train_begin` returns.
        every: number of batches, counted over the model's whole training, after which
            `on_train_batch_end` is called, exactly. Default: None, it is called only after each
            call to the device, which runs many batches. At least 1.
        monitored: names of the results that the callback reads. `fit` raises an error before the
            first epoch if no epoch will have one of them. Default: ().
        patterns: regular expressions of the layers that the callback will train or freeze. `fit`
            raises an error before the first epoch if one matches no layer. Default: ().

    Example:
        >>> class StopBelow(tl.callbacks.Callback):
        ...     def __init__(self, loss):
        ...         self.loss = loss
        ...     def on_epoch_end(self, status):
        ...         if status.results["loss"] < self.loss:
        ...             return tl.callbacks.Stop(f"loss below {self.loss}")
        >>> model = tl.FunctionalModel(
        ...     lambda params, state, x, training: tl.ModelOutput(x * params["w"], state),
        ...     {"w": tf.zeros([1])})
        >>> trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.25))
        >>> data = np.ones([8, 1], "float32"), np.ones([8, 1], "float32")
        >>> len(trainer.fit(data, epochs=9, callbacks=[StopBelow(0.1)]))
        3
    """

    state: Any = None
    every: int | None = None
    monitored: Sequence[str] = ()
    patterns: Sequence[str] = ()

    def on_train_begin(self, status: TrainingStatus) -> Requests:
        """Called before the first epoch, or before a resumed run continues."""

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        """Called after each call to the device, which makes many steps."""

    def on_test_batch_end(self, status: TrainingStatus) -> Requests:
        """Called after each call to the device in the validation at the end of an epoch."""

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        """Called after an epoch and its validation; `status.results` are its results."""

    def on_train_end(self, status: TrainingStatus) -> Requests:
        """Called after the last epoch, or when a request, an error or the user ends the run.

        A `Save` has no effect where an error or the user ended the run within a call to the device
        or in `on_epoch_end`: the state is ahead of the position at which it would be resumed.
        """


class EachEpoch(Callback):
    """A function of the status as a callback that is called after each epoch."""

    def __init__(self, function: Callable[[TrainingStatus], Requests]) -> None:
        self.function = function

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        return self.function(status)


def as_callback(callback: Any) -> Callback:
    """Return a `Callback` as it is, and a function as one that is called after each epoch.

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


def check_monitored(
    callbacks: Iterable[Callback], names: Sequence[str], arrays: Sequence[str] = ()
) -> None:
    """Raise `ValueError` for a monitored result that no epoch will have.

    Args:
        callbacks: the callbacks.
        names: names of the results of an epoch.
        arrays: names of the results that are not single numbers.
    """
    for callback in callbacks:
        for name in callback.monitored:
            if name not in names:
                raise ValueError(f"{_monitors(callback, name)}, but {_available(name, names)}")
            if name in arrays:
                raise ValueError(f"{_monitors(callback, name)}, which is not a single number")


def _monitors(callback: Callback, name: str) -> str:
    return f"{type(callback).__name__} monitors {name!r}"


def _available(name: str, names: Sequence[str]) -> str:
    """Return which results there are, and the one that a name most likely means."""
    shown = [x for x in names if x not in (*NOT_METRICS, "learning_rate")]
    text = f"the results are {', '.join(shown)}"
    prefix = "val_" if name.startswith("val_") else ""
    if prefix and not any(x.startswith(prefix) for x in names):
        return f"{text}; it needs validation_data"
    of_part = [x.removeprefix(prefix) for x in shown if x.startswith(prefix)]
    near = nearest(name.removeprefix(prefix), of_part)
    return text if near is None else f"{text}: did you mean {prefix + near!r}?"


def as_requests(callback: Callback, returned: Any) -> Iterable[Request]:
    """Return what a callback returned as requests.

    Raises:
        TypeError: it is something else.
    """
    if returned is None:
        return ()
    kinds = (Stop, Save, SetHyperparams, SetWeights, SetTrainable, RollBack)
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
