"""Options of `Trainer.fit` as keywords, and as the frozen dataclass that it works with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from trainlib.core.checks import check_integer
from trainlib.training.checkpoints import Checkpoints
from trainlib.training.data_adapter import Data


class FitOptions(TypedDict, total=False):
    """Keyword arguments of `Trainer.fit`; its docstring describes them."""

    batch_size: int | None
    epochs: int
    shuffle: bool
    steps_per_epoch: int | None
    validation_data: Data | None
    callbacks: Sequence[Any]
    checkpoints: Checkpoints | str | os.PathLike[str] | None


@dataclass(frozen=True)
class FitSettings:
    """`FitOptions` with their defaults, checked."""

    batch_size: int | None = None
    epochs: int = 1
    shuffle: bool = True
    steps_per_epoch: int | None = None
    validation_data: Data | None = None
    callbacks: Sequence[Any] = ()
    checkpoints: Checkpoints | str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, at_least=1)
