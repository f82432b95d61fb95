"""Rules by path as text, for `param_rules`.

    .*/(bias|gamma|beta):weight_decay=0; encoder/.*:learning_rate*=0.1; embedding/.*:freeze

Semicolons separate rules. A rule is a pattern, a colon, and settings separated by commas. The
pattern is a regular expression that must match the whole path of a parameter, such as
"encoder/dense/kernel". The settings of the rules that match are applied in order:

    name=x      set the hyperparameter to x
    name*=x     multiply the hyperparameter, as set so far, by x; schedules too
    freeze      do not update the parameter, whatever other rules set
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.tree import compiled, matching_paths, paths
from trainlib.core.types import Tree

Rules: TypeAlias = str | Sequence[str]
"""The text of rules, or a sequence of such texts."""
FREEZE = "freeze"


class PathSetting(NamedTuple):
    """A setting of a rule.

    Attributes:
        name: name of the hyperparameter.
        operator: "=" or "*=".
        value: the number.
    """

    name: str
    operator: str
    value: float


class PathRule(NamedTuple):
    """A parsed rule.

    Attributes:
        pattern: a regular expression for whole paths.
        settings: in order.
        freezes: whether one of the settings is "freeze".
    """

    pattern: str
    settings: tuple[PathSetting, ...]
    freezes: bool

    def key(self, setting: PathSetting) -> str:
        """Return the name of a setting's number in the state: its text in the rule."""
        return f"{self.pattern}:{setting.name}{setting.operator}"


def parse_rules(rules: Rules) -> list[PathRule]:
    """Return the rules in a text.

    Raises:
        ValueError: a rule cannot be parsed, or is given twice.

    Example:
        >>> from trainlib.transforms.rule_text import parse_rules
        >>> parse_rules("b.*:freeze; w:learning_rate*=0.5")[1].settings
        (PathSetting(name='learning_rate', operator='*=', value=0.5),)
    """
    texts = [rules] if isinstance(rules, str) else rules
    parsed = [
        _parse_rule(part.strip()) for text in texts for part in text.split(";") if part.strip()
    ]
    keys = [rule.key(setting) for rule in parsed for setting in rule.settings]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"rules must set {key} once, got it twice")
    return parsed


def rules_by_path(
    rules: Sequence[PathRule], params: Tree, strict: bool = True
) -> dict[str, list[PathRule]]:
    """Return the rules that match each parameter, in order, by path.

    Args:
        rules: the rules.
        params: the parameters.
        strict: whether each rule must match a parameter. Default: True.

    Raises:
        ValueError: a rule matches no parameter, but must.
    """
    names: list[str] = tf.nest.flatten(paths(params))
    if strict:
        found = [(rule, matching_paths(rule.pattern, names)) for rule in rules]
        return {path: [rule for rule, matching in found if path in matching] for path in names}
    patterns = [(rule, compiled(rule.pattern)) for rule in rules]
    return {path: [rule for rule, x in patterns if x.fullmatch(path)] for path in names}


def _parse_rule(text: str) -> PathRule:
    """Return the rule in `pattern:setting, setting`."""
    # Split at the last colon: a pattern may have one, a setting cannot.
    pattern, colon, statements = text.rpartition(":")
    parts = [part.strip() for part in statements.split(",")]
    if not colon or not all(parts):
        raise ValueError(
            f"rule {text!r}: expected pattern:name=value, pattern:name*=value or pattern:freeze"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"rule {text!r}: {pattern!r} is not a valid regular expression: {error}"
        ) from None
    settings = tuple(_parse_setting(part, text) for part in parts if part != FREEZE)
    return PathRule(pattern.strip(), settings, FREEZE in parts)


def _parse_setting(part: str, rule: str) -> PathSetting:
    """Return the setting in `name=value` or `name*=value`; the rule is for error messages."""
    found = re.fullmatch(r"(\w+)\s*(\*?=)\s*(.*)", part)
    if not found:
        raise ValueError(f"rule {rule!r}: {part!r} is not name=value, name*=value or freeze")
    name, operator, number = found.groups()
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"rule {rule!r}: {number!r} is not a number") from None
    check_number(f"rule {rule!r}: {name}{operator}", value)
    return PathSetting(name, operator, value)
