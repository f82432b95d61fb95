"""Search spaces: the settings that a search varies, and their ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

RANGES: Mapping[str, str] = {
    "log": "log(LOW,HIGH)",
    "uniform": "uniform(LOW,HIGH) or uniform(LOW,HIGH,STEP)",
    "int": "int(LOW,HIGH) or int(LOW,HIGH,STEP)",
    "logint": "logint(LOW,HIGH)",
}
"""The syntax of ranges, by kind."""
FORMS = f"{', '.join(RANGES.values())}, {{A,B,C}}"
"""The syntax of distributions, for messages and help texts."""
NONE = "none"
"""Choice that stands for the default of a flag whose default is none."""
_SPECIAL = set(",;|{}()") | set("\n")


class Range(NamedTuple):
    """Numbers between two bounds, both included.

    Attributes:
        kind: "uniform" or "int", a uniform distribution; "log" or "logint", a log-uniform one.
        low: smallest number.
        high: largest number.
        step: distance between two neighboring numbers. Default: None, all numbers, or all integers.
    """

    kind: str
    low: float
    high: float
    step: float | None = None

    @property
    def is_integer(self) -> bool:
        """Whether the numbers are integers."""
        return self.kind in ("int", "logint")

    @property
    def is_log(self) -> bool:
        """Whether the distribution is log-uniform."""
        return self.kind in ("log", "logint")

    def has(self, x: float) -> bool:
        """Return whether a number is one of the steps or integers; False for other ranges."""
        step = self.step or (1 if self.is_integer else 0)
        if not step or not self.low <= x <= self.high:
            return False
        steps = (x - self.low) / step
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    def __str__(self) -> str:
        numbers = (self.low, self.high, *(() if self.step is None else (self.step,)))
        return f"{self.kind}({','.join(map(str, numbers))})"


class Choices(NamedTuple):
    """Values, all equally likely.

    Attributes:
        values: the values, as text of a flag.
    """

    values: tuple[str, ...]

    def __str__(self) -> str:
        return "{" + ",".join(map(_quoted, self.values)) + "}"


class Condition(NamedTuple):
    """A condition on another parameter: it has one of some values.

    Attributes:
        name: name of the other parameter.
        values: the values, as text of a flag.
    """

    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}={'|'.join(map(_quoted, self.values))}"


class Parameter(NamedTuple):
    """A setting that a search varies.

    Attributes:
        name: the flag of `train`.
        distribution: the values of the flag.
        condition: condition under which it is varied; other trials keep the value of the
            configuration. Default: None, it is varied in all trials, or, for a hyperparameter, in
            all trials whose functions take it.
    """

    name: str
    distribution: Range | Choices
    condition: Condition | None = None

    def __str__(self) -> str:
        text = f"{self.name}={self.distribution}"
        return text if self.condition is None else f"{text} if {self.condition}"


class Space(NamedTuple):
    """The settings that a search varies; made by `parse_space`.

    Attributes:
        parameters: the settings; each comes after the one that its condition names.
    """

    parameters: tuple[Parameter, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.parameters))


def _quoted(value: str) -> str:
    """Return a value as an item of a list: in parentheses if it has special characters."""
    plain = value == value.strip() and value and not _SPECIAL & set(value)
    return value if plain else f"({value})"
