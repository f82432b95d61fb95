"""The declarations of every hyperparameter: type, range, choices, unit and a line of help.

Defaults are in the factories' signatures and conventions; `registry.hyperparameters` joins the two.

declaration: the type of a declaration.
optimizers, schedules, monitors, objectives, weights, models, augmentations: the declarations, by
    kind.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainlib.core.hyperparameters.augmentations import AUGMENTATIONS
from trainlib.core.hyperparameters.declaration import (
    TYPES,
    Declaration,
    Range,
    Table,
    check_declared,
)
from trainlib.core.hyperparameters.models import MODELS
from trainlib.core.hyperparameters.monitors import MONITORS
from trainlib.core.hyperparameters.objectives import LOSSES, METRICS
from trainlib.core.hyperparameters.optimizers import OPTIMIZERS
from trainlib.core.hyperparameters.schedules import SCHEDULES
from trainlib.core.hyperparameters.weights import CLIPPING, CONSTRAINTS, REGULARIZERS, TRANSFORMS

__all__ = ["DECLARED", "INPUTS", "TYPES", "Declaration", "Range", "check_declared", "declared"]

DECLARED: Mapping[str, Table] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "monitor": MONITORS,
    "regularizer": REGULARIZERS,
    "constraint": CONSTRAINTS,
    "clipping": CLIPPING,
    "transform": TRANSFORMS,
    "loss": LOSSES,
    "metric": METRICS,
    "model": MODELS,
    "augmentation": AUGMENTATIONS,
}
"""The declarations by kind, then by name, or by `factory.name` where a factory's differs."""

INPUTS = ("y_true", "y_pred", "from_logits", "dtype") + (
    "input_shape",
    "outputs",
    "output_activation",
    "preprocessing",
)
"""Parameters of factories that the program supplies instead of the user."""


def declared(kind: str, factory: str, name: str) -> Declaration | None:
    """Return the declaration of a factory's hyperparameter; None if there is none.

    Args:
        kind: a key of `DECLARED`.
        factory: the name of the factory.
        name: the name of its parameter.
    """
    table = DECLARED[kind]
    return table.get(f"{factory}.{name}") or table.get(name)
