"""Options of `Trainer.fit` as keywords, and as the frozen dataclass that it works with."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, cast

from trainlib.core.checks import check_integer, check_number
from trainlib.training.checkpoints import Checkpoints
from trainlib.training.data_adapter import Data
from trainlib.training.display import check_verbose

Function = TypeVar("Function", bound=Callable[..., Any])


class FitOptions(TypedDict, total=False):
    """Keyword arguments of `Trainer.fit`; its docstring describes them."""

    batch_size: int | None
    epochs: int
    initial_epoch: int
    shuffle: bool
    steps_per_epoch: int | None
    class_weight: Mapping[Any, Any] | Sequence[Any] | None
    validation_data: Data | None
    validation_split: float
    validation_batch_size: int | None
    validation_steps: int | None
    validation_freq: int | Collection[int]
    callbacks: Sequence[Any]
    checkpoints: Checkpoints | str | os.PathLike[str] | None
    verbose: str | int


@dataclass(frozen=True)
class FitSettings:
    """`FitOptions` with their defaults, checked."""

    batch_size: int | None = None
    epochs: int = 1
    initial_epoch: int = 0
    shuffle: bool = True
    steps_per_epoch: int | None = None
    class_weight: Mapping[Any, Any] | Sequence[Any] | None = None
    validation_data: Data | None = None
    validation_split: float = 0.0
    validation_batch_size: int | None = None
    validation_steps: int | None = None
    validation_freq: int | Collection[int] = 1
    callbacks: Sequence[Any] = ()
    checkpoints: Checkpoints | str | os.PathLike[str] | None = None
    verbose: str | int = "auto"

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, at_least=1)
        check_integer("initial_epoch", self.initial_epoch, at_least=0, at_most=self.epochs)
        check_number("validation_split", self.validation_split, at_least=0, below=1)
        if self.validation_batch_size is not None:
            check_integer("validation_batch_size", self.validation_batch_size, at_least=1)
        check_verbose(self.verbose)
        if self.validation_split and self.validation_data is not None:
            raise ValueError("pass validation_data or validation_split, not both")
        self._check_frequency()
        if self.validation_split or self.validation_data is not None:
            return
        for name in ("validation_batch_size", "validation_steps"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} needs validation data: pass validation_data or validation_split"
                )

    def _check_frequency(self) -> None:
        """Raise unless `validation_freq` is a number of epochs or some epochs."""
        if isinstance(self.validation_freq, (str, Mapping)) or not isinstance(
            self.validation_freq, Collection
        ):
            check_integer("validation_freq", self.validation_freq, at_least=1)
            return
        for epoch in self.validation_freq:
            check_integer("an epoch of validation_freq", epoch, at_least=1)


def data_in_one_argument(function: Function) -> Function:
    """Return a method `fit(self, data, **options)` with a clear error for calls as in Keras."""

    @functools.wraps(function)
    def checked(self: Any, *data: Any, **options: Any) -> Any:
        if len(data) > 1 or not {"x", "y", "sample_weight"}.isdisjoint(options):
            raise TypeError(
                "fit takes the data as one argument and all else by keyword: write "
                "fit((x, y), epochs=2) or fit((x, y, sample_weight)), not fit(x, y)"
            )
        return function(self, *data, **options)

    return cast(Function, checked)
