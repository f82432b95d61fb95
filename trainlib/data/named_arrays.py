"""The names of arrays in an archive: for several inputs and outputs, and for parts of the data.

x, y                    the inputs and the targets; of several, x_NAME and y_NAME
x_train, y_train, ...   those of a part: train, validation or test
x_NAME_train, ...       those of one of several inputs or outputs in a part
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from trainlib.data.archives import Array
from trainlib.data.examples import TEST, TRAIN, VALIDATION
from trainlib.training.paths import printable

Arrays: TypeAlias = Any
"""An array, or a dict of arrays by the name of an input or an output."""
WHOLE = ""
"""The name of the part, if the data are not divided into parts."""

_NAME = re.compile(
    rf"(?P<kind>[xy])(?:_(?!(?:{TRAIN}|{VALIDATION}|{TEST})$)(?P<name>.+?))?"
    rf"(?:_(?P<part>{TRAIN}|{VALIDATION}|{TEST}))?"
)


def array_name(kind: str, name: str, part: str) -> str:
    """Return the name of an array; `array_name("x", "wide", "train")` is "x_wide_train"."""
    return "_".join(filter(None, (kind, name, part)))


def arrays_of_part(
    arrays: Mapping[str, Array], kind: str, part: str, source: str
) -> Mapping[str, Array]:
    """Return the arrays of a part by input or output; "" is the name of a single one.

    Args:
        arrays: arrays by their names in the archive.
        kind: "x" for inputs, "y" for targets.
        part: "train", "validation" or "test"; or `WHOLE`.
        source: origin of the arrays, for messages.

    Raises:
        ValueError: there are arrays with the name of an input or output, and one without.
    """
    found: dict[str, Array] = {}
    for key, array in arrays.items():
        match = _NAME.fullmatch(key)
        if match and match["kind"] == kind and (match["part"] or WHOLE) == part:
            found[match["name"] or ""] = array
    if "" in found and len(found) > 1:
        one, other = array_name(kind, "", part), array_name(kind, [*found][-1] or [*found][0], part)
        what = "input" if kind == "x" else "output"
        raise ValueError(
            f"{source} holds {one} and {printable(other)}: give each {what} a name, or leave one "
            "of them out"
        )
    return found


def mapped(function: Callable[..., Any], *values: Arrays) -> Arrays:
    """Apply a function to arrays, or to the arrays with each name if they are dicts."""
    first = values[0]
    if not isinstance(first, Mapping):
        return function(*values)
    return {name: function(*(value[name] for value in values)) for name in first}


def flat_names(kind: str, part: str, value: Any) -> dict[str, Any]:
    """Return an array or a dict of arrays by their names in an archive."""
    if not isinstance(value, Mapping):
        return {array_name(kind, "", part): value}
    return {array_name(kind, str(name), part): array for name, array in value.items()}
