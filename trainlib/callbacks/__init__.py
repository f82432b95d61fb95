"""Callbacks: small objects that are told how a run goes; they never reach into the loop."""

from trainlib.callbacks.base import Callback, Progress
from trainlib.callbacks.display import Bar, Lines
from trainlib.callbacks.history import JsonLines

__all__ = ["Bar", "Callback", "JsonLines", "Lines", "Progress"]
