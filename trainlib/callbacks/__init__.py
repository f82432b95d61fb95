"""Callbacks: small objects that are told how a run goes, and may end or steer it."""

from trainlib.callbacks.base import Callback, Progress
from trainlib.callbacks.display import Bar, Lines
from trainlib.callbacks.history import JsonLines
from trainlib.callbacks.performance import EarlyStopping, ReduceLROnPlateau

__all__ = [
    "Bar",
    "Callback",
    "EarlyStopping",
    "JsonLines",
    "Lines",
    "Progress",
    "ReduceLROnPlateau",
]
