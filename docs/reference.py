"""The pages of the reference: the public names of trainlib by topic, for mkdocstrings to render.

`docs/site_hook.py` adds them to the site. A name is in a topic by the module that defines it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import trainlib.api as api
import trainlib.registry as registry
from trainlib.core.conventions import conventions_of


class Topic(NamedTuple):
    """A page of the reference.

    Attributes:
        title: its heading.
        modules: prefixes of the modules whose public names it has.
        text: first paragraph.
    """

    title: str
    modules: tuple[str, ...]
    text: str

    @property
    def page(self) -> str:
        """Path in the site."""
        return f"reference/{self.title.lower().replace(' ', '_')}.md"


TOPICS = (
    Topic("Optimizers", ("optimizers",), "Factories of an `Optimizer`, an (init, update) pair."),
    Topic("Transforms", ("transforms",), "Optimizers to chain with others, or to wrap them."),
    Topic(
        "Schedules",
        ("schedules",),
        "Factories of a schedule: a function of the step that returns the learning rate. The flag "
        "`--schedule=constant` is `constant_schedule`; all other names are the functions'.\n\n"
        "![The curves of all schedules](../schedules/gallery.svg)",
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
    def path(self) -> str:
        """Where Python finds it; the anchor of its heading."""
        return f"trainlib{self.name.removeprefix('tl')}"


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
    if is_function_or_class(value):
        return str(value.__module__)
    holders = [n for n, m in sys.modules.items() if n.count(".") > 1 and _holds(n, m, value)]
    return min(holders, key=len, default=default)


def _holds(name: str, module: Any, value: Any) -> bool:
    return name.startswith("trainlib.") and any(x is value for x in vars(module).values())


@functools.cache
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


def is_function_or_class(value: Any) -> bool:
    """Return whether an object is a class or a function, possibly a cached one."""
    return inspect.isclass(value) or (callable(value) and inspect.isfunction(inspect.unwrap(value)))


def pages() -> dict[str, str]:
    """Return the Markdown of the page of each topic, by its path in the site."""
    return {
        topic.page: f"# {topic.title}\n\n{topic.text}\n\n" + "\n".join(map(_section, found))
        for topic, found in by_topic().items()
    }


def contents() -> str:
    """Return the list of all names, with links, for `reference/index.md`."""
    lines = []
    for topic, found in by_topic().items():
        links = ", ".join(f"[{e.name.split('.')[-1]}][{e.path}]" for e in found)
        lines.append(f"- [{topic.title}]({topic.page.removeprefix('reference/')}): {links}")
    return "\n".join(lines)


def _section(entry: Entry) -> str:
    """Return the section of a public name."""
    options = f"    options: {{heading: {entry.name}, toc_label: {entry.name}}}\n"
    parts = [f"::: {entry.path}\n{options}", *_conventions(entry.value), *_picture(entry.value)]
    return "\n".join(parts)


def _conventions(factory: Any) -> list[str]:
    """Return the table of defaults that depend on the convention."""
    presets = conventions_of(factory)
    names = list(next(iter(presets.values()), {}))
    if not names:
        return []
    order = [name for name in inspect.signature(factory).parameters if name in names]
    rows = [["default of", *presets], ["---"] * (len(presets) + 1)]
    rows += [[f"`{n}`", *(f"`{default_text(p[n])}`" for p in presets.values())] for n in order]
    return ["".join(f"| {' | '.join(row)} |\n" for row in rows)]


def _picture(function: Any) -> list[str]:
    """Return the curve of a schedule."""
    names = [name for name, schedule in registry.SCHEDULES.items() if schedule is function]
    return [f"![The curve of {name}](../schedules/{name}.svg)\n" for name in names]


def default_text(default: Any) -> str:
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
