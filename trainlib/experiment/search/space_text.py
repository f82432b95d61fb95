"""The parser of search spaces.

    learning_rate=log(3e-4,3e-2); depth=int(0,3); optimizer={sgd,nadam};
    momentum=uniform(0,0.99) if optimizer=sgd

It checks the syntax only; `trainlib.experiment.search.settings` checks the names and the values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from trainlib.experiment.search.space import (
    FORMS,
    NONE,
    RANGES,
    Choices,
    Condition,
    Parameter,
    Range,
    Space,
)

_MATCHING = {"(": ")", "{": "}"}


def parse_space(given: str | Mapping[str, str | Sequence[Any]]) -> Space:
    """Return the search space that a text or a mapping describes.

    Args:
        given: entries `name=distribution` or `name=distribution if other=value|value`, separated by
            semicolons or line breaks; or a mapping from names to such distributions, or to
            sequences of values to choose from. Distributions are log(a,b), uniform(a,b),
            uniform(a,b,step), int(a,b), int(a,b,step), logint(a,b) and {a,b,c}; both bounds are
            included. A value with commas is written in parentheses, as in hidden={(300,100),50}.

    Returns:
        A `Space`; `parse_space(str(space))` returns it again.

    Raises:
        ValueError: the text has a syntax error; the message names its position.
        TypeError: the argument is neither text nor such a mapping.

    Example:
        >>> from trainlib.experiment.search.space_text import parse_space
        >>> space = parse_space("learning_rate=log(1e-3, 1e-1); optimizer={sgd, nadam}")
        >>> print(space)
        learning_rate=log(0.001,0.1); optimizer={sgd,nadam}
        >>> space == parse_space(str(space))
        True
        >>> space == parse_space({"learning_rate": "log(1e-3,1e-1)", "optimizer": ["sgd", "nadam"]})
        True
    """
    if isinstance(given, Space):
        return given
    if isinstance(given, Mapping):
        given = "; ".join(f"{name}={_distribution_text(name, x)}" for name, x in given.items())
    if not isinstance(given, str):
        raise TypeError(f"search must be text or a mapping by name, got {given!r}")
    parameters = [_parameter(text, at) for text, at in _split(given, ";\n") if text.strip()]
    if not parameters:
        raise ValueError("search is empty: give settings, as in learning_rate=log(1e-4,1e-1)")
    return Space(_conditions_first(parameters))


def _distribution_text(name: Any, value: Any) -> str:
    if isinstance(value, (str, Range, Choices)):
        return str(value)
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise TypeError(f"search: {name} must be a distribution or a list of values, got {value!r}")
    return str(Choices(tuple(map(_choice_text, value))))


def _choice_text(value: Any) -> str:
    """Return a Python value as a flag takes it."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return NONE if value is None else str(value)


def _unquoted(text: str) -> str:
    text = text.strip()
    if text.startswith("(") and _end(text, 0) == len(text) - 1:
        return text[1:-1]
    return text


def _fail(text: str, at: int, problem: str) -> NoReturn:
    """Raise the error about a part of the text, which begins after `at` characters."""
    at += len(text) - len(text.lstrip())
    raise ValueError(f"search, from character {at + 1}, {text.strip()!r}: {problem}")


def _split(text: str, separators: str, at: int = 0) -> Iterator[tuple[str, int]]:
    """Yield the parts between separators that are not in brackets, and where they begin."""
    start = position = 0
    while position < len(text):
        if text[position] in _MATCHING:
            end = _end(text, position)
            if end is None:
                _fail(text[position:], at + position, f"{text[position]!r} is not closed")
            position = end
        elif text[position] in separators:
            yield text[start:position], at + start
            start = position + 1
        position += 1
    yield text[start:], at + start


def _end(text: str, start: int) -> int | None:
    """Return the position of the bracket that closes the one at `start`; None if there is none.

    In parentheses braces are plain characters.
    """
    opening, position = text[start], start + 1
    while position < len(text):
        if text[position] == _MATCHING[opening]:
            return position
        if text[position] == "(" or text[position] == opening:
            inner = _end(text, position)
            if inner is None:
                return None
            position = inner
        position += 1
    return None


_ENTRY = re.compile(r"\s*-{0,2}(?P<name>\w+)\s*=\s*(?P<kind>\w*)\s*(?P<open>[({])", re.ASCII)


