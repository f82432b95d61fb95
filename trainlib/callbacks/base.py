"""What a callback is told, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from trainlib.loop.trainer import Trainer

Results: TypeAlias = dict[str, Any]
"""By name: numbers, and of metrics of several values nested lists of them."""


class Progress(NamedTuple):
    """How far a run is.

    epoch: from 1 to epochs. position: steps made in this epoch, of `steps`, which is
    None where nobody knows. metrics: the epoch's
    results so far by name; calling it waits for the device, so call it only to show them.
    """

    epoch: int
    epochs: int
    position: int
    steps: int | None
    metrics: Callable[[], Results]


class Callback:
    """Override what is wanted; each does nothing by itself."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first epoch, with the trainer: `trainer.stop()` ends the run, and
        `trainer.set_hyperparams`, `trainer.weights` change what it goes on with."""

    def on_step(self, progress: Progress) -> None:
        """After each call to the device, of many steps."""

    def on_epoch(self, progress: Progress, results: Results) -> None:
        """After an epoch and its validation: the line that goes into the history."""

    def on_finish(self) -> None:
        """After the last epoch, before `on_end`; not when an error or the user ends the run."""

    def on_end(self) -> None:
        """After the last epoch, or when an error or the user ends the run."""
