"""`ValidationRatio`: how much worse the model is on data that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainlib.training.callback import Callback, TrainingStatus


class ValidationRatio(Callback):
    """Logs the ratio of a result on the validation data to that on the training data.

    Above 1, and rising, it shows that the model overfits. The loss on the training data is the mean
    over the epoch, while the model changed, so that early ratios may be below 1.

    Args:
        monitor: name of the result. Default: "loss".
        log: function that is called with a line after each epoch. Default: `print`.

    Raises:
        TypeError: monitor is not a name.

    Example:
        >>> ratio = tl.callbacks.ValidationRatio()
        >>> status = tl.callbacks.TrainingStatus(
        ...     epoch=2, epochs=3, batch=50, steps_per_epoch=50, global_batch=100,
        ...     history=[{"loss": 0.5, "val_loss": 0.6}], metrics=dict, state=lambda: None)
        >>> ratio.on_epoch_end(status)
        epoch 2/3  val_loss / loss 1.2
    """

    def __init__(self, monitor: str = "loss", log: Callable[[str], Any] = print) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a result, got {monitor!r}")
        self.monitor, self.log = monitor, log
        self.monitored = (monitor, f"val_{monitor}")

    def on_epoch_end(self, status: TrainingStatus) -> None:
        trained, validated = (status.results.get(name) for name in self.monitored)
        if trained and validated is not None and status.is_chief:
            line = f"val_{self.monitor} / {self.monitor} {validated / trained:.4g}"
            self.log(f"epoch {status.epoch}/{status.epochs}  {line}")
