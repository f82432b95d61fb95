"""Callbacks: objects that follow a training run and may send it requests.

events: event files as TensorBoard reads them.
history: `CSVLogger` and `JSONLLogger`, the results of each epoch as a file.
images: inputs and weights as images.
layer_statistics: statistics of the activations and gradients of each layer.
monitors: `EarlyStopping` and `ReduceLROnPlateau`, which follow a result.
projector: files for TensorBoard's embedding projector.
saving: `SaveBest` and `SaveEvery`, which request checkpoints, and `StopAfter`.
tensorboard: `TensorBoard`.
unfreezing: `Unfreeze`, which trains frozen layers from later epochs on.
validation_ratio: `ValidationRatio`, the validation loss divided by the training loss.

`Callback`, `TrainingStatus` and the requests are in `trainlib.training.callback`; `ProgressBar` and
`LineLogger`, the progress on a terminal and in a log, in `trainlib.training.display`.
"""

from trainlib.callbacks.history import CSVLogger, JSONLLogger
from trainlib.callbacks.layer_statistics import LayerStatistics, layer_statistics
from trainlib.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
from trainlib.callbacks.saving import SaveBest, SaveEvery, StopAfter
from trainlib.callbacks.tensorboard import TensorBoard
from trainlib.callbacks.unfreezing import Unfreeze
from trainlib.callbacks.validation_ratio import ValidationRatio
from trainlib.training.callback import (
    Callback,
    NonFiniteError,
    RollBack,
    Save,
    SetHyperparams,
    SetTrainable,
    SetWeights,
    Stop,
    TrainingStatus,
)
from trainlib.training.display import LineLogger, ProgressBar

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "JSONLLogger",
    "LineLogger",
    "LayerStatistics",
    "NonFiniteError",
    "ProgressBar",
    "ReduceLROnPlateau",
    "RollBack",
    "Save",
    "SaveBest",
    "SaveEvery",
    "SetHyperparams",
    "SetTrainable",
    "SetWeights",
    "Stop",
    "StopAfter",
    "TensorBoard",
    "TrainingStatus",
    "Unfreeze",
    "ValidationRatio",
    "layer_statistics",
]
