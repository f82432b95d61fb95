"""Contexts of a forward pass that are entered again when a part of it is recomputed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

Context: TypeAlias = Callable[[], AbstractContextManager[Any]]
"""A function that returns a new context manager."""


class _Entered(threading.local):
    """The contexts of the current forward pass, by thread: each replica is traced in a thread."""

    contexts: tuple[Context, ...] = ()


_entered = _Entered()


@contextlib.contextmanager
def reentered(context: Context) -> Iterator[None]:
    """Enter a context in which a model is called, and again where a part of it is recomputed."""
    before, _entered.contexts = _entered.contexts, (*_entered.contexts, context)
    try:
        with context():
            yield
    finally:
        _entered.contexts = before


def entered_contexts() -> tuple[Context, ...]:
    """Return the contexts of the current forward pass, the outermost first."""
    return _entered.contexts
