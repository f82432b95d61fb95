"""Flags of `train` with values that their declarations do not allow.

Every setting and every hyperparameter of every function is taken from the registry, so that a new
one is tried too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from helpers.bad_inputs.cases import Case, train
from trainlib.core.checks import LARGEST_INTEGER
from trainlib.core.hyperparameters import Range
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.fields import Setting
from trainlib.experiment.flat import settings
from trainlib.experiment.functions import FUNCTIONS, takes, type_of
from trainlib.experiment.hyperparameter_flags import TAKEN, is_shared

NOT_INTEGERS = (
    "",
    "x",
    "1.5",
    "1e3",
    "nan",
    "inf",
    "0x10",
    "1,2",
    "\x1b[31m",
    "\u202e12",
    "\udcff",
)
NOT_NUMBERS = ("", "x", "1,5", "nan", "inf", "-inf", "1e999", "--1", "\x07", "\u202e1", "\udcfe")
NOT_BOOLS = ("maybe", "2", "\x1b[2J")
NOT_WORDS = ("", "x", "AUTO ", "\x1b]0;x\x07", "\u202eotua", "\udcff")
HUGE = (99999999999, 10**11, 2**63, -(10**11), 10**400)
HUGE_NUMBERS = (1e300, -1e300)
CONTROL = ("a\nb", "\x1b[31mred", "\u202edne", "\udcff\udcfe")
"""Text that no name of a column, function or module is."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    "steps_per_epoch": ("--stream_pipeline",),
    "tensorboard_dir": ("--tensorboard",),
    "tensorboard_steps": ("--tensorboard",),
    "histogram_epochs": ("--tensorboard",),
    "layer_statistics": ("--tensorboard",),
    "regularized_params": ("--regularizer=l2",),
    "constrained_params": ("--constraint=max_norm",),
    "ensemble_by": ("--ensemble=2",),
    "ensemble_average": ("--ensemble=2",),
    "ensemble_weights": ("--ensemble=2",),
    "join_at": ("--schedule=constant,cosine_decay",),
}
"""Flags that a flag needs, so that its value is what is refused."""


def cases() -> Iterator[Case]:
    """Yield the cases of plain settings, and those of each function's hyperparameters."""
    for setting in settings(ExperimentConfig):
        if not setting.kind:
            for value in refused(setting.type, setting.choices, Range(**setting.bounds)):
                yield _case(setting.flag, value, *NEEDED.get(setting.flag, ()))
    yield from _hyperparameters()


def refused(kind: str, choices: tuple[str, ...] = (), bounds: Range = Range()) -> Iterator[str]:  # noqa: B008
    """Yield values that a type, choices and a range do not allow."""
    if choices:
        yield from NOT_WORDS
    elif kind == "bool":
        yield from NOT_BOOLS
    elif kind in ("int", "ints"):
        yield from NOT_INTEGERS if kind == "int" else ("x", "1.5", "1,,2", "nan", "1,\x1b")
        wanted = bounds._replace(
            at_least=-LARGEST_INTEGER if bounds.lowest is None else bounds.lowest,
            at_most=LARGEST_INTEGER if bounds.at_most is None else bounds.at_most,
            above=None,
        )
        yield from (str(x) for x in sorted({*HUGE, *_outside(bounds, 1)}) if x not in wanted)
    elif kind in ("float", "floats"):
        yield from NOT_NUMBERS if kind == "float" else ("x", "0.1,", "nan", "inf", "1,\x1b")
        yield from map(repr, sorted({*HUGE_NUMBERS, *_outside(bounds, 0.5)}))


def _outside(bounds: Range, step: float) -> list[float]:
    """Return numbers just outside of a range."""
    found: list[float] = []
    if bounds.at_least is not None:
        found += [bounds.at_least - step, -abs(bounds.at_least) - 7]
    if bounds.above is not None:
        found.append(bounds.above)
    if bounds.at_most is not None:
        found.append(bounds.at_most + step)
    if bounds.below is not None:
        found.append(bounds.below)
    whole = isinstance(step, int)
    return [int(x) if whole else float(x) for x in found if math.isfinite(x)]


def _case(flag: str, value: str, *others: str) -> Case:
    given = f"--{flag}={value}"
    shown = " ".join([*others, given])
    # Some messages name the functions' kind in the place of its flag.
    return train(repr(shown), (flag, flag.rpartition("_")[2]), *others, given)


def _hyperparameters() -> Iterator[Case]:
    for kind, functions in FUNCTIONS.items():
        for name in functions:
            declared = takes(kind, name)
            for hyperparameter, h in declared.items():
                if not h.declaration:
                    continue
                flag = _flag(kind, name, hyperparameter)
                choose = {"monitors": (f"--{name}",), "clipping": ()}.get(
                    kind, (f"--{kind}={name}",)
                )
                d = h.declaration
                for value in refused(type_of(h), d.choices, d.range):
                    yield _case(flag, value, *choose)


def _flag(kind: str, name: str, hyperparameter: str) -> str:
    """Return the flag of a hyperparameter, with its kind if two kinds know it."""
    if kind == "monitors":
        return f"{name}_{hyperparameter}"
    return f"{kind}_{hyperparameter}" if is_shared(hyperparameter) else hyperparameter


__all__ = ["CONTROL", "Setting", "cases", "refused", TAKEN]
