"""Write the reference of the public API, docs/reference.md, from signatures and docstrings.

python docs/reference.py
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import trainlib
import trainlib.api as api
import trainlib.registry as registry
from trainlib.core.conventions import conventions_of

PAGE = Path(__file__).resolve().with_name("reference.md")
HEAD = """# Reference

Everything that `import trainlib as tl` gives you, by topic. `python docs/reference.py` writes this
page from the signatures and docstrings. At a shell, flags take the same names:
`--optimizer=adam --beta_1=0.95`.
"""
WIDTH = 88


class Topic(NamedTuple):
    """A chapter of the page.

    Attributes:
        title: its heading.
        modules: prefixes of the modules whose public names it has.
        text: first paragraph.
    """

    title: str
    modules: tuple[str, ...]
    text: str


TOPICS = (
    Topic("Optimizers", ("optimizers",), "Factories of an `Optimizer`, an (init, update) pair."),
    Topic("Transforms", ("transforms",), "Optimizers to chain with others, or to wrap them."),
    Topic(
        "Schedules",
        ("schedules",),
        "Factories of a schedule: a function of the step that returns the learning rate. The flag "
        "`--schedule=constant` is `constant_schedule`; all other names are the functions'.\n\n"
        "![The curves of all schedules](schedules/gallery.svg)",
    ),
    Topic("Losses", ("losses",), "Functions that return a loss for each example."),
    Topic("Metrics", ("metrics",), "Metrics, their states, and functions of them."),
    Topic("Regularizers", ("regularizers",), "Penalties of the parameters, added to the loss."),
    Topic("Constraints", ("constraints",), "Projections of a weight, applied after an update."),
    Topic("Monitors", ("monitors",), "State machines that follow a result from epoch to epoch."),
    Topic("Checkpoints", ("training.checkpoints",), "Training states on disk."),
    Topic("FunctionalModel", ("training.functional_model",), "Keras models as pure functions."),
    Topic("Trainer", ("training",), "Training, evaluation and prediction."),
    Topic("Training step", ("step", "core"), "The pure functions that make up a training step."),
    Topic(
        "Callbacks",
        ("callbacks", "training.callback", "training.display"),
        "Objects that follow training, and may stop or change it.",
    ),
    Topic("Data", ("data",), "Data sets, and arrays of examples."),
    Topic("Models", ("models",), "Keras models by name, and functions of models."),
    Topic("Augmentation", ("augmentation", "core.random"), "Random changes of training images."),
    Topic("Tools", ("tools", "report"), "Procedures around training runs."),
    Topic("Estimators", ("estimators",), "Experiments as estimators of scikit-learn."),
    Topic(
        "Interop",
        ("interop",),
        "Parameters and optimizer states to and from files, Keras, PyTorch and Optax.",
    ),
    Topic(
        "Experiment", ("experiment",), "Configurations of experiments, and functions that run them."
    ),
    Topic("Registry", ("registry",), "Functions by name, with their hyperparameters as data."),
)
REGISTRY_NAMES = ("lookup", "hyperparameters", "Hyperparameter", "takes_plain_values", "KINDS")
"""The public names of `tl.registry` besides the tables of each kind."""


class Entry(NamedTuple):
    """A public name.

    Attributes:
        name: as you write it, such as "tl.losses.huber".
        value: the object.
        module: the name of the module that defines it, or that exports it for a constant.
    """

    name: str
    value: Any
    module: str

    @property
    def anchor(self) -> str:
        """End of a link to its heading."""
        return re.sub(r"[^\w-]", "", self.name.lower())


def entries() -> Iterator[Entry]:
    """Yield every public name: those of `tl`, then those of its public modules."""
    modules = []
    for name in api.__all__:
        value = getattr(api, name)
        if inspect.ismodule(value):
            modules.append((name, value))
        else:
            yield Entry(f"tl.{name}", value, _home(value, f"trainlib.{name}"))
    for name, module in modules:
        for member in getattr(module, "__all__", REGISTRY_NAMES):
            value = getattr(module, member)
            yield Entry(f"tl.{name}.{member}", value, f"trainlib.{name}")


def _home(value: Any, default: str) -> str:
    """Return the module that defines an object; for a constant the first that holds it."""
    if inspect.isclass(value) or _is_function(value):
        return str(value.__module__)
    holders = [n for n, m in sys.modules.items() if n.count(".") > 1 and _holds(n, m, value)]
    return min(holders, key=len, default=default)


def _holds(name: str, module: Any, value: Any) -> bool:
    return name.startswith("trainlib.") and any(x is value for x in vars(module).values())


def by_topic() -> dict[Topic, list[Entry]]:
    """Return the public names of each topic.

    Raises:
        ValueError: a public name is of no topic.
    """
    found: dict[Topic, list[Entry]] = {topic: [] for topic in TOPICS}
    seen: set[int] = set()
    for entry in entries():
        if callable(entry.value) and id(entry.value) in seen:
            continue
        seen.add(id(entry.value))
        inner = entry.module.removeprefix("trainlib.") + "."
        prefixes = {m: t for t in TOPICS for m in t.modules if inner.startswith(f"{m}.")}
        if not prefixes:
            raise ValueError(f"{entry.name} of {entry.module} is of no topic of docs/reference.py")
        found[prefixes[max(prefixes, key=len)]].append(entry)
    return found


def reference() -> str:
    """Return the page."""
    topics = by_topic()
    parts = [HEAD, "## Contents\n"]
    for topic, found in topics.items():
        links = ", ".join(f"[{e.name.split('.')[-1]}](#{e.anchor})" for e in found)
        parts.append(f"- [{topic.title}](#{topic.title.lower().replace(' ', '-')}): {links}")
    parts.append("")
    for topic, found in topics.items():
        parts.append(f"## {topic.title}\n\n{topic.text}\n")
        parts.extend(_entry(entry) for entry in found)
    return "\n".join(parts).rstrip() + "\n"


def _entry(entry: Entry) -> str:
    """Return the section of a public name."""
    if inspect.isclass(entry.value):
        parts = _class(entry)
    elif _is_function(entry.value):
        parts = [_described(entry.name, entry.value)]
        parts += _conventions(entry.value) + _picture(entry.value)
    else:
        parts = [_constant(entry)]
    return f"### {entry.name}\n\n" + "\n\n".join(parts) + "\n"


def _described(name: str, function: Callable[..., Any]) -> str:
    """Return a function's signature and docstring."""
    signature = f"```python\n{name}{signature_text(function)}\n```"
    return "\n\n".join(filter(None, [signature, markdown(inspect.getdoc(function) or "")]))


