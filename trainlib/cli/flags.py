"""The flags of `train`. Those of hyperparameters are read off the registry."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import trainlib.models as models
import trainlib.registry as registry
from trainlib.cli.flag_types import Group, Values
from trainlib.core.checks import check_choice
from trainlib.data import DATASETS
from trainlib.step.precision import PRECISIONS
from trainlib.training.execution import EXECUTIONS
from trainlib.training.nonfinite import POLICIES
from trainlib.training.strategies import STRATEGIES

GROUPS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "model": models.MODELS,
    "optimizer": registry.OPTIMIZERS,
    "schedule": {
        name: factory
        for name, factory in registry.SCHEDULES.items()
        if registry.takes_numbers_alone(factory)
    },
    "regularizer": registry.REGULARIZERS,
    "constraint": registry.CONSTRAINTS,
    "clipping": registry.CLIPPING,
    "loss": {name: loss for name, loss in registry.LOSSES.items() if name not in ("circle", "ctc")},
    "metrics": registry.METRICS,
}
"""The kinds that a run chooses from, each with hyperparameters of its own.

The losses of embeddings and of sequences have no model here that they could train.
"""

AS_LONG_AS_THE_RUN = ("decay_steps", "total_steps")
"""The hyperparameters of schedules that follow from the length of the run where not given."""

AUTO = "auto"
_AUTO_RATE = "auto: found by a range test before the run, as `lr_find` does."
_BY_PATH = "a regular expression for their whole paths; by default those of two or more axes."

_OF_SCHEDULES = (
    "of the learning rate; or several, one after another. With --warmup_steps the rate rises to "
    "the first of any of them on a straight line"
)

NOT_FLAGS = {"loss": ("axis",)}
"""Hyperparameters that the form of the data decides here, by kind."""


def define_data(values: Values) -> None:
    """Which data set: shared by the commands that read one."""
    group = Group(values, "Data")
    names = ", ".join(DATASETS)
    group.string("dataset", "digits", f"One of {names}, or a path to one's own .npz or .csv.")
    group.string(
        "data_dir",
        None,
        "Folder to look for the data set's files in first; then come $TRAINLIB_DATA, Keras's "
        "cache, the system's data set packages, and a download.",
    )
    group.string("target", None, "Column of a .csv to predict; by default the last.")


def define_train(values: Values) -> None:
    """All flags of `train`, in the order in which --help shows them."""
    define_data(values)
    group = Group(values, "Data")
    group.integer("train_examples", None, "Use only the first so many training examples.")
    group.number(
        "validation_split",
        0.1,
        "Share of the training examples to keep for validation, drawn by --seed.",
    )
    group.choice(
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
    define_safe_mode(Group(values, "Model"))
    _choice(values, "optimizer", "adam")
    group = Group(values, "Optimizer")
    group.string(
        "param_rules",
        None,
        "Hyperparameters by the parameters' paths, such as '.*/(bias|gamma|beta):weight_decay=0; "
        "hidden_1/.*:learning_rate*=0.1; hidden_2/.*:freeze'.",
    )
    group.integer("gradient_accumulation_steps", 1, "Batches to sum before each update.")
    _define_schedule(values)
    _define_monitors(values)
    _choice(values, "regularizer", None, "a penalty on the kernels")
    group = Group(values, "Regularizer")
    group.string("regularized_params", None, f"The parameters to penalize: {_BY_PATH}")
    _choice(values, "constraint", None, "on the kernels, after each update")
    group = Group(values, "Constraint")
    group.string("constrained_params", None, f"The parameters to constrain: {_BY_PATH}")
    _define_hyperparameters(values, "clipping")
    _choice(
        values, "loss", "auto", "auto: cross-entropy for classes, mean squared error for numbers"
    )
    group = Group(values, "Loss")
    group.string(
        "class_weight",
        None,
        "Weights of the classes' training examples, such as 0:2,3:0.5, those of other classes "
        "being 1; or balanced: each class weighs the same.",
    )
    group = Group(values, "Metrics")
    group.strings(
        "metrics",
        ["auto"],
        f"Any of {', '.join(GROUPS['metrics'])}, divided by commas; auto: accuracy for classes, "
        "mean squared and mean absolute error for numbers.",
    )
    _define_hyperparameters(values, "metrics")
    group = Group(values, "Run")
    group.integer("epochs", 10, "Passes over the training examples.")
    group.integer("batch_size", 32, "Examples a step.")
    group.integer("seed", 0, "Everything random in the run follows from it.")
    group.choice(
        "precision",
        None,
        list(PRECISIONS),
        "In what the model computes, by default in what it was built in, float32; a mixed one "
        "keeps its parameters in float32.",
    )
    group.choice(
        "execution",
        "auto",
        EXECUTIONS,
        "How steps run: as a TensorFlow graph, compiled whole by XLA, or as a graph of which the "
        "optimizer's update is compiled; auto measures them where the run takes long.",
    )
    group.choice(
        "strategy",
        "auto",
        STRATEGIES,
        "On what: one_device; mirrored, several devices of this machine; multi_worker, the "
        "processes that $TF_CONFIG names, each started by this command with the same flags; auto "
        "takes what there is.",
    )
    group.choice(
        "nonfinite",
        "epoch",
        POLICIES,
        "What is not finite ends the run after the epoch whose loss it makes so; or, of a step "
        "whose loss or gradients are not finite: stop the run before it, skip it, or roll_back to "
        "the newest checkpoint and go on behind it; looking at each step takes some time. none: "
        "nothing becomes of it.",
    )
    group.integer(
        "replicas",
        None,
        "Devices of mirrored, by default all accelerators; without any the processor is divided.",
    )
    group.number(
        "worker_timeout",
        300.0,
        "Seconds for which multi_worker waits at the start for workers that are late.",
    )
    group.strings(
        "callbacks",
        [],
        "Your own, as module:name divided by commas: functions that are called after each epoch "
        "with the facts of the run, or classes of trainlib.callbacks.Callback.",
    )
    group.string(
        "run_dir",
        None,
        "Folder for what the run leaves; by default runs/<data set>-<model>-<optimizer>-<time>.",
    )
    group.boolean(
        "report",
        True,
        "At the end draw the run into report.html in its folder, where matplotlib is installed.",
    )
    _define_checkpoints(Group(values, "Checkpoints"))
    _define_tensorboard(Group(values, "TensorBoard"))


def _define_checkpoints(group: Group) -> None:
    """When a run is saved, and how one goes on."""
    group.string("resume", None, "Folder of a run to go on with, from its newest checkpoint.")
    group.integer(
        "replay_step",
        None,
        "With --resume: make this step of the run once more, counted from 1, and print the range "
        "of every tensor in it; nothing is written.",
    )
    group.integer("checkpoint_epochs", 1, "Epochs from one checkpoint to the next; 0: none.")
    group.integer("checkpoint_steps", None, "Batches from one checkpoint to the next, too.")
    group.number("checkpoint_seconds", 600.0, "Seconds from one checkpoint to the next, too.")
    group.integer("keep_checkpoints", 3, "How many of the newest are kept; the best one stays too.")
    group.string(
        "checkpoint_best",
        "auto",
        "The result by which a checkpoint is the best, such as val_accuracy; auto: the loss of the "
        "validation, if there is one; none: none is kept for that.",
    )
    group.integer(
        "stop_after",
        None,
        "End the run after so many batches, with a checkpoint, as SIGTERM does: --resume goes on.",
    )
    group.boolean(
        "verify_resume",
        False,
        "Instead of training, check that a run with these flags comes to the same bits when it is "
        "broken and resumed.",
    )
    group.integer("verify_steps", 100, "Batches before the break of --verify_resume, and after it.")


def _define_tensorboard(group: Group) -> None:
    """What of a run is written for TensorBoard, and where."""
    group.boolean(
        "tensorboard",
        False,
        "Write events for TensorBoard: curves, histograms, pictures, the graph, the flags.",
    )
    group.string(
        "tensorboard_dir",
        None,
        "Folder for the events of many runs, each in one of its own with the name of the run's; by "
        "default they are in the run's own folder.",
    )
    group.integer("tensorboard_steps", None, "Batches between two points of the curves, too.")
    group.integer(
        "histogram_epochs",
        None,
        "Epochs from one set of histograms to the next, by default 1; 0: none.",
    )
    group.boolean(
        "norms",
        None,
        "Report the mean norms of the gradients and of the updates; by default with --tensorboard.",
    )


def define_run(values: Values, title: str) -> None:
    """Which run, and where its data are: shared by the commands that use a finished run."""
    group = Group(values, title)
    group.string("run_dir", None, "The folder of the run.")
    group.string("data_dir", None, "Folder to look for the data set's files in, if not the run's.")
    define_safe_mode(group)


def define_safe_mode(group: Group) -> None:
    """Whether code in a `.keras` file may run."""
    group.boolean(
        "safe_mode",
        True,
        "Refuse .keras files with code in them, as of Lambda layers; turn it off only for files "
        "that you trust.",
    )


def _define_schedule(values: Values) -> None:
    _choice(values, "schedule", "constant", _OF_SCHEDULES)
    group = Group(values, "Schedule")
    group.integers(
        "join_at",
        [],
        "Where --schedule names several, divided by commas: the steps at which the second, the "
        "third and so on begin.",
    )
    group.boolean("per_epoch", False, "Count all steps of the schedule in epochs.")


def _define_monitors(values: Values) -> None:
    """A switch for each of the state machines that follow a result, and its hyperparameters."""
    for name, factory in registry.MONITORS.items():
        group = Group(values, "Performance")
        group.boolean(name, False, f"{(inspect.getdoc(factory) or '').splitlines()[0]}")
        for hyperparameter in registry.hyperparameters(factory).values():
            none = hyperparameter.default is None
            default = "" if none else f" (default {hyperparameter.default_text})"
            about = f"{hyperparameter.help.rstrip('.')}{default}."
            _define(group, f"{name}_{hyperparameter.name}", hyperparameter.type, about)


def monitor_options(values: Values, name: str) -> dict[str, Any] | None:
    """The hyperparameters given for a state machine; None where it is not switched on."""
    flags = {f"{name}_{h}": h for h in registry.hyperparameters(registry.MONITORS[name])}
    given = {h: values[flag].value for flag, h in flags.items() if values[flag].value is not None}
    if values[name].value:
        return given
    for flag, h in flags.items():
        if h in given:
            raise ValueError(f"--{flag} needs --{name}")
    return None


def warmup_options(values: Values) -> dict[str, Any]:
    """The flags of `linear_warmup` where it is to stand before the schedule; {} where not.

    It does where a warm-up is asked for that neither the schedule nor the optimizer takes.
    """
    return chosen(values, "schedule", "linear_warmup") if _warms_up(values) else {}


def chosen(values: Values, kind: str, name: str | None) -> dict[str, Any]:
    """The hyperparameters given for a chosen member of a kind.

    Raises:
        ValueError: one that no chosen member takes, or that members of two kinds take.
    """
    table = GROUPS[kind]
    takes = registry.hyperparameters(table[name]) if name and name in table else {}
    given = {}
    for flag in hyperparameter_flags(kind):
        own = f"{kind}_{flag}"
        is_own = not _is_unset(values, own)
        if not is_own and values[flag].value is None:
            continue
        if flag not in takes:
            if not _takers(values, flag, [kind] if is_own else list(GROUPS)):
                _refuse(own if is_own else flag, flag, kind, name)
        elif is_own:
            given[flag] = values[own].value
        else:
            for other, member in _takers(values, flag, [k for k in GROUPS if k != kind]):
                raise ValueError(
                    f"--{flag} is taken by {kind} {name} and by {other} {member}: "
                    f"say --{kind}_{flag} or --{other}_{flag}"
                )
            given[flag] = values[flag].value
    return given


def check_choices(values: Values) -> None:
    """Refuses unknown names, and hyperparameters that what is chosen does not take.

    What is built of the flags would refuse them too, seconds later: it needs data and TensorFlow.
    """
    for kind, table in GROUPS.items():
        names = chosen_names(values, kind)
        if kind == "clipping" or AUTO in names:  # chosen by its hyperparameters, or by the data
            continue
        for name in names:
            if kind != "model" or not models.is_custom(name):
                check_choice("metric" if kind == "metrics" else kind, name, table)
            chosen(values, kind, name)
        if not names:
            chosen(values, kind, None)


def _refuse(flag: str, name: str, kind: str, member: str | None) -> NoReturn:
    table = GROUPS[kind]
    owners = [other for other, f in table.items() if name in registry.hyperparameters(f)]
    if not member:
        raise ValueError(f"--{flag} needs --{kind}={' or '.join(owners)}")
    takes = registry.hyperparameters(table[member]) if member in table else {}
    allowed = ", ".join(f"--{x}" for x in hyperparameter_flags(kind) if x in takes)
    raise ValueError(
        f"--{flag} is not for {kind} {member}, which takes {allowed or 'none'}; "
        f"it is for {', '.join(owners)}"
    )


@functools.cache
def hyperparameter_flags(kind: str) -> Mapping[str, registry.Hyperparameter]:
    """The flags of a kind: the union of what its members take, but for schedules' own rate."""
    union: dict[str, registry.Hyperparameter] = {}
    for factory in GROUPS[kind].values():
        for name, hyperparameter in registry.hyperparameters(factory).items():
            if name != rate_argument(factory) and name not in NOT_FLAGS.get(kind, ()):
                union.setdefault(name, hyperparameter)
    return MappingProxyType(union)


