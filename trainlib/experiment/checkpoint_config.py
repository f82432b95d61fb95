"""`CheckpointConfig`: when checkpoints are saved, and which are kept."""

from __future__ import annotations

from dataclasses import dataclass

from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.experiment.functions import AUTO


@dataclass(frozen=True, kw_only=True, repr=False)
class CheckpointConfig:
    """Configuration of checkpoints: when they are saved, and which are kept.

    Args:
        epochs: epochs between two checkpoints, at least 0; 0 saves none by epochs. Default: 1.
        steps: batches between two checkpoints, at least 1. Default: None, none by batches.
        seconds: seconds between two checkpoints, above 0. Default: 600.
        keep: number of checkpoints to keep, the newest ones, at least 1. Default: 3.
        best: result whose best checkpoint is also kept, such as "val_accuracy"; "auto", the
            default: the validation loss, if there are validation data; "none": none.
        best_mode: "min" if lower results are better, "max" if higher ones are, or "auto", the
            default: inferred from the name.

    Raises:
        ValueError, TypeError: a setting has another type or is out of its range.

    Example:
        >>> tl.CheckpointConfig(steps=500, keep=1)
        CheckpointConfig(steps=500, keep=1)
    """

    epochs: int = setting(
        "int",
        1,
        "Epochs between two checkpoints; 0: none after epochs.",
        flag="checkpoint_epochs",
        group="Checkpoints",
        at_least=0,
    )
    steps: int | None = setting(
        "int",
        None,
        "Batches between two checkpoints; default: none by batches.",
        flag="checkpoint_steps",
        at_least=1,
    )
    seconds: float = setting(
        "float",
        600.0,
        "Seconds between two checkpoints.",
        flag="checkpoint_seconds",
        above=0,
    )
    keep: int = setting(
        "int",
        3,
        "Number of checkpoints to keep, the newest ones; the best one is also kept.",
        flag="keep_checkpoints",
        at_least=1,
    )
    best: str = setting(
        "str",
        AUTO,
        "Result by which a checkpoint is the best; for example val_accuracy; auto: the loss of the "
        "validation data, if there are any; none: no best checkpoint is kept.",
        flag="checkpoint_best",
    )
    best_mode: str = setting(
        "str",
        AUTO,
        "Whether lower (min) or higher (max) results are better; auto: inferred from the name.",
        flag="checkpoint_best_mode",
        choices=(AUTO, "min", "max"),
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
