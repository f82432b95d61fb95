"""Rules by path: hyperparameters of some of the parameters, written as text.

    .*/(bias|gamma|beta):weight_decay=0; encoder/.*:learning_rate*=0.1; embedding/.*:freeze

A rule is a pattern, a colon, and settings with commas between them; rules have semicolons between
them. A pattern is a regular expression that must match the whole of a parameter's path, as
`tree.paths` gives it. Settings are statements that run from the first rule to the last for each
parameter that the pattern matches:

    name=x      the hyperparameter is x, whatever it was
    name*=x     the hyperparameter, as it stands by then, times x; a schedule too
    freeze      the parameter stays as it is, whatever else is said of it
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import default_of
from trainlib.core.tree import matching_paths, paths
from trainlib.core.types import (
    Optimizer,
    ScalarOrSchedule,
    State,
    Tensor,
    Tree,
    forwarded_args,
    update_with,
)
from trainlib.transforms.chain import chain
from trainlib.transforms.inject import hyperparams_in_state, is_injected
from trainlib.transforms.mask import freeze, partition

Rules: TypeAlias = str | Sequence[str]

FREEZE = "freeze"


class Setting(NamedTuple):
    """A statement: name, "=" or "*=", and a number."""

    name: str
    operator: str
    value: float


class Rule(NamedTuple):
    """pattern: of whole paths. settings: statements, in order. freezes: whether it freezes."""

    pattern: str
    settings: tuple[Setting, ...]
    freezes: bool

    def key(self, setting: Setting) -> str:
        """The name of a setting's number in the state: as it is written in the rule."""
        return f"{self.pattern}:{setting.name}{setting.operator}"


def param_rules(
    rules: Rules,
    factory: Callable[..., Optimizer],
    *,
    before: Optimizer | None = None,
    **hyperparams: Any,
) -> Optimizer:
    """An optimizer whose hyperparameters follow rules by the parameters' paths.

        param_rules(".*/bias:weight_decay=0; encoder/.*:learning_rate*=0.1; embedding/.*:freeze",
                    adamw, learning_rate=cosine_decay(1e-3, 10_000),
                    before=clip_by_global_norm(1.0))

    All numbers are in the state, as of `inject_hyperparams`: `state.hyperparams["learning_rate"]`
    for all the parameters, `state.hyperparams["encoder/.*:learning_rate*="]` for what the rule
    says. `set_hyperparams` changes them; no function is traced anew, and no moment is lost. A
    frozen parameter has no moments and does not count in a global norm.

    Args:
        rules: the text, or a sequence of such texts; see the head of this file.
        factory: `adamw`, say; it is called once for each group of parameters with equal rules.
        before: a transform of the gradients of all the parameters that are not frozen, together.
        hyperparams: the factory's arguments for the parameters of which no rule speaks.

    Raises:
        ValueError: a rule that cannot be read, a hyperparameter that the factory does not take,
            a value out of its range, and, from init and update, a pattern that matches nothing.
    """
    parsed = parse_rules(rules)
    given = _check_against(parsed, factory, hyperparams)
    moving = {name: x for name, x in given.items() if is_injected(factory, name, x)}
    numbers = {rule.key(setting): setting.value for rule in parsed for setting in rule.settings}
    members = [factory(**given), *([] if before is None else [before])]
    extra_args = forwarded_args(*members)

    def build(values: Mapping[str, Tensor]) -> Optimizer:
        def composed(params: Tree) -> Optimizer:
            return _compose(parsed, factory, before, given, values, params)

        def init(params: Tree) -> State:
            return composed(params).init(params)

        def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
            return update_with(composed(params), grads, state, params, **extra)

        return Optimizer(init, update, extra_args)

    return hyperparams_in_state(build, moving | numbers, extra_args)


def rules_table(
    rules: Rules, params: Tree, hyperparams: Mapping[str, ScalarOrSchedule]
) -> list[str]:
    """What the rules come to, as lines of text: a parameter a line, a hyperparameter a column.

    Args:
        rules: as of `param_rules`.
        params: the parameters, for their paths.
        hyperparams: the values of the parameters of which no rule speaks. One that is not given is
            shown as "default", a schedule as "schedule".

    Raises:
        ValueError: a rule that cannot be read, or a pattern that matches nothing.
    """
    parsed = parse_rules(rules)
    named = [setting.name for rule in parsed for setting in rule.settings]
    columns = list(dict.fromkeys([*hyperparams, *named]))
    rows = [["parameter", *columns]]
    for path, matching in _matches(parsed, params).items():
        cells = {name: _as_text(hyperparams.get(name, "default")) for name in columns}
        for rule in matching:
            for name, operator, value in rule.settings:
                cells[name] = _as_text(value) if operator == "=" else _times(cells[name], value)
        if any(rule.freezes for rule in matching):
            cells = dict.fromkeys(columns, "frozen")
        rows.append([path, *cells.values()])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def parse_rules(rules: Rules) -> list[Rule]:
    """Rules from their text.

    Raises:
        ValueError: a rule that cannot be read, or one number that is given twice.
    """
    texts = [rules] if isinstance(rules, str) else rules
    parsed = [
        _parse_rule(part.strip()) for text in texts for part in text.split(";") if part.strip()
    ]
    keys = [rule.key(setting) for rule in parsed for setting in rule.settings]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"the rules give {key} twice")
    return parsed


