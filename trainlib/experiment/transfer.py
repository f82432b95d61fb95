"""Transfer: the layers that a run freezes, when they are unfrozen, and their learning rates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.callbacks import Callback, Unfreeze
from trainlib.core.tree import PatternError
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.transfer_config import TransferConfig
from trainlib.training.model_variables import model_variables
from trainlib.training.paths import shown
from trainlib.training.trainable import (
    flags_with,
    parameters_of,
    parts_of,
    paths_of_variables,
    set_trainable_flags,
    trainable_flags,
)


class UnfreezingStep(NamedTuple):
    """Layers that are unfrozen after a number of epochs.

    Attributes:
        epochs: number of epochs before.
        layers: names of the layers, in the order of the model.
        paths: paths of their parameters.
    """

    epochs: int
    layers: tuple[str, ...]
    paths: tuple[str, ...]


class TransferPlan(NamedTuple):
    """The frozen layers of a model, the epochs after which they are unfrozen, and their rates.

    Attributes:
        flags: the `trainable` flags before layers were frozen; the saved model has these again.
            Default: ().
        frozen: names of the layers that are frozen at first. Default: ().
        frozen_params: number of their parameters. Default: 0.
        steps: layers that are unfrozen, in order. Default: ().
        rules: rules of `param_rules` for groups of parameters with other learning rates, or that
            are unfrozen later. Default: "", no groups.
    """

    flags: Sequence[bool] = ()
    frozen: tuple[str, ...] = ()
    frozen_params: int = 0
    steps: tuple[UnfreezingStep, ...] = ()
    rules: str = ""

    def describe(self) -> str:
        """Return the plan as a line; "" if no layer is frozen."""
        if not self.frozen:
            return ""
        later = (f"{', '.join(x.layers)} after epoch {x.epochs}" for x in self.steps)
        until = f"; trained: {'; '.join(later)}" if self.steps else ""
        return f"frozen: {', '.join(self.frozen)}, {self.frozen_params:,} parameters{until}"

    def restore(self, model: Any) -> None:
        """Restore the `trainable` flags that a model had before layers were frozen."""
        if self.flags:
            set_trainable_flags(model, self.flags)


def freeze_layers(config: ExperimentConfig, model: Any, head: str = "") -> list[bool]:
    """Freeze the layers of a model as configured, and return its `trainable` flags from before.

    Args:
        config: the experiment.
        model: Keras model of the experiment.
        head: name of the layer of a new head, which is not frozen. Default: "", there is none.

    Raises:
        ValueError: the pattern matches no layer, or all layers with parameters.
    """
    before, pattern = trainable_flags(model), config.transfer.freeze
    if pattern is None:
        return before
    after = _named("freeze", flags_with, model, pattern, False)
    set_trainable_flags(model, after)
    if head:
        set_trainable_flags(model, flags_with(model, re.escape(head), True))
    if not model.trainable_variables:
        raise ValueError(
            f"freeze={pattern} freezes all layers with parameters: leave one to train, or give "
            "replace_head"
        )
    return before


def plan_for(config: ExperimentConfig, trained: Any, before: Sequence[bool]) -> TransferPlan:
    """Return the plan of an experiment for its model, whose layers are frozen already.

    Args:
        config: the experiment.
        trained: the model whose outputs the loss takes.
        before: `trainable` flags before layers were frozen.

    Raises:
        ValueError: a pattern of `unfreeze_at` matches no frozen layer.
    """
    transfer = config.transfer
    if transfer.is_plain:
        return TransferPlan()
    frozen = [part for part in parts_of(trained) if _is_frozen(part)]
    steps = tuple(_steps(transfer, trained))
    paths = paths_of_variables(trained)
    groups: list[tuple[Sequence[str], float]] = [(step.paths, 1.0) for step in steps]
    if transfer.layer_decay != 1:
        parts = [[paths[id(v)] for v in parameters_of(x)] for x in parts_of(trained)]
        depths = range(len(parts) - 1, -1, -1)
        groups = [(x, transfer.layer_decay**d) for x, d in zip(parts, depths, strict=True) if d]
    count = sum(math.prod(v.shape) for part in frozen for v in parameters_of(part))
    rules = ";".join(f"{_pattern(x, paths.values())}:learning_rate*={f!r}" for x, f in groups)
    return TransferPlan(before, tuple(x.name for x in frozen), count, steps, rules)


def unfreezing_callbacks(config: ExperimentConfig, stream: Any) -> list[Callback]:
    """Return the callback that unfreezes layers, if it is configured.

    Args:
        config: the experiment.
        stream: text stream for its lines.
    """
    steps = config.transfer.unfreezing
    return [Unfreeze(steps, stream=stream)] if steps else []


def transfer_summary(config: ExperimentConfig, plan: TransferPlan) -> dict[str, Any]:
    """Return the entry of a run's summary about transfer; {} without transfer."""
    transfer = config.transfer
    if transfer == TransferConfig():
        return {}
    found: dict[str, Any] = {}
    if config.model.name.endswith(".keras"):
        found["model"] = shown(Path(config.model.name))
    if transfer.replaces_head:
        found["new_head"] = True
    if plan.frozen:
        found["frozen"] = list(plan.frozen)
        found["frozen_parameters"] = plan.frozen_params
    if plan.steps:
        found["unfrozen"] = [{"after": x.epochs, "layers": list(x.layers)} for x in plan.steps]
    return {"transfer": found}


def _steps(transfer: TransferConfig, model: Any) -> Iterable[UnfreezingStep]:
    """Yield the layers that are unfrozen, in order."""
    kept = trainable_flags(model)
    for epochs, pattern in transfer.unfreezing.items():
        before = {id(part) for part in parts_of(model) if _is_frozen(part)}
        trained = set(model_variables(model)[0])
        set_trainable_flags(model, _named("unfreeze_at", flags_with, model, pattern, True))
        layers = [x for x in parts_of(model) if id(x) in before and not _is_frozen(x)]
        new = [path for path in model_variables(model)[0] if path not in trained]
        if not new:
            set_trainable_flags(model, kept)
            raise ValueError(
                f"unfreeze_at: no layer that {pattern!r} matches is frozen after {epochs} epochs"
            )
        yield UnfreezingStep(epochs, tuple(x.name for x in layers), tuple(new))
    set_trainable_flags(model, kept)


def _is_frozen(part: Any) -> bool:
    return not any(v.trainable for v in parameters_of(part))


def _pattern(wanted: Sequence[str], paths: Iterable[str]) -> str:
    """Return a regular expression that matches exactly these paths."""
    layers = dict.fromkeys(re.escape(path.rpartition("/")[0]) for path in wanted)
    short = f"({'|'.join(layers)})/[^/]+"
    same = {path for path in paths if re.fullmatch(short, path)} == set(wanted)
    return short if same else "|".join(map(re.escape, wanted))


def _named(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function; add the name of the setting to an error about a pattern."""
    try:
        return function(*args)
    except PatternError as error:
        raise ValueError(f"{name}: {error}") from error
