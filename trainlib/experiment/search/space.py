"""Search spaces: the settings that a search varies, and their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

RANGES: Mapping[str, str] = {
    "log": "log(LOW,HIGH)",
    "uniform": "uniform(LOW,HIGH) or uniform(LOW,HIGH,STEP)",
    "int": "int(LOW,HIGH) or int(LOW,HIGH,STEP)",
    "logint": "logint(LOW,HIGH)",
}
"""How ranges are written, by kind."""
FORMS = f"{', '.join(RANGES.values())}, {{A,B,C}}"
"""How distributions are written, for messages and help texts."""
NONE = "none"
"""Choice that leaves a flag out, where the default of the flag is none."""
_SPECIAL = set(",;|{}()") | set("\n")


class Range(NamedTuple):
    """Numbers between two bounds, both included.

    Attributes:
        kind: "uniform" and "int": all equally likely; "log" and "logint": their logarithms are.
        low: least number.
        high: largest number.
        step: distance of neighboring numbers; None: any number, or any integer.
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
        """Whether the logarithms are equally likely."""
        return self.kind in ("log", "logint")

    def __str__(self) -> str:
        numbers = (self.low, self.high, *(() if self.step is None else (self.step,)))
        return f"{self.kind}({','.join(map(str, numbers))})"


class Choices(NamedTuple):
    """Some values, all equally likely.

    Attributes:
        values: the values, as a flag takes them.
    """

    values: tuple[str, ...]

    def __str__(self) -> str:
        return "{" + ",".join(map(_quoted, self.values)) + "}"


class Condition(NamedTuple):
    """Values of another parameter.

    Attributes:
        name: the other parameter.
        values: its values, as a flag takes them.
    """

    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}={'|'.join(map(_quoted, self.values))}"


class Parameter(NamedTuple):
    """A setting that a search varies.

    Attributes:
        name: the flag of `train` that holds it.
        distribution: its values.
        condition: when it is varied; None: always, unless it is a hyperparameter that the functions
            of a trial do not take.
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
        parameters: the settings, those that conditions name first.
    """

    parameters: tuple[Parameter, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.parameters))


def _quoted(value: str) -> str:
    """Return a value as it is written in a list: in parentheses if it would be read otherwise."""
    plain = value == value.strip() and value and not _SPECIAL & set(value)
    return value if plain else f"({value})"
