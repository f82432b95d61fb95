"""Optimizers whose hyperparameters depend on the path of a parameter; see `rule_text`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.types import (
    Optimizer,
    ScalarOrSchedule,
    State,
    Tensor,
    Tree,
    check_optimizer,
    forwarded_args,
    update_with,
)
from trainlib.transforms.chain import chain
from trainlib.transforms.factory_arguments import (
    check_schedules,
    default_argument,
    factory_name,
    first_values,
    is_custom,
    is_injected,
)
from trainlib.transforms.inject import hyperparams_in_state
from trainlib.transforms.mask import freeze, partition
from trainlib.transforms.rule_text import PathRule, PathSetting, Rules, parse_rules, rules_by_path


def param_rules(
    rules: Rules,
    factory: Callable[..., Optimizer],
    *,
    before: Optimizer | None = None,
    strict: bool = True,
    **hyperparams: Any,
) -> Optimizer:
    """Set hyperparameters of some of the parameters by rules for their paths.

    The numbers are in the state, as with `inject_hyperparams`: `state.hyperparams["learning_rate"]`
    for all parameters, `state.hyperparams["encoder/.*:learning_rate*="]` for the setting of that
    rule. `set_hyperparams` changes them without a new trace and without losing moments. A frozen
    parameter has no moments and does not count in a global norm.

    Args:
        rules: a text such as ".*/bias:weight_decay=0; embedding/.*:freeze", or a sequence of texts.
            Semicolons separate rules, commas the settings of a rule. The pattern is a regular
            expression for whole paths. `name=x` sets a hyperparameter, `name*=x` multiplies it,
            and `freeze` excludes the parameters from updates.
        factory: makes the optimizer, such as `adamw`; called for each group of parameters that the
            same rules match.
        before: a transform of the gradients of all parameters that are not frozen, such as
            `clip_by_global_norm(1.0)`. Default: None.
        strict: whether a pattern that matches no parameter is an error. With False, rules may be
            for layers that are frozen at first, as by `tl.callbacks.Unfreeze`: each group of
            parameters then has a state of its own from when it is trained. Default: True.
        hyperparams: the factory's arguments, for the parameters that no rule matches; numbers may
            be schedules, as with `inject_hyperparams`.

    Returns:
        An `Optimizer` whose state is an `InjectState`.

    Raises:
        ValueError: a rule cannot be parsed, a hyperparameter is unknown or out of its range; from
            `init` and `update`, a pattern matches no parameter, with `strict`.
        TypeError: `before` is not an `Optimizer`.

    Example:
        >>> tx = tl.param_rules("head/.*:learning_rate*=0.5; body/.*:freeze", tl.sgd,
        ...                     learning_rate=1.0)
        >>> params = {path: {"w": tf.constant(1.0)} for path in ("body", "head", "neck")}
        >>> updates, _ = tx.update(params, tx.init(params), params)
        >>> {path: u["w"] if u["w"] is None else float(u["w"]) for path, u in updates.items()}
        {'body': None, 'head': -0.5, 'neck': -1.0}
    """
    if before is not None:
        check_optimizer("before", before)
    parsed = parse_rules(rules)
    given = _check_against(parsed, factory, hyperparams)
    moving = {name: x for name, x in given.items() if is_injected(factory, name, x)}
    numbers = {rule.key(setting): setting.value for rule in parsed for setting in rule.settings}
    first = factory(**given | first_values(factory, moving))
    members = [first, *([] if before is None else [before])]
    extra_args = forwarded_args(*members)

    def build(values: Mapping[str, Tensor]) -> Optimizer:
        def composed(params: Tree) -> Optimizer:
            matching = rules_by_path(parsed, params, strict)
            return _compose(matching, factory, before, given, values)

        def init(params: Tree) -> State:
            return composed(params).init(params)

        def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, State]:
            return update_with(composed(params), grads, state, params, **extra)

        return Optimizer(init, update, extra_args)

    return hyperparams_in_state(build, moving | numbers, extra_args, is_custom(factory))


def rules_table(
    rules: Rules,
    params: Tree,
    hyperparams: Mapping[str, ScalarOrSchedule],
    strict: bool = True,
) -> list[str]:
    """Return a table of what rules set: a line per parameter, a column per hyperparameter.

    Args:
        rules: as of `param_rules`.
        params: the parameters, for their paths.
        hyperparams: the values for parameters that no rule matches. One that is missing is shown as
            "default", a schedule as "schedule".
        strict: as of `param_rules`. Default: True.

    Returns:
        The lines, the first with the names of the columns.

    Raises:
        ValueError: a rule cannot be parsed, or a pattern matches no parameter, with `strict`.

    Example:
        >>> params = {"body": tf.zeros([2]), "head": tf.zeros([2])}
        >>> for line in tl.rules_table("h.*:learning_rate*=0.5", params, {"learning_rate": 0.1}):
        ...     print(line)
        parameter  learning_rate
        body       0.1
        head       0.05
    """
    parsed = parse_rules(rules)
    named = [setting.name for rule in parsed for setting in rule.settings]
    columns = list(dict.fromkeys([*hyperparams, *named]))
    rows = [["parameter", *columns]]
    for path, matching in rules_by_path(parsed, params, strict).items():
        cells = {name: _as_text(hyperparams.get(name, "default")) for name in columns}
        for rule in matching:
            for name, operator, value in rule.settings:
                cells[name] = (
                    _as_text(value) if operator == "=" else _multiplied(cells[name], value)
                )
        if any(rule.freezes for rule in matching):
            cells = dict.fromkeys(columns, "frozen")
        rows.append([path, *cells.values()])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _check_against(
    rules: Sequence[PathRule], factory: Callable[..., Optimizer], hyperparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the hyperparameters, with the defaults of those that rules set.

    The factory is called with each value as a number, since it does not check tensors.
    """
    signature = inspect.signature(factory)
    in_rules = [setting.name for rule in rules for setting in rule.settings]
    for name in (*hyperparams, *in_rules):
        owner = factory_name(factory) or "the factory"
        check_choice(f"hyperparameter of {owner}", name, signature.parameters)
    given = dict(hyperparams)
    always = ["learning_rate"] if "learning_rate" in signature.parameters else []
    for name in (*always, *in_rules):
        if name not in given:
            given[name] = default_argument(factory, name, given.get("convention"))
    check_schedules(factory, given)
    held = {name: x for name, x in given.items() if is_injected(factory, name, x)}
    first = given | first_values(factory, held)
    factory(**first)
    for rule in rules:
        for setting in rule.settings:
            if not is_injected(factory, setting.name, setting.value):
                raise ValueError(
                    f"rule {rule.key(setting)}: {setting.name} is not a number that can be set"
                )
            value = _value_after(rule, setting, first[setting.name])
            try:
                factory(**first | {setting.name: value})
            except (ValueError, TypeError) as error:
                raise ValueError(f"rule {rule.key(setting)}: {error}") from error
    return given


