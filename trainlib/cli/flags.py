"""The flags of `train`. Those of hyperparameters are read off the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trainlib.models as models
import trainlib.registry as registry
from trainlib.cli.command import Group, Values
from trainlib.data import DATASETS
from trainlib.loop.execution import EXECUTIONS

GROUPS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "model": models.MODELS,
    "optimizer": registry.OPTIMIZERS,
    "schedule": registry.SCHEDULES,
    "regularizer": registry.REGULARIZERS,
    "clipping": registry.CLIPPING,
    "loss": registry.LOSSES,
}
"""The kinds that a run chooses from, each with hyperparameters of its own."""

AS_LONG_AS_THE_RUN = "decay_steps"
"""The hyperparameter of schedules that follows from the length of the run where it is not given."""


def define_data(values: Values) -> None:
    """Which data set: shared by the commands that read one."""
    group = Group(values, "Data")
    names = ", ".join(DATASETS)
    group.text("dataset", "digits", f"One of {names}, or a path to one's own .npz or .csv.")
    group.text(
        "data_dir",
        None,
        "Folder to look for the data set's files in first; then come $TRAINLIB_DATA, Keras's "
        "cache, the system's data set packages, and a download.",
    )
    group.text("target", None, "Column of a .csv to predict; by default the last.")


def define_train(values: Values) -> None:
    """All flags of `train`, in the order in which --help shows them."""
    define_data(values)
    group = Group(values, "Data")
    group.whole("train_examples", None, "Use only the first so many training examples.")
    group.number(
        "validation_split",
        0.1,
        "Share of the training examples to keep for validation, drawn by --seed.",
    )
    group.one_of(
        "preprocess",
        "auto",
        ["auto", "none"],
        "auto: the model begins with layers that scale images to [0, 1] and columns to mean 0 and "
        "variance 1, bounded to [-10, 10], unless it has such; none: it is given the data as they "
        "are.",
    )
    _choice(
        values,
        "model",
        "mlp",
        "or the path of one's own .keras file; or module:function, called with "
        "(input_shape, outputs)",
    )
    _choice(values, "optimizer", "adam")
    group = Group(values, "Optimizer")
    group.text(
        "param_rules",
        None,
        "Hyperparameters by the parameters' paths, such as '.*/(bias|gamma|beta):weight_decay=0; "
        "hidden_1/.*:learning_rate*=0.1; hidden_2/.*:freeze'.",
    )
    group.whole("gradient_accumulation_steps", 1, "Batches to sum before each update.")
    _choice(values, "schedule", "constant", "of the learning rate")
    _choice(values, "regularizer", None, "of the kernels")
    _define_hyperparameters(values, "clipping")
    _choice(
        values, "loss", "auto", "auto: cross-entropy for classes, mean squared error for numbers"
    )
    group = Group(values, "Run")
    group.whole("epochs", 10, "Passes over the training examples.")
    group.whole("batch_size", 32, "Examples a step.")
    group.whole("seed", 0, "Everything random in the run follows from it.")
    group.one_of(
        "execution",
        "auto",
        EXECUTIONS,
        "How steps run: as a TensorFlow graph or compiled whole by XLA; auto decides by the model.",
    )
    group.text(
        "run_dir",
        None,
        "Folder for what the run leaves; by default runs/<data set>-<model>-<optimizer>-<time>.",
    )


def define_run(values: Values, title: str) -> None:
    """Which run, and where its data are: shared by the commands that use a finished run."""
    group = Group(values, title)
    group.text("run_dir", None, "The folder of the run.")
    group.text("data_dir", None, "Folder to look for the data set's files in, if not the run's.")


def chosen(values: Values, kind: str, name: str | None) -> dict[str, Any]:
    """The hyperparameters given for the chosen member of a kind.

    Raises:
        ValueError: one that the chosen member does not take.
    """
    table = GROUPS[kind]
    takes = registry.hyperparameters(table[name]) if name and name in table else {}
    given = {}
    for flag in hyperparameter_flags(kind):
        if values[flag].value is None:
            continue
        if flag in takes:
            given[flag] = values[flag].value
        elif not _taken_elsewhere(values, kind, flag):
            owners = [other for other, f in table.items() if flag in registry.hyperparameters(f)]
            if not name:
                raise ValueError(f"--{flag} needs --{kind}={' or '.join(owners)}")
            allowed = ", ".join(f"--{x}" for x in hyperparameter_flags(kind) if x in takes)
            raise ValueError(
                f"--{flag} is not for {kind} {name}, which takes {allowed or 'none'}; "
                f"it is for {', '.join(owners)}"
            )
    return given


def hyperparameter_flags(kind: str) -> dict[str, registry.Hyperparameter]:
    """The flags of a kind: the union of what its members take."""
    union: dict[str, registry.Hyperparameter] = {}
    for factory in GROUPS[kind].values():
        for name, hyperparameter in registry.hyperparameters(factory).items():
            union.setdefault(name, hyperparameter)
    union.pop("initial_learning_rate", None)
    return union


def _taken_elsewhere(values: Values, kind: str, flag: str) -> bool:
    """Whether the chosen member of another kind takes the flag."""
    kinds = (other for other in GROUPS if other != kind and other in values)
    others = (GROUPS[other].get(str(values[other].value)) for other in kinds)
    return any(factory and flag in registry.hyperparameters(factory) for factory in others)


def _choice(values: Values, kind: str, default: str | None, more: str = "") -> None:
    """The flag that chooses from a kind, and the flags of the kind's hyperparameters."""
    text = f"One of {', '.join(GROUPS[kind])}" + (f"; {more}." if more else ".")
    Group(values, kind.capitalize()).text(kind, default, text)
    _define_hyperparameters(values, kind)


def _define_hyperparameters(values: Values, kind: str) -> None:
    group = Group(values, kind.capitalize())
    by_annotation: dict[str, Callable[..., None]] = {
        "bool": group.switch,
        "int": group.whole,
        "str": group.text,
        "str | None": group.text,
        "Sequence[int]": group.whole_numbers,
    }
    for name, hyperparameter in hyperparameter_flags(kind).items():
        if name not in values:
            define = by_annotation.get(hyperparameter.annotation, group.number)
            define(name, None, _meaning(name))


def _meaning(name: str) -> str:
    """What a hyperparameter means, who takes it, and their defaults: `decay ... (rmsprop 0.9).`"""
    takers: dict[str, dict[str, list[str]]] = {}
    for member, factory in (item for group in GROUPS.values() for item in group.items()):
        found = registry.hyperparameters(factory).get(name)
        if found is not None:
            by_default = takers.setdefault(found.about.rstrip("."), {})
            by_default.setdefault(_default(found), []).append(member)
    meanings = []
    for about, by_default in takers.items():
        members = "; ".join(f"{', '.join(m)}{default}" for default, m in by_default.items())
        meanings.append(f"{about} ({members}).")
    return " ".join(meanings)


def _default(hyperparameter: registry.Hyperparameter) -> str:
    if hyperparameter.name == AS_LONG_AS_THE_RUN:
        return ", by default to the end of the run"
    if hyperparameter.required:
        return ""
    default = hyperparameter.default
    if isinstance(default, (tuple, list)):
        default = ",".join(map(str, default))
    return f" {default}"
