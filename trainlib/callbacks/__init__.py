"""Callbacks: small objects that are told how a run goes, and may ask for something."""

from trainlib.callbacks.display import LineLogger, ProgressBar
from trainlib.callbacks.history import CSVLogger, JSONLLogger
from trainlib.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
from trainlib.callbacks.saving import SaveBest, SaveEvery
from trainlib.callbacks.tensorboard import TensorBoard
from trainlib.training.callback import (
    Callback,
    NonFiniteError,
    RollBack,
    Save,
    SetHyperparams,
    SetWeights,
    Stop,
    TrainingStatus,
)

__all__ = [
    "ProgressBar",
    "Callback",
    "CSVLogger",
    "EarlyStopping",
    "TrainingStatus",
    "JSONLLogger",
    "LineLogger",
    "NonFiniteError",
    "ReduceLROnPlateau",
    "RollBack",
    "Save",
    "SaveBest",
    "SaveEvery",
    "SetHyperparams",
    "SetWeights",
    "Stop",
    "TensorBoard",
]