def rate_argument(factory: Callable[..., Any]) -> str | None:
    """The argument of a schedule that --learning_rate is for: the first, where that is a rate."""
    first = next(iter(registry.hyperparameters(factory)), "")
    return first if first.endswith("_learning_rate") else None


def chosen_names(values: Values, kind: str) -> list[str]:
    """What the flags choose of a kind."""
    if kind not in values:
        return []
    value = values[kind].value
    if kind != "schedule":
        return [str(x) for x in (value if isinstance(value, list) else [value]) if x]
    return schedule_names(values) + (["linear_warmup"] if _warms_up(values) else [])


def schedule_names(values: Values) -> list[str]:
    """The schedules of --schedule, in their order."""
    return [name.strip() for name in str(values.schedule).split(",")]


def _warms_up(values: Values) -> bool:
    """Whether a warm-up is asked for that neither the schedule nor the optimizer takes itself."""

    def takes(kind: str, name: str) -> bool:
        factory = GROUPS[kind].get(name)
        return factory is not None and "warmup_steps" in registry.hyperparameters(factory)

    if any(takes("schedule", name) for name in schedule_names(values)):
        return False
    if values.schedule_warmup_steps is not None:
        return True
    return values.warmup_steps is not None and not takes("optimizer", values.optimizer)