def _parse_rule(text: str) -> Rule:
    # The last colon: one may stand in a pattern, but none in a setting.
    pattern, colon, statements = text.rpartition(":")
    parts = [part.strip() for part in statements.split(",")]
    if not colon or not all(parts):
        raise ValueError(
            f"rule {text!r}: expected pattern:name=value, pattern:name*=value or pattern:freeze"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"rule {text!r}: {pattern!r} is no regular expression: {error}") from None
    settings = tuple(_parse_setting(part, text) for part in parts if part != FREEZE)
    return Rule(pattern.strip(), settings, FREEZE in parts)


def _parse_setting(part: str, rule: str) -> Setting:
    found = re.fullmatch(r"(\w+)\s*(\*?=)\s*(.*)", part)
    if not found:
        raise ValueError(f"rule {rule!r}: {part!r} is not name=value, name*=value or freeze")
    name, operator, number = found.groups()
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"rule {rule!r}: {number!r} is not a number") from None
    check_number(f"rule {rule!r}: {name}{operator}", value)
    return Setting(name, operator, value)


def _check_against(
    rules: Sequence[Rule], factory: Callable[..., Optimizer], hyperparams: Mapping[str, Any]
) -> dict[str, Any]:
    """The hyperparameters, with the defaults of those of which rules speak.

    Each value is tried on the factory as a number, for it checks no tensors.
    """
    signature = inspect.signature(factory)
    spoken_of = [setting.name for rule in rules for setting in rule.settings]
    for name in (*hyperparams, *spoken_of):
        check_choice(f"hyperparameter of {factory.__name__}", name, signature.parameters)
    given = dict(hyperparams)
    always = ["learning_rate"] if "learning_rate" in signature.parameters else []
    for name in (*always, *spoken_of):
        if name not in given:
            given[name] = default_of(factory, name, given.get("convention"))
    factory(**given)
    for rule in rules:
        for setting in rule.settings:
            if not is_injected(factory, setting.name, setting.value):
                raise ValueError(f"rule {rule.key(setting)}: {setting.name} is not a number to set")
            factory(**given | {setting.name: _tried(rule, setting, given[setting.name])})
    return given


def _tried(rule: Rule, setting: Setting, base: Any) -> Any:
    """The number that a setting makes of a base, as far as it is known."""
    if setting.operator == "=":
        return setting.value
    check_number(f"rule {rule.key(setting)}", setting.value, at_least=0)
    if base is None:
        raise ValueError(f"rule {rule.key(setting)}: there is no {setting.name} to multiply")
    return base if callable(base) or tf.is_tensor(base) else base * setting.value


def _compose(
    rules: Sequence[Rule],
    factory: Callable[..., Optimizer],
    before: Optimizer | None,
    base: Mapping[str, Any],
    values: Mapping[str, Tensor],
    params: Tree,
) -> Optimizer:
    """The optimizer of these parameters, with the values that hyperparameters have now."""
    matching = _matches(rules, params)
    frozen = {path for path, found in matching.items() if any(rule.freezes for rule in found)}
    groups = {path: found for path, found in matching.items() if path not in frozen}
    if not groups:
        raise ValueError("the rules freeze every parameter")
    optimizers = {}
    for found in groups.values():
        if _label(found) not in optimizers:
            optimizers[_label(found)] = factory(**_resolved(found, base, values))
    optimizer = partition(optimizers, lambda path: _label(groups[path]))
    if before is not None:
        optimizer = chain(before, optimizer)
    return freeze(optimizer, lambda path: path in frozen) if frozen else optimizer


def _resolved(
    rules: Sequence[Rule], base: Mapping[str, Any], values: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The hyperparameters after the rules' statements."""
    resolved = {name: values.get(name, x) for name, x in base.items()}
    for rule in rules:
        for setting in rule.settings:
            value = values[rule.key(setting)]
            if setting.operator == "*=":
                value = resolved[setting.name] * value
            resolved[setting.name] = value
    return resolved


def _matches(rules: Sequence[Rule], params: Tree) -> dict[str, list[Rule]]:
    """The rules of each parameter by path, in their order; each rule has a parameter."""
    names: list[str] = tf.nest.flatten(paths(params))
    found = [(rule, matching_paths(rule.pattern, names)) for rule in rules]
    return {path: [rule for rule, matching in found if path in matching] for path in names}


def _label(rules: Sequence[Rule]) -> str:
    """The name of the group of parameters that these rules match."""
    return " and ".join(rule.pattern for rule in rules) or "no rule"


def _as_text(value: Any) -> str:
    if callable(value):
        return "schedule"
    if value is None or isinstance(value, str):
        return str(value)
    return f"{float(value):g}"


def _times(cell: str, factor: float) -> str:
    """A cell of the table after a multiplication."""
    try:
        return _as_text(float(cell) * factor)
    except ValueError:
        name, _, before = cell.partition(" * ")
        return f"{name} * {_as_text(float(before or 1) * factor)}"
