"""The names that Keras gives to layers without one, which count all layers of the process.

A second model of the same code has `dense_2` where the first has `dense`. Their checkpoints hold
the same tensors, under names that differ in these numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from trainlib.training.keras_private import all_layers

_NUMBERED = re.compile(r"(.+?)(?:_(\d+))?")


def automatic_kinds(model: Any) -> frozenset[str]:
    """Return the automatic names of a Keras model's layers without their numbers, as "dense"."""
    kinds = set()
    for layer in all_layers(model):
        kind = _parts(layer.name)[0]
        if kind.replace("_", "") == re.sub(r"\W|_", "", type(layer).__name__).lower():
            kinds.add(kind)
    return frozenset(kinds)


def matching_names(
    there: Iterable[str], here: Iterable[str], kinds: Collection[str]
) -> dict[str, str]:
    """Return the automatic names of this model for those of another, matched in their order.

    Args:
        there: paths of tensors of the other model.
        here: paths of tensors of this model.
        kinds: automatic names of this model without their numbers, from `automatic_kinds`.

    Returns:
        Names of this model by different names of the other one; {} if the paths are the same, or if
        the models differ in more than automatic names.
    """
    there, here = set(there), set(here)
    names: dict[str, str] = {}
    for kind in kinds:
        theirs, ours = (_numbered(kind, paths) for paths in (there, here))
        names |= dict(zip(theirs, ours, strict=False))
    same = {renamed(path, names) for path in there} == here
    return {a: b for a, b in names.items() if a != b} if same else {}


def renamed(path: str, names: dict[str, str]) -> str:
    """Return the path of a tensor with other names of layers."""
    return "/".join(names.get(part, part) for part in path.split("/"))


def _numbered(kind: str, paths: Iterable[str]) -> list[str]:
    """Return the names of a kind in paths, in the order of their numbers."""
    parts = {part for path in paths for part in path.split("/") if _parts(part)[0] == kind}
    return sorted(parts, key=lambda part: _parts(part)[1])


def _parts(name: str) -> tuple[str, int]:
    """Return a name without the number at its end, and the number; -1 if there is none."""
    match = _NUMBERED.fullmatch(name)
    return (name, -1) if match is None else (match[1], -1 if match[2] is None else int(match[2]))


def has_numbered_names(model: Any) -> bool:
    """Return whether a layer of a Keras model has an automatic name with a number."""
    kinds = automatic_kinds(model)
    parts = (_parts(layer.name) for layer in all_layers(model))
    return any(number >= 0 and kind in kinds for kind, number in parts)
