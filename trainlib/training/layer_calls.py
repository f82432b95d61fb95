"""Calls of a Keras model's layers that are changed or observed while the model is called."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any


@contextlib.contextmanager
def calls_through(layers: Iterable[Any], through: Callable[..., Any]) -> Iterator[None]:
    """Call layers through a function, wherever their model calls them.

    Args:
        layers: layers of a model, nested ones too.
        through: `(layer, call, *args, **options) -> outputs`, where `call` is that of the layer.
    """
    changed = list({id(layer): layer for layer in layers}.values())
    for layer in changed:
        layer.__dict__["call"] = functools.partial(through, layer, layer.call)
    try:
        yield
    finally:
        for layer in changed:
            del layer.__dict__["call"]


def without_training(layer: Any, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a layer in inference mode, whatever its model passes to it."""
    return call(*args, **{**options, "training": False})


def takes_training(layer: Any) -> bool:
    """Return whether the call of a layer, or of a model, takes the argument `training`."""
    parameters = inspect.signature(layer.call).parameters
    return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