def _parameter(text: str, at: int) -> Parameter:
    """Return the parameter of one entry."""
    head = _ENTRY.match(text)
    if head is None:
        _fail(text, at, f"write NAME=DISTRIBUTION, where DISTRIBUTION is one of {FORMS}")
    start = head.start("open")
    end = _end(text, start)
    assert end is not None  # `_split` has found it
    inner, kind = text[start + 1 : end], head["kind"]
    if head["open"] == "{" and not kind:
        distribution: Range | Choices = _choices(inner, at + start + 1)
    elif head["open"] == "(" and kind in RANGES:
        distribution = _range(text, kind, inner, at)
    else:
        _fail(text, at, f"there is no distribution {kind!r}: choose from {FORMS}")
    rest = text[end + 1 :]
    return Parameter(head["name"], distribution, _condition(rest, at + end + 1))


def _choices(text: str, at: int) -> Choices:
    values = tuple(_unquoted(part) for part, _ in _split(text, ",", at))
    if not text.strip():
        _fail("{}", at - 1, "the braces are empty: give values, as in {1,2,3}")
    if len(set(values)) < len(values):
        _fail(text, at, "a value is there twice: leave one out")
    return Choices(values)


def _range(text: str, kind: str, inner: str, at: int) -> Range:
    """Return the range of `kind(inner)`, checked."""
    parts = [part.strip().removeprefix("step=").strip() for part in inner.split(",")]
    number: Any = int if kind in ("int", "logint") else float
    try:
        numbers = [number(part) for part in parts]
    except ValueError:
        what = "integers" if number is int else "numbers"
        _fail(text, at, f"give {what}, as in {RANGES[kind]}")
    if len(numbers) not in ((2, 3) if kind in ("uniform", "int") else (2,)):
        _fail(text, at, f"write {RANGES[kind]}")
    low, high, step = (*numbers, None)[:3]
    if not all(map(math.isfinite, numbers)):
        _fail(text, at, "bounds must be finite")
    if low >= high:
        _fail(text, at, f"the lower bound must be below the upper; for one value write {{{low}}}")
    if kind in ("log", "logint") and low <= 0:
        _fail(text, at, f"a logarithmic range must begin above 0, got {low}")
    if step is not None:
        _check_step(text, at, low, high, step)
    return Range(kind, low, high, step)


def _check_step(text: str, at: int, low: float, high: float, step: float) -> None:
    """Refuse steps that do not lead from one bound to the other."""
    count = (high - low) / step if step > 0 else 0.0
    if count < 1:
        _fail(text, at, f"the step must be above 0 and at most {high - low:g}, got {step}")
    if abs(count - round(count)) > 1e-8 * count:
        last = low + math.floor(count) * step
        _fail(text, at, f"steps of {step} from {low} do not reach {high}: end at {last:g}")


def _condition(text: str, at: int) -> Condition | None:
    """Return the condition after a distribution."""
    if not text.strip():
        return None
    found = re.fullmatch(r"\s*if\s+-{0,2}(\w+)\s*=(.*)", text, re.ASCII | re.DOTALL)
    if found is None:
        _fail(text, at, "after a distribution write nothing, or: if NAME=VALUE|VALUE; between two")
    values = tuple(_unquoted(part) for part, _ in _split(found[2], "|", at + found.start(2)))
    if not all(values):
        _fail(text, at, "a condition needs values, as in: if optimizer=sgd|rmsprop")
    return Condition(found[1], values)


def _conditions_first(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """Return parameters in their order, but each after the one that its condition names.

    Raises:
        ValueError: a parameter is there twice, or a condition names none of them or its own.
    """
    named = {parameter.name: parameter for parameter in parameters}
    for name in named:
        if [parameter.name for parameter in parameters].count(name) > 1:
            raise ValueError(f"search: {name} is there twice; give it once")
    ordered: dict[str, Parameter] = {}

    def add(parameter: Parameter, waiting: tuple[str, ...]) -> None:
        condition = parameter.condition
        if condition is not None:
            if condition.name not in named:
                raise ValueError(
                    f"search: the condition of {parameter.name} names {condition.name}, which is "
                    f"not searched; choose from {', '.join(named)}"
                )
            if condition.name in waiting:
                raise ValueError(f"search: the conditions of {' and '.join(waiting)} are a circle")
            add(named[condition.name], (*waiting, condition.name))
        ordered[parameter.name] = parameter

    for parameter in parameters:
        add(parameter, (parameter.name,))
    return tuple(ordered.values())
