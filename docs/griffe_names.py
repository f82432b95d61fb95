"""An extension of griffe, which reads the code for mkdocstrings: what only the running code knows.

Signatures have the defaults that a call has, where decorators set them, and a public name is what
`import trainlib` gives: `tl.adam` is a function, although a module has its name.
"""

from __future__ import annotations

import ast
import inspect
import operator
import sys
from typing import Any

import griffe
from reference import default_text, entries, is_function_or_class

KINDS = {kind.value: kind for kind in griffe.ParameterKind}


class RuntimeNames(griffe.Extension):
    """Gives objects their public names and their signatures at run time."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Let the public names lead to the objects that they are."""
        found = {}
        for entry in filter(lambda entry: is_function_or_class(entry.value), entries()):
            defined = f"{entry.value.__module__}.{entry.value.__qualname__}"
            if defined != entry.path:
                found[tuple(entry.path.split(".")[1:])] = pkg[tuple(defined.split(".")[1:])]
        for (*outer, name), target in found.items():
            owner = pkg[tuple(outer)] if outer else pkg
            owner.set_member(name, griffe.Alias(name, target, parent=owner))

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Let griffe see the section of examples."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Give a class the signature of its call."""
        if "__init__" not in cls.members:
            cls.set_member("__init__", griffe.Function("__init__", parent=cls))
        self.on_function(func=cls["__init__"])

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Give a function its signature."""
        value = _imported(func.parent if func.name == "__init__" else func)
        if callable(value):
            try:
                signature = inspect.signature(value)
            except ValueError:  # an exception without one
                return
            made = (_parameter(p, func.parent) for p in signature.parameters.values())
            func.parameters = griffe.Parameters(*made)


def _imported(obj: griffe.Object) -> Any:
    """Return the object itself; None if its module is not imported."""
    module = sys.modules.get(obj.module.path)
    try:
        return operator.attrgetter(obj.path.removeprefix(f"{obj.module.path}."))(module)
    except AttributeError:
        return None


def _parameter(parameter: inspect.Parameter, scope: griffe.Object) -> griffe.Parameter:
    """Return a parameter as griffe describes it."""
    annotation, default = parameter.annotation, parameter.default
    return griffe.Parameter(
        parameter.name,
        annotation=None if annotation is parameter.empty else _expression(annotation, scope),
        kind=KINDS[parameter.kind.description],
        default=None if default is parameter.empty else default_text(default),
    )


def _expression(annotation: Any, scope: griffe.Object) -> Any:
    """Return an annotation as an expression, whose names become links."""
    text = getattr(annotation, "__forward_arg__", annotation)
    text = text if isinstance(text, str) else inspect.formatannotation(annotation)
    return griffe.get_annotation(ast.parse(text, mode="eval").body, parent=scope)
