"""Import of modules at their first use: a command parses its flags before TensorFlow starts."""

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
"""Optional packages that TensorFlow and Keras import if they are installed."""


class DeferredModule(types.ModuleType):
    """Placeholder of a module, which is imported when an attribute is first read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        with capture_stderr(), hide_packages(*NOT_NEEDED):
            module = importlib.import_module(self.__name__)
        value = getattr(module, name)
        self.__dict__[name] = value
        return value


def defer(*names: str) -> None:
    """Defer the import of modules, unless they are imported already, to their first use."""
    for name in names:
        if name not in sys.modules:
            placeholder = DeferredModule(name)
            placeholder.__spec__ = importlib.util.find_spec(name)  # libraries test for it
            sys.modules[name] = placeholder


@contextmanager
def hide_packages(*names: str) -> Iterator[None]:
    """Make packages look as if they were not installed, unless they are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def capture_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr; after an exception, write it.

    TensorFlow reports missing hardware in several lines, which no setting turns off. They are shown
    where the user asks for its messages: with --verbose, or TF_CPP_MIN_LOG_LEVEL=0.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    with tempfile.TemporaryFile() as captured:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(stderr, 2)
            captured.seek(0)
            os.write(2, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
