"""A callback with which `train` ends after its first call to the device, for `startup.py`."""

from __future__ import annotations

import os
from typing import Any

from trainlib.callbacks import Callback


class EndAfterFirstStep(Callback):
    """Ends the process when the first steps have returned their results."""

    def on_train_batch_end(self, status: Any) -> None:
        os._exit(0)
