"""What users write themselves, named `module:name` at a shell."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


def load_own(kind: str, spec: str) -> Any:
    """The function or class that `module:name` names.

    Modules are looked for in the working directory too.

    Args:
        kind: of what it is, for errors.
        spec: the text.

    Raises:
        ValueError: no such module or name, or what it names cannot be called.
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