def _class(entry: Entry) -> list[str]:
    """Return a class's signature and docstring, and those of its public methods and properties."""
    parts = [_described(entry.name, entry.value)]
    short = entry.value.__name__
    for name in dir(entry.value):
        member = inspect.getattr_static(entry.value, name)
        function = getattr(member, "__func__", member)
        is_property = isinstance(member, property)
        code = getattr(member, "fget", None) if is_property else function
        if name.startswith("_") or not inspect.isfunction(code) or not _is_ours(code):
            continue
        parts.append(f"#### {short}.{name}")
        text = markdown(inspect.getdoc(code) or "")
        parts.append(text if is_property else _described(f"{short}.{name}", function))
    return parts


def _is_function(value: Any) -> bool:
    """Return whether an object is a function, possibly a cached one."""
    return callable(value) and inspect.isfunction(inspect.unwrap(value))


def _is_ours(function: Callable[..., Any]) -> bool:
    return function.__module__.startswith("trainlib.")


def _constant(entry: Entry) -> str:
    """Return the names of a mapping or the value, and the string below its definition."""
    value = entry.value
    if isinstance(value, Mapping):
        shown = f"{entry.name}: {', '.join(map(str, value))}"
    else:
        shown = f"{entry.name} = {re.sub(r'(typing|collections[.]abc)[.]', '', repr(value))}"
    text = _text_below(entry.name.split(".")[-1], entry.module)
    return "\n\n".join(filter(None, [f"```python\n{shown}\n```", text]))


