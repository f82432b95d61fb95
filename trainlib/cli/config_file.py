"""`--config=FILE`: the values of flags, in YAML, TOML or JSON."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from trainlib.cli.flag_types import RepeatedFlag, Values
from trainlib.core.checks import nearest
from trainlib.training.files import read_text
from trainlib.training.paths import shown

NOT_SETTINGS = ("config", "flagfile", "help", "helpfull", "version")
"""Flags that a file cannot hold."""
_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""Words that boolean flags take in a file, as in YAML 1.1."""


def apply_config_file(values: Values, path: Path) -> None:
    """Set the flags that a file holds, except those that the command line or a flag file gives.

    Args:
        values: the parsed flags.
        path: a .yaml, .yml, .toml or .json file: a value, or a list of values, by flag.

    Raises:
        ValueError: the file has another form, or holds what is no flag or no value of it.
        OSError: it cannot be read.
    """
    try:
        for name, value in read_config_file(path).items():
            _set(values, name, value)
    except (ValueError, flags.Error) as error:
        raise ValueError(f"config {shown(path)}: {error}") from error


def read_config_file(path: Path) -> Mapping[str, Any]:
    """Return the content of a file by key.

    Raises:
        ValueError: it is not valid, its keys are not text, or the package that reads it is missing.
    """
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ValueError(f"its name must end in one of {', '.join(_PARSERS)}")
    content = parse(read_text(path))
    if content is None:
        return {}
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ValueError("it must hold a value by flag, as in `epochs: 5`")
    return content


def _set(values: Values, name: str, value: Any) -> None:
    """Set a flag to a value of a file, unless it is given already."""
    if name not in values or name in NOT_SETTINGS:
        near = nearest(name, [known for known in values if known not in NOT_SETTINGS])
        raise ValueError(f"unknown flag {name}{'' if near is None else f': did you mean {near}?'}")
    flag = values[name]
    if flag.present:
        return
    given = [value] if not isinstance(value, list) else value
    texts = [_text(name, x) for x in given]
    if flag.boolean:
        texts = [_BOOLEANS.get(text.lower(), text) for text in texts]
    flag.parse(texts if isinstance(flag, RepeatedFlag) else ",".join(texts))
    flag.using_default_value = False


def _text(name: str, value: Any) -> str:
    """Return a value as it is written at a shell."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, (Mapping, list)):
        raise ValueError(
            f"{name} must be a value or a list of values, got {json.dumps(value, default=str)}; "
            "write what follows --NAME= at a shell, as text"
        )
    return str(value)


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ValueError("YAML needs PyYAML: pip install pyyaml; or use TOML or JSON") from None

    safe: Any = yaml.SafeLoader

    class Loader(safe):  # type: ignore[misc]
        """A loader that refuses a key that is given twice, instead of taking the last.

        Words such as yes, and numbers such as 1:5, of base 60 in YAML 1.1, stay text: they are
        values of `stratify` and `class_weight`.
        """

        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            if kind is yaml.ScalarNode and (":" in value or value.lower() in _BOOLEANS):
                return self.DEFAULT_SCALAR_TAG
            return super().resolve(kind, value, implicit)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            _once([(key.value, None) for key, _ in node.value])
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)  # noqa: S506  (it is a SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _toml(text: str) -> Any:
    for name in ("tomllib", "tomli"):  # Python 3.10 has no tomllib
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name).loads(text)
    raise ValueError("TOML needs Python 3.11 or tomli: pip install tomli; or use YAML or JSON")


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a dict.

    Raises:
        ValueError: a key is given twice.
    """
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is given twice")
    return dict(pairs)


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".toml": _toml,
    ".json": _json,
}
