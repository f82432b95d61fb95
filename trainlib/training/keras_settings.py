"""Settings of Keras under which trainlib works; Keras itself is not imported to read them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

BACKEND = "tensorflow"
DATA_FORMAT = "channels_last"


def check_backend() -> None:
    """Raise `ValueError` unless Keras computes, or will compute, with TensorFlow."""
    loaded = _loaded_config()
    backend, source = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    if loaded is not None:
        backend, source = loaded.backend(), "as it was imported"
    elif not backend:
        backend, source = _file_settings().get("backend", BACKEND), str(_file())
    if backend != BACKEND:
        raise ValueError(
            f"Keras's backend is {backend} ({source}), trainlib needs {BACKEND}: set the "
            f"environment variable KERAS_BACKEND={BACKEND}"
        )


def check_data_format() -> None:
    """Raise `ValueError` unless Keras's layers take images as trainlib has them."""
    loaded = _loaded_config()
    if loaded is not None:
        found, source = loaded.image_data_format(), "keras.config.image_data_format"
    else:
        found, source = _file_settings().get("image_data_format", DATA_FORMAT), str(_file())
    if found != DATA_FORMAT:
        raise ValueError(
            f"Keras's image_data_format is {found} ({source}), trainlib's images are "
            f"{DATA_FORMAT}: set it to {DATA_FORMAT}"
        )


def _loaded_config() -> Any:
    """Return `keras.config`; None while Keras is not imported, or its import is deferred."""
    return vars(sys.modules["keras"]).get("config") if "keras" in sys.modules else None


def _file() -> Path:
    """Return the path of Keras's settings, found as Keras finds it."""
    home = os.environ.get("KERAS_HOME")
    if home is None:
        user = os.path.expanduser("~")
        home = os.path.join(user if os.access(user, os.W_OK) else "/tmp", ".keras")
    return Path(home).expanduser() / "keras.json"


def _file_settings() -> dict[str, Any]:
    """Return the settings in Keras's file; none if there is no file, or Keras cannot read it."""
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