def _value_after(rule: PathRule, setting: PathSetting, base: Any) -> Any:
    """Return the value after a setting; the base itself where its value is not known."""
    if setting.operator == "=":
        return setting.value
    check_number(f"rule {rule.key(setting)}", setting.value, at_least=0)
    if base is None:
        raise ValueError(
            f"rule {rule.key(setting)}: {setting.name} is None, which cannot be multiplied"
        )
    return base if callable(base) or tf.is_tensor(base) else base * setting.value


def _compose(
    matching: Mapping[str, Sequence[PathRule]],
    factory: Callable[..., Optimizer],
    before: Optimizer | None,
    base: Mapping[str, Any],
    values: Mapping[str, Tensor],
) -> Optimizer:
    """Return the optimizer of parameters, given the rules of each, for the current values."""
    frozen = {path for path, found in matching.items() if any(rule.freezes for rule in found)}
    groups = {path: found for path, found in matching.items() if path not in frozen}
    if not groups:
        raise ValueError("rules must leave a parameter to update: they freeze all of them")
    optimizers = {}
    for found in groups.values():
        if _label(found) not in optimizers:
            optimizers[_label(found)] = factory(**_resolved(found, base, values))
    optimizer = partition(optimizers, lambda path: _label(groups[path]))
    if before is not None:
        optimizer = chain(before, optimizer)
    return freeze(optimizer, lambda path: path in frozen) if frozen else optimizer


def _resolved(
    rules: Sequence[PathRule], base: Mapping[str, Any], values: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the hyperparameters after the settings of the rules."""
    resolved = {name: values.get(name, x) for name, x in base.items()}
    for rule in rules:
        for setting in rule.settings:
            value = values[rule.key(setting)]
            if setting.operator == "*=":
                value = resolved[setting.name] * value
            resolved[setting.name] = value
    return resolved


def _label(rules: Sequence[PathRule]) -> str:
    """Return the name of the group of parameters that these rules match."""
    return " and ".join(rule.pattern for rule in rules) or "no rule"


def _as_text(value: Any) -> str:
    """Return a value as the text of a cell."""
    if callable(value):
        return "schedule"
    if value is None or isinstance(value, str):
        return str(value)
    return f"{float(value):g}"


def _multiplied(cell: str, factor: float) -> str:
    """Return a cell of the table after a multiplication."""
    try:
        return _as_text(float(cell) * factor)
    except ValueError:
        name, _, before = cell.partition(" * ")
        return f"{name} * {_as_text(float(before or 1) * factor)}"
