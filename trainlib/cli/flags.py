"""The flags of an experiment: generated from `ExperimentConfig`, and parsed into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainlib.augmentation import AUGMENTATIONS
from trainlib.cli.flag_types import Group, Values
from trainlib.cli.help import HelpTopics, describe, label, wrap_paragraphs
from trainlib.data import DATASETS
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.fields import Setting, plain_settings
from trainlib.experiment.flat import settings, unflatten
from trainlib.experiment.functions import AUTO, FUNCTIONS, LENGTHS, Hyperparameters, takes
from trainlib.experiment.hyperparameter_flags import AMBIGUITY, TAKEN, is_shared
from trainlib.registry import hyperparameters

OF_CODE = [s for s in settings(ExperimentConfig) if s.flag in ("code_path", "safe_mode")]
METAVARS: Mapping[str, str] = {
    **dict.fromkeys(("dataset", "model", "optimizer", "regularizer", "constraint", "loss"), "NAME"),
    **dict.fromkeys(("schedule", "metrics", "callbacks"), "NAMES"),
    **dict.fromkeys(("regularized_params", "constrained_params"), "REGEX"),
    "target": "COLUMN",
    "checkpoint_best": "RESULT",
    "param_rules": "RULES",
    "class_weight": "WEIGHTS",
    "augment": "STEPS",
    "imports": "MODULES",
    "code_path": "PATHS",
}
"""Placeholders of values in the help text, where the type says too little."""
COMMON = (
    *("dataset", "data_dir", "target", "validation_split", "augment", "model", "optimizer"),
    *("learning_rate", "schedule", "loss", "metrics", "epochs", "batch_size", "seed", "early_stop"),
    *("precision", "execution", "strategy"),
)
"""The flags of an experiment that the short help shows."""
OF_SEVERAL = tuple(x for x in COMMON if x not in ("data_dir", "augment", "precision", "execution"))
"""The flags of an experiment that the short help of commands for many runs shows."""


def define_experiment(values: Values) -> None:
    """Define the flags of an experiment, in the groups and the order of the help text."""
    for setting in settings(ExperimentConfig):
        hidden = bool(setting.kind) and not setting.help
        _define(Group(values, setting.group, hidden), setting)


def define_settings(values: Values, cls: Any) -> None:
    """Define the flags of the plain settings of a dataclass."""
    group = ""
    for _, setting in plain_settings(cls):
        group = setting.group or group
        _define(Group(values, group), setting)


def given_settings(values: Values, cls: Any) -> dict[str, Any]:
    """Return the plain settings of a dataclass that the user gave, by field."""
    flags = {name: values[setting.flag] for name, setting in plain_settings(cls)}
    return {name: flag.value for name, flag in flags.items() if flag.present}


def define_run(values: Values, title: str) -> None:
    """Define the flags of commands that use a finished run: which run, and where its data are."""
    group = Group(values, title)
    group.path("run_dir", None, "Folder of the run.")
    group.path(
        "data_dir",
        None,
        "Folder searched first for the data set's files; default: the run's.",
    )
    define_code(group)


def define_code(group: Group) -> None:
    """Define the flags for custom modules, and for `.keras` files that contain code."""
    for setting in OF_CODE:
        _define(group, setting)


def _define(group: Group, setting: Setting) -> None:
    name, default, help = setting.flag, setting.default, setting.help
    if setting.choices:
        group.choice(name, default, list(setting.choices), help)
        return
    if name == "learning_rate":
        group.number_or(AUTO, name, None, help)
        return
    by_type: dict[str, Callable[..., None]] = {
        "bool": group.boolean,
        "int": group.integer,
        "float": group.number,
        "str": group.string,
        "path": group.path,
        "ints": group.integers,
        "floats": group.numbers,
        "strs": group.strings,
    }
    options = {"metavar": METAVARS[name]} if name in METAVARS else {}
    default = list(default) if isinstance(default, tuple) else default
    by_type[setting.type](name, default, help, **options)
    defined: Any = group.values[name]
    if name in FUNCTIONS:
        defined.words = list(FUNCTIONS[name])
    if name == "dataset":
        defined.words, defined.is_path = list(DATASETS), True


def given_flags(values: Values) -> dict[str, Any]:
    """Return the flags of an experiment that the user gave, by name; those left out are missing."""
    given = {s.flag: values[s.flag] for s in settings(ExperimentConfig) if s.flag in values}
    return {
        name: tuple(flag.value) if isinstance(flag.value, list) else flag.value
        for name, flag in given.items()
        if flag.present
    }


def fixed_flags(values: Values) -> list[str]:
    """Return the given flags of an experiment, which cannot change when several runs are resumed.

    That is all but `safe_mode`, which has to be given again.
    """
    return [name for name in given_flags(values) if name != "safe_mode"]


def experiment_config(values: Values) -> ExperimentConfig:
    """Return the experiment that the given flags describe; other settings have their defaults.

    Raises:
        ValueError, TypeError: flags that contradict each other, or values that are not allowed.
    """
    return unflatten(ExperimentConfig, given_flags(values))


def function_topics() -> HelpTopics:
    """Return the help texts of all functions: `--help=adam` shows the flags of `adam`."""
    texts: dict[str, Callable[[Values, int], str]] = {}
    for functions in FUNCTIONS.values():
        for name in functions:
            texts[name] = _topic(name)
    texts["augment"] = _augmentations
    hint = (
        "--help=NAME shows the hyperparameters of one optimizer, schedule, loss, metric, model, "
        f"..., as in --help=adam or --help=cosine_decay. {AMBIGUITY}"
    )
    kinds = {kind: list(names) for kind, names in FUNCTIONS.items()}
    return HelpTopics(hint, texts, {**kinds, "flag": ["augment"]})


def _augmentations(values: Values, width: int) -> str:
    """Return the help text of all augmentations."""
    head = (
        "Augmentations, comma-separated in --augment, made in this order on the training images; "
        "mixup and cutmix last. A name alone takes the defaults; several values are written with "
        "colons, as in randaugment=2:9. fill_mode=reflect|constant|nearest|wrap and "
        "fill_value=NUMBER say what is outside an image."
    )
    entries = (_step(name, width) for name in AUGMENTATIONS)
    return "\n\n".join([wrap_paragraphs(head, width), "\n".join(entries)])


def _step(name: str, width: int) -> str:
    """Return the entry of an augmentation: how it is written, what it does, and its values."""
    factory = AUGMENTATIONS[name]
    declared = hyperparameters(factory).values()
    summary = (factory.__doc__ or "").strip().partition("\n")[0]
    texts = [
        f"{h.name}: {h.help}{'' if h.required else f'; default: {h.default_text}'}."
        for h in declared
    ]
    written = f"  {name}={':'.join(h.name for h in declared)}"
    return f"{written}\n{describe('', ' '.join([summary, *texts]), width)}"


def _topic(name: str) -> Callable[[Values, int], str]:
    def text(values: Values, width: int) -> str:
        parts = []
        for kind in (kind for kind, functions in FUNCTIONS.items() if name in functions):
            summary = (FUNCTIONS[kind][name].__doc__ or "").strip().partition("\n")[0]
            declared = takes(kind, name)
            entries = _entries(values, kind, name, declared, width)
            parts.append(wrap_paragraphs(f"{kind} {name}: {summary}", width))
            parts.append("\n".join(entries) if entries else "It has no hyperparameters.")
        return "\n\n".join(parts)

    return text


def _entries(
    values: Values, kind: str, name: str, declared: Hyperparameters, width: int
) -> list[str]:
    """Return the entry of each hyperparameter: its flag, its help and its default."""
    entries = []
    for hyperparameter, h in declared.items():
        flag = f"{name}_{hyperparameter}" if kind == "monitors" else hyperparameter
        flag = f"{kind}_{flag}" if flag in TAKEN else flag
        text = f"{h.help[:1].upper()}{h.help[1:]}."
        if hyperparameter in LENGTHS and h.required:
            text += " Default: to the end of the run."
        elif h.default is not None:
            default = h.default_text.lower() if h.type == "bool" else h.default_text
            text += f" Default: {default}."
        if kind != "monitors" and is_shared(hyperparameter) and hyperparameter not in TAKEN:
            text += f" Also --{kind}_{hyperparameter}."
        defined: Any = values[flag]
        entries.append(describe(label(defined), text, width))
    return entries
