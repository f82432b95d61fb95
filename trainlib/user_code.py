"""Custom functions and classes, given as `module:name`, and the folders of their modules.

Modules are searched for in the folders of a code path, which is written as $PYTHONPATH is; without
one, in the working directory. The folders stay at the end of `sys.path`, for what a module imports
later.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


def is_spec(name: str) -> bool:
    """Return whether a name is `module:name`."""
    return ":" in name


def name_of(spec: str) -> str:
    """Return the name in `module:name`, or the name itself."""
    return spec.rpartition(":")[2]


def module_of(spec: str) -> str:
    """Return the module that `module:name` names."""
    return spec.partition(":")[0]


def import_object(kind: str, spec: str, code_path: str | None = None) -> Any:
    """Return the function, class or object that `module:name` names.

    Args:
        kind: what the object is, for messages: "model", "callback".
        spec: the text, as "my_module:my_function".
        code_path: folders that are searched first, separated as in $PYTHONPATH. Default: None, the
            working directory.

    Raises:
        ValueError: there is no such module or name, or an error in the module, with its place.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ValueError(f"{kind} {spec!r}: must be written module:function")
    module = import_module(f"{kind} {spec}", module_name, code_path)
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise ValueError(f"{kind} {spec}: {error}") from error


def import_function(kind: str, spec: str, code_path: str | None = None) -> Callable[..., Any]:
    """Return the function or class that `module:name` names; its errors name their place.

    Raises:
        ValueError: as of `import_object`; or what the name stands for cannot be called.
    """
    found = import_object(kind, spec, code_path)
    if not callable(found):
        raise ValueError(f"{kind} {spec}: must be a function, got {type(found).__name__}")
    if not inspect.isfunction(found) or is_installed(found.__module__):
        return found  # type: ignore[no-any-return]
    return naming_place(f"{kind} {spec}", found, code_path)


def naming_place(
    who: str, function: Callable[..., Any], code_path: str | None = None
) -> Callable[..., Any]:
    """Return a custom function whose errors name file and line, and which finds its modules."""

    @functools.wraps(function)
    def wrapped(*args: Any, **keywords: Any) -> Any:
        with _errors(who), _searched(code_path):
            return function(*args, **keywords)

    return wrapped


def import_module(who: str, name: str, code_path: str | None = None) -> Any:
    """Return a custom module, searched for in the code path first.

    A module of that name from another folder is replaced.

    Args:
        who: what needs it, for messages.
        name: its name.
        code_path: as of `import_object`.

    Raises:
        ValueError: there is no such module, or an error in it, with its place.
    """
    with _errors(who), _searched(code_path):
        _forget_other(name, _folders(code_path))
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            folders = os.pathsep.join(_folders(code_path))
            raise ModuleNotFoundError(f"{error} in {folders}, the code_path") from None
    for folder in _folders(code_path):
        if folder not in sys.path:
            sys.path.append(folder)
    return module


def code_path_of(modules: Iterable[Any]) -> str | None:
    """Return the folders that modules were imported from; None where all are installed."""
    folders = dict.fromkeys(filter(None, map(_folder_of, modules)))
    return os.pathsep.join(folders) or None


def is_installed(module_name: str) -> bool:
    """Return whether a module is one of Python, of trainlib or of an installed package."""
    top = module_name.partition(".")[0]
    if top in ("trainlib", "builtins", "__main__"):
        return True
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if file is None:
        return True
    paths = sysconfig.get_paths()
    installed = (paths[name] for name in ("purelib", "platlib", "stdlib", "platstdlib"))
    return any(Path(file).resolve().is_relative_to(Path(x).resolve()) for x in installed)


def required_parameters(function: Callable[..., Any]) -> list[str] | None:
    """Return the names of parameters without a default; None for what has no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    single = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in single]


def _folders(code_path: str | None) -> list[str]:
    """Return the folders of a code path, absolute."""
    given = [x for x in (code_path or "").split(os.pathsep) if x] or [os.getcwd()]
    return [os.path.abspath(os.path.expanduser(folder)) for folder in given]


@contextlib.contextmanager
def _searched(code_path: str | None) -> Iterator[None]:
    """Search the folders of a code path before others."""
    folders = _folders(code_path)
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)


def _forget_other(name: str, folders: list[str]) -> None:
    """Forget an imported module of that name if the folders have another one."""
    top = name.partition(".")[0]
    loaded = None if is_installed(top) else getattr(sys.modules.get(top), "__file__", None)
    spec = importlib.machinery.PathFinder.find_spec(top, folders)
    if loaded and spec and spec.origin and not _is_same(loaded, spec.origin):
        for known in [x for x in sys.modules if x == top or x.startswith(f"{top}.")]:
            del sys.modules[known]


def _is_same(a: str, b: str) -> bool:
    return os.path.realpath(a) == os.path.realpath(b)


def _folder_of(module: Any) -> str | None:
    """Return the folder that a custom module was imported from; None for installed ones."""
    if is_installed(module.__name__):
        return None
    path = Path(module.__file__).resolve()
    levels = module.__name__.count(".") + (path.name == "__init__.py")
    return str(path.parents[levels])


@contextlib.contextmanager
def _errors(who: str) -> Iterator[None]:
    """Turn an error in custom code into one that names its file and line."""
    try:
        yield
    except Exception as error:
        if getattr(error, "names_place", False):
            raise
        text = " ".join(str(error).split())
        place = _place(error)
        if place:
            text = f"{place}: {type(error).__name__}: {text}" if text else place
        named = ValueError(f"{who}: {text or type(error).__name__}")
        named.names_place = True  # type: ignore[attr-defined]
        raise named from error


def _place(error: Exception) -> str:
    """Return file and line of the custom code that an error came from; "" where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    ours = str(Path(__file__).parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(("<", ours)) and not _is_library(frame.filename):
            return f"{frame.filename}, line {frame.lineno}"
    return ""


def _is_library(file: str) -> bool:
    paths = sysconfig.get_paths()
    installed = tuple(paths[name] for name in ("purelib", "platlib", "stdlib", "platstdlib"))
    return file.startswith(installed)