def _takers(values: Values, flag: str, kinds: Sequence[str]) -> list[tuple[str, str]]:
    """The chosen members of some kinds, as (kind, name), that the flag is for.

    It is for none of a kind that has been given the flag under the kind's own name.
    """
    return [
        (kind, name)
        for kind in kinds
        if flag in hyperparameter_flags(kind)
        and (len(kinds) == 1 or _is_unset(values, f"{kind}_{flag}"))
        for name in chosen_names(values, kind)
        if name in GROUPS[kind] and flag in registry.hyperparameters(GROUPS[kind][name])
    ]


def _is_unset(values: Values, flag: str) -> bool:
    return flag not in values or values[flag].value is None


def _choice(values: Values, kind: str, default: str | None, more: str = "") -> None:
    """The flag that chooses from a kind, and the flags of the kind's hyperparameters."""
    text = f"One of {', '.join(GROUPS[kind])}" + (f"; {more}." if more else ".")
    Group(values, kind.capitalize()).string(kind, default, text)
    _define_hyperparameters(values, kind)


def _define_hyperparameters(values: Values, kind: str) -> None:
    """A flag for each hyperparameter, and for one that other kinds have too, `<kind>_<name>`."""
    group = Group(values, kind.capitalize())
    for name, hyperparameter in hyperparameter_flags(kind).items():
        if name not in values:
            if name == "learning_rate":
                group.number_or(AUTO, name, None, f"{_meaning(name)} {_AUTO_RATE}")
            else:
                _define(group, name, hyperparameter.type, _meaning(name))
        others = [
            other for other in GROUPS if other != kind and name in hyperparameter_flags(other)
        ]
        if others:
            about = f"--{name} of the {kind} alone, where the {' or '.join(others)} takes it too."
            _define(group, f"{kind}_{name}", hyperparameter.type, about)