def _text_below(name: str, module: str) -> str:
    """Return the string literal after the definition of a constant in its module."""
    holders = [n for n in sys.modules if n == module or n.startswith(f"{module}.")]
    for holder in holders:
        body = ast.parse(inspect.getsource(sys.modules[holder])).body
        for node, below in zip(body, body[1:], strict=False):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if is_text and any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return markdown(inspect.cleandoc(below.value.value))  # type: ignore[attr-defined]
    return ""


def signature_text(function: Callable[..., Any]) -> str:
    """Return a signature with its defaults, one parameter a line where it is long."""
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    texts, keyword_only = [], False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not keyword_only:
            texts.append("*")
        keyword_only = keyword_only or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        star = "*" * (p.kind is p.VAR_POSITIONAL) + "**" * (p.kind is p.VAR_KEYWORD)
        annotation = "" if p.annotation is p.empty else f": {_annotation(p.annotation)}"
        equals = " = " if annotation else "="
        default = "" if p.default is p.empty else f"{equals}{_default(p.default)}"
        texts.append(f"{star}{p.name}{annotation}{default}")
    result = signature.return_annotation
    arrow = (
        ""
        if result is signature.empty or inspect.isclass(function)
        else f" -> {_annotation(result)}"
    )
    line = f"({', '.join(texts)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return "(\n" + "".join(f"    {text},\n" for text in texts) + f"){arrow}"


def _annotation(annotation: Any) -> str:
    """Return an annotation as it is written."""
    if isinstance(annotation, str):
        return annotation
    return getattr(annotation, "__forward_arg__", "") or inspect.formatannotation(annotation)


def _default(default: Any) -> str:
    """Return a default as you would write it."""
    if hasattr(default, "as_numpy_dtype"):
        return f"tf.{default.name}"
    if isinstance(default, str):
        return f'"{default}"'
    if callable(default):
        return getattr(default, "__name__", type(default).__name__)
    if dataclasses.is_dataclass(default) and _has_defaults(default):
        return f"{type(default).__name__}()"
    return "..." if repr(default).startswith("<") else repr(default)


def _has_defaults(instance: Any) -> bool:
    """Whether each field of a dataclass has its default."""
    return all(getattr(instance, f.name) == f.default for f in dataclasses.fields(instance))


def _conventions(function: Callable[..., Any]) -> list[str]:
    """Return the table of defaults that depend on the convention."""
    presets = conventions_of(function)
    names = list(next(iter(presets.values()), {}))
    if not names:
        return []
    order = [name for name in inspect.signature(function).parameters if name in names]
    rows = [["default of", *presets], ["---"] * (len(presets) + 1)]
    rows += [[f"`{n}`", *(f"`{_default(p[n])}`" for p in presets.values())] for n in order]
    return ["\n".join(f"| {' | '.join(row)} |" for row in rows)]


def _picture(function: Callable[..., Any]) -> list[str]:
    """Return the link to the curve of a schedule."""
    names = [name for name, schedule in registry.SCHEDULES.items() if schedule is function]
    return [f"![The curve of {name}](schedules/{name}.svg)" for name in names]


_SECTION = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises|Example|Examples|Differences|References|Note):$"
)
_ITEM = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)$")


def markdown(docstring: str) -> str:
    """Return a Google-style docstring as Markdown."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in docstring.splitlines():
        if heading := _SECTION.match(line):
            sections.append((heading[1], []))
        else:
            sections[-1][1].append(line)
    return "\n\n".join(filter(None, (_section(title, lines) for title, lines in sections)))


def _section(title: str, lines: list[str]) -> str:
    text = inspect.cleandoc("\n" + "\n".join(lines)).strip("\n")
    if not title:
        return text
    if title.startswith("Example"):
        return f"**{title}**\n\n```python\n{text}\n```"
    if title in ("Args", "Attributes", "Raises"):
        text = "\n".join(_item(line) for line in text.splitlines())
    return f"**{title}**\n\n{text}"


def _item(line: str) -> str:
    """Return a line of a list of arguments: the start of an item, or its continuation."""
    item = _ITEM.match(line)
    return f"- `{item[1]}`: {item[2]}" if item else f"  {line.strip()}" if line.strip() else ""


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"{PAGE.relative_to(Path(trainlib.__file__).parents[1])}: {len(list(entries()))} names")
