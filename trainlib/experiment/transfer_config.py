"""`TransferConfig`: the layers of a saved model that are reused and frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainlib.core.tree import PatternError, compiled
from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.experiment.functions import rate_argument


@dataclass(frozen=True, kw_only=True, repr=False)
class TransferConfig:
    """Configuration of transfer: reused and frozen layers of a saved model, and their rates.

    A pattern is a regular expression that must match the whole name of a layer, or the whole path
    of each of its parameters. The layers of a new head are never frozen.

    Args:
        replace_head: whether a new dense layer for the targets of the experiment replaces the last
            layer with parameters and all layers after it. Default: False.
        cut_at: name of the last layer to keep; a new head follows it, after the mean over positions
            if its output has several axes. Default: None, with `replace_head` the layer before the
            last one with parameters.
        freeze: pattern of the layers that are frozen at first. Default: None, no layer.
        unfreeze_at: number of epochs after which the frozen layers are trained, at least 1; or
            steps "pattern@epochs", separated by semicolons, such as "conv_2@4; conv_1@8". Default:
            None, the layers stay frozen.
        unfrozen_learning_rate: learning rate of all layers after the first unfreezing, above 0.
            Default: None, it does not change.
        layer_decay: ratio of the learning rates of a layer with parameters and of the next one, in
            (0, 1]. Default: 1, all layers have the same rate.

    Raises:
        ValueError, TypeError: a setting has another type, is out of its range, or needs another
            setting.

    Example:
        >>> transfer = tl.TransferConfig(freeze="conv_.*", unfreeze_at="conv_2@4; conv_1@8")
        >>> transfer.unfreezing
        {4: 'conv_2', 8: 'conv_1'}
    """

    replace_head: bool = setting(
        "bool",
        False,
        "Replace the last layer of a saved model by a new one; it fits the targets of this data "
        "set.",
        group="Transfer",
    )
    cut_at: str | None = setting(
        "str",
        None,
        "Last layer of a saved model to keep; a new head follows it. Default with --replace_head: "
        "the layer before the last one with parameters.",
    )
    freeze: str | None = setting(
        "str",
        None,
        "Layers to freeze; a regular expression for whole names of layers or paths of parameters, "
        "such as 'conv.*|hidden_1.*'. Their batch normalization is in inference mode.",
    )
    unfreeze_at: str | None = setting(
        "str",
        None,
        "Epochs after which the frozen layers are trained; or steps such as "
        "'conv_2.*@4; conv_1.*@8'.",
    )
    unfrozen_learning_rate: float | None = setting(
        "float",
        None,
        "Learning rate of all layers after the first unfreezing; default: unchanged.",
        above=0,
    )
    layer_decay: float = setting(
        "float",
        1.0,
        "Ratio of the learning rates of a layer and the next one; below 1, lower layers learn more "
        "slowly.",
        above=0,
        at_most=1,
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        _check_pattern("freeze", self.freeze or "")
        if self.unfreeze_at is not None and self.freeze is None:
            raise ValueError("unfreeze_at needs freeze, the layers that are frozen before")
        if self.unfrozen_learning_rate is not None and self.unfreeze_at is None:
            raise ValueError(
                "unfrozen_learning_rate needs unfreeze_at, the epochs after which it is taken"
            )
        for pattern in self.unfreezing.values():
            _check_pattern("unfreeze_at", pattern)

    @property
    def replaces_head(self) -> bool:
        """Whether the model gets a new head."""
        return self.replace_head or self.cut_at is not None

    @property
    def is_plain(self) -> bool:
        """Whether all layers are trained from the first epoch, at the same rate."""
        return self.freeze is None and self.layer_decay == 1

    @property
    def unfreezing(self) -> dict[int, str]:
        """Patterns of the layers to unfreeze, by the number of epochs before, in order."""
        found: dict[int, str] = {}
        for step in (self.unfreeze_at or "").split(";"):
            if not step.strip():
                continue
            pattern, at, epochs = step.strip().rpartition("@")
            if not epochs.strip().isdecimal() or int(epochs) < 1 or (at and not pattern):
                raise ValueError(
                    f"unfreeze_at={step.strip()!r} is neither a number of epochs, at least 1, nor "
                    "a step such as 'conv_1@4'"
                )
            if int(epochs) in found:
                raise ValueError(
                    f"unfreeze_at has two steps after {int(epochs)} epochs: write them as one, "
                    f"'{found[int(epochs)]}|{pattern}@{int(epochs)}'"
                )
            found[int(epochs)] = pattern.strip() or str(self.freeze)
        return dict(sorted(found.items()))


def _check_pattern(name: str, pattern: str) -> None:
    try:
        compiled(pattern)
    except PatternError as error:
        raise ValueError(f"{name}: {error}") from error


def check_transfer(config: Any) -> None:
    """Check the settings of transfer against other settings of an experiment.

    Args:
        config: an `ExperimentConfig`.

    Raises:
        ValueError: they contradict the model, the number of epochs or the learning rate.
    """
    transfer = config.transfer
    if transfer.replaces_head and not config.model.name.endswith(".keras"):
        name = "replace_head" if transfer.cut_at is None else "cut_at"
        raise ValueError(
            f"{name} is for a saved model, but model is {config.model.name}: give the folder of a "
            "run, or a .keras file"
        )
    last = max(transfer.unfreezing, default=0)
    if last >= config.epochs:
        raise ValueError(
            f"unfreeze_at={transfer.unfreeze_at}: no epoch is left after {last} of {config.epochs} "
            "epochs: unfreeze earlier, or give more epochs"
        )
    if transfer.unfrozen_learning_rate is None:
        return
    if config.monitor("reduce_on_plateau") is not None:
        raise ValueError(
            "unfrozen_learning_rate and reduce_on_plateau both change the learning rate: give one"
        )
    for part in config.schedule.schedules:
        if rate_argument("schedule", part.name) is None:
            raise ValueError(
                f"unfrozen_learning_rate: schedule {part.name} has its own rates: leave one out"
            )
