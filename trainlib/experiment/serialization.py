"""A configuration as JSON, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from trainlib.core.checks import check_choice
from trainlib.experiment.functions import FunctionConfig
from trainlib.experiment.nested_configs import NESTED

C = TypeVar("C")


def to_json(config: Any) -> str:
    """Return a configuration as indented JSON."""
    return json.dumps(_as_json(config), indent=2, ensure_ascii=False) + "\n"


def from_json(cls: Callable[..., C], text: str) -> C:
    """Return the configuration of a class that `to_json` wrote.

    Raises:
        ValueError: the text is not such JSON, or names an unknown setting.
    """
    return _from_json(cls, "configuration", json.loads(text))


def _as_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_as_json(x) for x in value]
    return dict(value) if isinstance(value, Mapping) else value


def _from_json(cls: Callable[..., C], name: str, content: Any) -> C:
    if not isinstance(content, dict):
        raise ValueError(f"{name} must be a JSON object, got {content!r}")
    known = [field.name for field in dataclasses.fields(cast(Any, cls))]
    for key in content:
        check_choice(f"setting of {name}", key, known)
    return cls(**{key: _value(key, value) for key, value in content.items()})


def _value(name: str, value: Any) -> Any:
    """Return the value of a field."""
    if isinstance(value, list):
        return tuple(_value("", x) for x in value)
    if not isinstance(value, dict) or name == "hyperparameters":
        return value
    return _from_json(NESTED.get(name, FunctionConfig), name, value)
