"""The keyword options of `pretrain`, and the frozen dataclass that holds them, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.models.encoders import NOISE

METHODS = ("autoencoder", "masked")
Log = Callable[[str], Any]


class PretrainOptions(TypedDict, total=False):
    """Keyword arguments of `pretrain`; its docstring describes them."""

    method: str
    layerwise: bool
    noise: float
    noise_kind: str
    mask: float
    groups: Sequence[int] | None
    epochs: int
    batch_size: int
    learning_rate: float
    validation_split: float
    seed: int
    execution: str
    log: Log


@dataclass(frozen=True)
class PretrainSettings:
    """`PretrainOptions` with their defaults, checked.

    `PretrainConfig`, the part of an experiment's configuration, sets most of them by flags.
    """

    method: str = METHODS[0]
    layerwise: bool = False
    noise: float = 0.0
    noise_kind: str = NOISE[0]
    mask: float = 0.3
    groups: Sequence[int] | None = None
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    validation_split: float = 0.1
    seed: int = 0
    execution: str = "auto"
    log: Log = lambda line: None

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("noise_kind", self.noise_kind, NOISE)
        if self.noise_kind == "dropout":
            check_number("noise", self.noise, at_least=0, below=1)
        else:
            check_number("noise", self.noise, at_least=0)
        check_number("mask", self.mask, above=0, below=1)
        for name in ("epochs", "batch_size"):
            check_integer(name, getattr(self, name), at_least=1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("validation_split", self.validation_split, at_least=0, below=1)
        if self.method == "masked" and (self.layerwise or self.noise):
            name = "layerwise" if self.layerwise else "noise"
            raise ValueError(f"{name} is for the method autoencoder: leave it out for masked")
