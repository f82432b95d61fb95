"""Options of `Trainer` and `Evaluator`, as keyword arguments and as frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypedDict

from trainlib.core.checks import check_choice, check_number
from trainlib.core.tree import kernels
from trainlib.core.types import Optimizer, Schedule
from trainlib.regularizers import Regularizer
from trainlib.step.averages import check_average
from trainlib.step.loss_scale import LossScale, check_loss_scale, dynamic_loss_scale
from trainlib.training.augmentation import Augmentation, AugmentFunction
from trainlib.training.autotune import Autotuner
from trainlib.training.nonfinite import POLICIES
from trainlib.training.objectives import FromLogits, LossWeights
from trainlib.training.pool import SharedPrograms
from trainlib.transforms.decay import Mask

SECONDS_PER_CALL = 0.25
"""Default duration of a call to the device in seconds; progress and Ctrl-C are handled between
calls."""


class TrainerOptions(TypedDict, total=False):
    """Keyword arguments of `Trainer`; its docstring describes them."""

    loss_weights: LossWeights
    from_logits: FromLogits
    regularizer: Regularizer | None
    regularizer_mask: Mask
    loss_scale: str | LossScale | None
    replicas: int | None
    nonfinite: str
    norms: bool
    report: Mapping[str, Schedule] | None
    seconds_per_call: float
    autotuner: Autotuner
    augment: Augmentation | AugmentFunction | None
    average: Optimizer | None
    shared: SharedPrograms | None
    gradient_checkpointing: bool


class EvaluatorOptions(TypedDict, total=False):
    """Keyword arguments of `Evaluator`; its docstring describes them."""

    loss_weights: LossWeights
    from_logits: FromLogits
    regularizer: Regularizer | None
    regularizer_mask: Mask


@dataclasses.dataclass(frozen=True)
class EvaluatorSettings:
    """`EvaluatorOptions` with their defaults."""

    loss_weights: LossWeights = None
    from_logits: FromLogits = None
    regularizer: Regularizer | None = None
    regularizer_mask: Mask = kernels


@dataclasses.dataclass(frozen=True)
class TrainerSettings:
    """`TrainerOptions` with their defaults, checked."""

    loss_weights: LossWeights = None
    from_logits: FromLogits = None
    regularizer: Regularizer | None = None
    regularizer_mask: Mask = kernels
    loss_scale: str | LossScale | None = "auto"
    replicas: int | None = None
    nonfinite: str = "epoch"
    norms: bool = False
    report: Mapping[str, Schedule] | None = None
    seconds_per_call: float = SECONDS_PER_CALL
    autotuner: Autotuner = Autotuner()
    augment: Augmentation | AugmentFunction | None = None
    average: Optimizer | None = None
    shared: SharedPrograms | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_choice("nonfinite", self.nonfinite, POLICIES)
        if not isinstance(self.gradient_checkpointing, bool):
            raise TypeError(
                f"gradient_checkpointing must be True or False, got {self.gradient_checkpointing!r}"
            )
        check_number("seconds_per_call", self.seconds_per_call, at_least=0)
        if self.average is not None:
            check_average(self.average)
        if self.loss_scale != "auto":
            check_loss_scale(self.loss_scale)

    def loss_scale_for(self, precision: str | None) -> LossScale | None:
        """Return the loss scale, with "auto" resolved for a precision."""
        if self.loss_scale == "auto":
            return dynamic_loss_scale() if precision == "mixed_float16" else None
        assert not isinstance(self.loss_scale, str)
        return self.loss_scale