def _define(group: Group, name: str, type_: str, about: str) -> None:
    """A flag for a hyperparameter of that type, not given by default."""
    by_type: dict[str, Callable[..., None]] = {
        "bool": group.boolean,
        "int": group.integer,
        "str": group.string,
        "axis": group.string,
        "ints": group.integers,
        "floats": group.numbers,
    }
    by_type.get(type_, group.number)(name, None, about)


def _meaning(name: str) -> str:
    """What a hyperparameter means, who takes it, and their defaults: `decay ... (rmsprop 0.9).`"""
    takers: dict[str, dict[str, list[str]]] = {}
    for member, factory in (item for group in GROUPS.values() for item in group.items()):
        found = registry.hyperparameters(factory).get(name)
        if found is not None:
            by_default = takers.setdefault(found.help.rstrip("."), {})
            by_default.setdefault(_default(found), []).append(member)
    meanings = []
    for about, by_default in takers.items():
        members = "; ".join(f"{', '.join(m)}{default}" for default, m in by_default.items())
        meanings.append(f"{about} ({members}).")
    return " ".join(meanings)


def _default(hyperparameter: registry.Hyperparameter) -> str:
    if hyperparameter.name in AS_LONG_AS_THE_RUN:
        return ", by default to the end of the run"
    if hyperparameter.required:
        return ""
    return f" {hyperparameter.default_text}"
