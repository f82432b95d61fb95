"""`FitConfig`: the arguments of `fit` as a training loop takes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from trainlib.training.callback import Callback
from trainlib.training.data_adapter import DataAdapter


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """The arguments of `fit` as a training loop takes them.

    Attributes:
        data: the adapter of the training data.
        validation: the adapter of the validation data, evaluated after each epoch; None for none.
        epochs: number of the last epoch.
        shuffle: whether arrays are taken in a different order in each epoch.
        callbacks: callbacks, called in this order.
        seconds_per_call: approximate duration of a call to the device in seconds.
        initial_epoch: number of epochs of an earlier `fit`, which are left out. Default: 0.
        validation_freq: number of epochs from one validation to the next, or the numbers of the
            epochs that are validated. Default: 1.
        stop_before: number of the batch before which the loop stops, counted over the model's whole
            training from 1. Default: None, at the end.
    """

    data: DataAdapter
    validation: DataAdapter | None
    epochs: int
    shuffle: bool
    callbacks: Sequence[Callback]
    seconds_per_call: float
    initial_epoch: int = 0
    validation_freq: int | Collection[int] = 1
    stop_before: int | None = None

    def validates(self, epoch: int) -> bool:
        """Return whether there is a validation after an epoch, counted from 1."""
        if self.validation is None:
            return False
        if isinstance(self.validation_freq, int):
            return epoch % self.validation_freq == 0
        return epoch in self.validation_freq
