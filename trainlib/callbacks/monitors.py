"""Callbacks that carry the state machines of performance scheduling through a run."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from trainlib.callbacks.display import HIDDEN
from trainlib.monitors import EarlyStopState, PlateauState, early_stop, reduce_on_plateau
from trainlib.training.callback import (
    Callback,
    Requests,
    Results,
    SetHyperparams,
    SetWeights,
    Stop,
    TrainingStatus,
)
from trainlib.transforms.inject import hyperparam


class ReduceLROnPlateau(Callback):
    """Reduces the learning rate when a result has stopped to improve, and says so in a line.

        trainer = tl.Trainer(model, loss, tl.inject_hyperparams(tl.adam)(1e-3))
        trainer.fit(data, epochs=50, validation_data=held_out,
                    callbacks=[tl.callbacks.ReduceLROnPlateau("val_loss", patience=5)])

    Of a schedule nothing can be reduced but a factor on the updates that it makes, which is

        optimizer = tl.chain(tl.adam(schedule), tl.inject_hyperparams(tl.scale)(factor=1.0))
        callback = ReduceLROnPlateau("val_loss", hyperparam="factor")

    `state` is that of the machine; each run begins with a new one, but one that is resumed.

    Args:
        monitor: the name of the result.
        hyperparam: what is reduced: a hyperparameter in the optimizer's state.
        stream: where the line goes; standard output by default.
        options: as of `reduce_on_plateau`.

    Raises:
        ValueError: at the start of a run, an optimizer without the hyperparameter in its state;
            after an epoch, a result that is not there, or a rate that something else has changed.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        hyperparam: str = "learning_rate",
        stream: TextIO | None = None,
        **options: Any,
    ) -> None:
        self.machine = reduce_on_plateau(monitor, **options)
        self.hyperparam = hyperparam
        self.stream = stream
        self.state: PlateauState

    def on_train_begin(self, status: TrainingStatus) -> None:
        try:
            rate = hyperparam(status.state().opt_state, self.hyperparam)
        except ValueError as error:
            raise ValueError(
                f"ReduceLROnPlateau needs one {self.hyperparam} in the optimizer's state, as in "
                f"tl.inject_hyperparams(tl.adam)(learning_rate=0.001): {error}"
            ) from None
        self.state = self.machine.init(rate)

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        metric = monitored(self, self.machine.monitor, status.results)
        old = self.state.learning_rate
        self._check_unchanged(status)
        self.state = self.machine.update(metric, self.state)
        new = self.state.learning_rate
        if new == old:
            return None
        name = self.hyperparam.replace("_", " ")
        _say(f"epoch {status.epoch}: {name} {float(old):.4g} -> {float(new):.4g}", self)
        return SetHyperparams({self.hyperparam: float(new)})

    def _check_unchanged(self, status: TrainingStatus) -> None:
        """Raises where the rate is not the one that was set: reducing it would be in vain."""
        rate = hyperparam(status.state().opt_state, self.hyperparam)
        expected = self.state.learning_rate
        if expected != self.machine.init(rate).learning_rate:
            raise ValueError(
                f"ReduceLROnPlateau: {self.hyperparam} is {rate:g}, not {float(expected):g}: a "
                "schedule or another callback changes it too; for a schedule, reduce the factor "
                "of tl.chain(optimizer, tl.inject_hyperparams(tl.scale)(factor=1.0)), with "
                "hyperparam='factor'"
            )


class EarlyStopping(Callback):
    """Ends a run when a result has stopped to improve, and says so in a line.

    With restore_best_weights the run ends with the parameters of the best epoch, and the other
    state of the model, such as batch statistics, whether it was stopped or went to its last
    epoch; not when an error or the user breaks it off. The optimizer's state stays.

    `state` is that of the machine; each run begins with a new one, but one that is resumed.

    Args:
        monitor: the name of the result.
        restore_best_weights: whether to end with the parameters of the best epoch.
        stream: where the line goes; standard output by default.
        options: as of `early_stop`.

    Raises:
        ValueError: after an epoch, a result that is not there.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        restore_best_weights: bool = False,
        stream: TextIO | None = None,
        **options: Any,
    ) -> None:
        self.machine = early_stop(monitor, restore_best_weights=restore_best_weights, **options)
        self.restore_best_weights = restore_best_weights
        self.baseline: float | None = options.get("baseline")
        self.stream = stream
        self.state: EarlyStopState

    def on_train_begin(self, status: TrainingStatus) -> None:
        self.state = self.machine.init(self._weights(status))

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        metric = monitored(self, self.machine.monitor, status.results)
        self.state = self.machine.update(metric, self.state, self._weights(status))
        return Stop(self._reason()) if self.state.stop else None

    def on_train_end(self, status: TrainingStatus) -> Requests:
        if not status.finished:
            return None
        said = [self._reason()] if self.state.stop else []
        best_epoch = int(self.state.best_epoch)
        restored = self.restore_best_weights and 0 < best_epoch < int(self.state.epoch)
        if restored:
            said.append(f"parameters of epoch {best_epoch} restored")
        if said:
            _say("; ".join(said), self)
        return SetWeights(*self.state.best_params) if restored else None

    def _reason(self) -> str:
        wait = int(self.state.wait)
        best = f"{float(self.state.best):.4g} (epoch {int(self.state.best_epoch)})"
        also = "" if self.baseline is None else f" and the baseline {self.baseline:.4g}"
        return (
            f"stopped after epoch {int(self.state.epoch)}: {self.machine.monitor} has not improved "
            f"on {best}{also} for {wait} epoch{'s' if wait > 1 else ''}"
        )

    def _weights(self, status: TrainingStatus) -> Any:
        """The parameters and the model's other state; nothing where none are to be restored."""
        if not self.restore_best_weights:
            return ()
        state = status.state()
        return state.params, state.model_state


def monitored(callback: Callback, name: str, results: Results) -> float:
    """The result of that name."""
    if name not in results:
        there = ", ".join(key for key in results if key not in HIDDEN)
        needs = "; it needs validation_data" if name.startswith("val_") else ""
        raise ValueError(
            f"{type(callback).__name__} monitors {name!r}, but the results are {there}{needs}"
        )
    if not isinstance(results[name], (int, float)):
        raise ValueError(f"{type(callback).__name__} monitors {name!r}, which is not one number")
    return float(results[name])


def _say(line: str, callback: ReduceLROnPlateau | EarlyStopping) -> None:
    print(line, file=callback.stream or sys.stdout, flush=True)
