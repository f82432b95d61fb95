"""The layers of a Keras model."""

from __future__ import annotations

from typing import Any


def all_layers(model: Any) -> list[Any]:
    """Return a model, its layers and those inside of them: of nested models and of wrappers.

    Keras has no public function for it.
    """
    return list(model._flatten_layers())
