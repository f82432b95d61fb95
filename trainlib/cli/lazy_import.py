"""Modules imported at their first use, so that a command reads its flags before TensorFlow."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NOT_NEEDED = ("jax", "matplotlib", "pandas", "scipy", "sklearn")
"""Packages that TensorFlow and Keras import where they are installed, and go without where not."""


class Deferred(types.ModuleType):
    """Stands in for a module; the first attribute asked of it imports the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        with quiet_stderr(), hidden(*NOT_NEEDED):
            module = importlib.import_module(self.__name__)
        value = getattr(module, name)
        self.__dict__[name] = value
        return value


def defer(*names: str) -> None:
    """Puts stand-ins for modules that are not imported yet."""
    for name in names:
        if name not in sys.modules:
            stand_in = Deferred(name)
            stand_in.__spec__ = importlib.util.find_spec(name)  # others ask whether it is there
            sys.modules[name] = stand_in


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Makes packages that are not imported yet look as if they were not installed."""
    unseen = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(unseen))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in unseen:
            del sys.modules[name]


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keeps back what native code writes to stderr, unless an exception ends the block.

    TensorFlow reports what hardware it did not find in several lines, which no setting turns off.
    """
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(terminal, 2)
            kept.seek(0)
            os.write(2, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
