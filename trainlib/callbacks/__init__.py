"""Callbacks: small objects that are told how a run goes, and may ask for something."""

from trainlib.callbacks.base import (
    Callback,
    Facts,
    NonFiniteError,
    RollBack,
    Save,
    SetHyperparams,
    SetWeights,
    Stop,
)
from trainlib.callbacks.display import Bar, Lines
from trainlib.callbacks.history import Csv, JsonLines
from trainlib.callbacks.performance import EarlyStopping, ReduceLROnPlateau
from trainlib.callbacks.saving import SaveBest, SaveEvery
from trainlib.callbacks.tensorboard import TensorBoard

__all__ = [
    "Bar",
    "Callback",
    "Csv",
    "EarlyStopping",
    "Facts",
    "JsonLines",
    "Lines",
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
