"""The declaration of a hyperparameter: its type, range, choices, unit and one line of help."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from trainlib.core.checks import (
    LARGEST_NUMBER,
    as_float,
    check_choice,
    check_integer,
    check_number,
)

TYPES = ("float", "int", "bool", "str", "ints", "floats", "axis", "columns", "structure")
"""The types of hyperparameters.

"axis": an axis, several, or a name for them. "columns": text that lists columns of a table, such as
"0-4" or "age,job". "structure": a value that no flag can hold, such as a mask, a schedule or a
tensor.
"""


class Range(NamedTuple):
    """The allowed values of a number; a bound of None is no bound.

    Attributes:
        at_least: lower bound, inclusive.
        above: lower bound, exclusive.
        at_most: upper bound, inclusive.
        below: upper bound, exclusive.
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, x: object) -> bool:
        return (
            isinstance(x, (int, float))
            and abs(as_float(x)) <= LARGEST_NUMBER
            and (self.at_least is None or x >= self.at_least)
            and (self.above is None or x > self.above)
            and (self.at_most is None or x <= self.at_most)
            and (self.below is None or x < self.below)
        )

    @property
    def lowest(self) -> float | None:
        """The smallest integer of the range."""
        return self.at_least if self.above is None else math.floor(self.above) + 1

    def __str__(self) -> str:
        low = self.above if self.at_least is None else self.at_least
        high = self.below if self.at_most is None else self.at_most
        if low is not None and high is not None:
            left, right = "[" if self.above is None else "(", ")" if self.at_most is None else "]"
            return f"in {left}{low:g}, {high:g}{right}"
        bounds = self._asdict().items()
        return "".join(f"{name.replace('_', ' ')} {x:g}" for name, x in bounds if x is not None)


UNBOUNDED = Range()
NON_NEGATIVE = Range(at_least=0)
POSITIVE = Range(above=0)
DECAY = Range(at_least=0, below=1)
FRACTION = Range(at_least=0, at_most=1)


class Declaration(NamedTuple):
    """Declaration of a hyperparameter; its default is in the factory's signature.

    Attributes:
        type: one of `TYPES`.
        text: what it sets, without its range and choices.
        range: allowed values of a number. Default: all.
        choices: allowed strings. Default: (), all strings.
        unit: unit of a number, such as "steps". Default: "", none.
        optional: whether None is allowed. Default: False.
    """

    type: str
    text: str
    range: Range = UNBOUNDED
    choices: tuple[str, ...] = ()
    unit: str = ""
    optional: bool = False

    @property
    def help(self) -> str:
        """One line for a flag: the text with the unit, the range and the choices."""
        parts = [f"in {self.unit}" if self.unit else "", str(self.range)]
        line = ", ".join([self.text, *filter(None, parts)])
        return f"{line}: {', '.join(self.choices)}" if self.choices else line


def check_declared(name: str, value: Any, declaration: Declaration) -> None:
    """Raise unless a value agrees with the declaration of its hyperparameter.

    Args:
        name: name of the argument, for messages.
        value: the argument.
        declaration: the declaration of the hyperparameter.

    Raises:
        ValueError: a number is out of its range, or a string is not among the choices.
        TypeError: a number is declared, but the value is something else.
    """
    bounds = declaration.range._asdict()
    if value is None and declaration.optional:
        return
    if declaration.choices:
        check_choice(name, value, declaration.choices)
    elif declaration.type in ("float", "floats"):
        for x in [value] if declaration.type == "float" else value:
            check_number(name, x, **bounds)
    elif declaration.type in ("int", "ints"):
        for x in [value] if declaration.type == "int" else value:
            check_integer(name, x, at_least=declaration.range.lowest, at_most=bounds["at_most"])


Table: TypeAlias = Mapping[str, Declaration]
"""Declarations by name: `beta_1`; `lion.beta_1` overrides it for one factory."""


def number(text: str, range: Range = UNBOUNDED, **options: Any) -> Declaration:
    """Return the declaration of a float; an optimizer's may also be a tensor or a schedule."""
    return Declaration("float", text, range, **options)


def integer(text: str, range: Range = UNBOUNDED, unit: str = "", **options: Any) -> Declaration:
    """Return the declaration of an integer."""
    return Declaration("int", text, range, unit=unit, **options)


def switch(text: str) -> Declaration:
    """Return the declaration of a bool."""
    return Declaration("bool", text)


def choice(text: str, *choices: str, **options: Any) -> Declaration:
    """Return the declaration of a string that is one of the choices."""
    return Declaration("str", text, choices=choices, **options)
