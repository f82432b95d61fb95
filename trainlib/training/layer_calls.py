"""Change or observe the calls of a Keras model's layers while the model is called."""

from __future__ import annotations

import collections
import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

_Key: TypeAlias = tuple[int, str]
"""The id of an object, and the name of its method."""


class _Replacements(threading.local):
    """The methods that replace others in this thread; the last one of each is called."""

    def __init__(self) -> None:
        self.by_key: dict[_Key, list[Callable[..., Any]]] = collections.defaultdict(list)


_replacements = _Replacements()
_users: collections.Counter[_Key] = collections.Counter()
"""Number of replacements of a method that are active, over all threads."""
_originals: dict[_Key, tuple[Any, Callable[..., Any]]] = {}
"""Original of a replaced method: the object's attribute (None if it had none), and the method."""
_LOCK = threading.Lock()


@contextlib.contextmanager
def method_replaced(
    owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Context in which a method of an object is replaced in this thread.

    Replicas are traced in threads that take turns within a forward pass of one model.

    Args:
        owner: object whose method is replaced.
        name: name of the method.
        make: function that returns the new method, given the current one.
    """
    key = id(owner), name
    with _LOCK:
        if not _users[key]:
            _originals[key] = vars(owner).get(name), getattr(owner, name)
            vars(owner)[name] = functools.partial(_call_replacement, key)
        _users[key] += 1
    own = _replacements.by_key[key]
    own.append(make(own[-1] if own else _originals[key][1]))
    try:
        yield
    finally:
        own.pop()
        with _LOCK:
            _users[key] -= 1
            if not _users[key]:
                before, _ = _originals.pop(key)
                del _users[key], vars(owner)[name]
                vars(owner).update({} if before is None else {name: before})


def _call_replacement(key: _Key, *args: Any, **options: Any) -> Any:
    own = _replacements.by_key[key]
    return (own[-1] if own else _originals[key][1])(*args, **options)


@contextlib.contextmanager
def calls_through(
    layers: Iterable[Any], through: Callable[..., Any], method: str = "call"
) -> Iterator[None]:
    """Context in which calls of layers go through a function, wherever their model calls them.

    Args:
        layers: layers of a model, nested ones too.
        through: function `(layer, call, *args, **options) -> outputs`, where `call` is the original
            method of the layer.
        method: name of the method that is replaced. Default: "call".
    """
    with contextlib.ExitStack() as held:
        for layer in {id(layer): layer for layer in layers}.values():
            make = functools.partial(functools.partial, through, layer)
            held.enter_context(method_replaced(layer, method, make))
        yield


def without_training(layer: Any, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a layer in inference mode, whatever its model passes to it."""
    return call(*args, **{**options, "training": False})


def takes_training(layer: Any) -> bool:
    """Return whether the call of a layer, or of a model, takes the argument `training`."""
    parameters = inspect.signature(layer.call).parameters
    return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
