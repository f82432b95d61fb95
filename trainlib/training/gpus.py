"""`visible_gpus`: the GPUs that this process uses."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def visible_gpus() -> list[Any]:
    """Return the physical GPUs, except those that `tf.config.set_visible_devices` hides."""
    return list(tf.config.get_visible_devices("GPU"))
