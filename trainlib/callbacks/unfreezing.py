"""`Unfreeze`: layers that are frozen at first are trained from later epochs on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

from trainlib.core.checks import check_integer
from trainlib.core.tree import compiled
from trainlib.training.callback import Callback, Requests, SetTrainable, TrainingStatus


class Unfreeze(Callback):
    """Trains frozen layers of a Keras model from later epochs on, and prints a line about it.

    The step is compiled again after these epochs. Parameters that were trained before keep the
    state of the optimizer; those that are unfrozen begin with a new one. Put them into a separate
    group by `tl.param_rules(..., strict=False)`, so that the update counter of an optimizer, as in
    the bias correction of `adam`, begins at 0 for them. A resumed run continues with the layers
    that were trained at its checkpoint.

    Args:
        steps: patterns of layers, by the number of epochs after which they are trained. A pattern
            is a regular expression that must match the whole name of a layer, or the whole path of
            each of its parameters.
        stream: text stream for the lines. Default: None, standard output.

    Raises:
        ValueError: a number is below 1, or a pattern is not a regular expression; from `fit`, it
            matches no layer.
        TypeError: a number is not an integer.

    Example:
        >>> import keras
        >>> model = tl.models.mlp((4,), 3, hidden=(8,))
        >>> model.get_layer("hidden_1").trainable = False
        >>> optimizer = tl.param_rules("hidden_.*:learning_rate*=0.1", tl.adam,
        ...                            learning_rate=0.01, strict=False)
        >>> trainer = tl.Trainer(model, "sparse_categorical_crossentropy", optimizer)
        >>> data = np.ones([8, 4], "float32"), np.zeros([8], "int32")
        >>> unfreeze = tl.callbacks.Unfreeze({1: "hidden_.*"})
        >>> history = trainer.fit(data, epochs=2, callbacks=[unfreeze])
        epoch 2: layers hidden_.* are trained
        >>> sorted(trainer.state.params)
        ['hidden_1/bias', 'hidden_1/kernel', 'outputs/bias', 'outputs/kernel']

    Differences:
        Keras: `compile` makes a new optimizer for all parameters.
    """

    def __init__(self, steps: Mapping[int, str], *, stream: TextIO | None = None) -> None:
        for epoch, pattern in steps.items():
            check_integer("epoch of Unfreeze", epoch, at_least=1)
            compiled(pattern)
        self.steps = dict(sorted(steps.items()))
        self.patterns = tuple(self.steps.values())
        self.stream = stream

    def on_train_begin(self, status: TrainingStatus) -> Requests:
        completed = status.epoch - (status.batch > 0)
        return [SetTrainable(x) for epoch, x in self.steps.items() if epoch <= completed]

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        pattern = self.steps.get(status.epoch)
        if pattern is None or status.epoch == status.epochs:
            return None
        if status.is_chief:
            line = f"epoch {status.epoch + 1}: layers {pattern} are trained"
            print(line, file=self.stream or sys.stdout, flush=True)
        return SetTrainable(pattern)
