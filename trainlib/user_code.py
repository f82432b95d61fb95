"""Custom functions and classes, given as `module:name`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


def import_object(kind: str, spec: str) -> Any:
    """Return the function or class that `module:name` names.

    The working directory is searched for the module too.

    Args:
        kind: what the object is, for messages: "model", "callback".
        spec: the text, as "my_module:my_function".

    Raises:
        ValueError: there is no such module or name, or it cannot be called.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ValueError(f"{kind} {spec!r}: must be written module:function")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{kind} {spec}: {error}") from error
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise ValueError(f"{kind} {spec}: must be a function, got {type(found).__name__}")
    return found
