"""Learning-rate schedules: pure functions `step -> learning rate`.

The step k is the number of updates made so far: 0 for the first update. Rates are computed in
float64, in which k is exact up to 2^53, and returned in `dtype`. A vector of steps gives a vector
of rates.

base: helpers that schedules are built from.
compose: `linear_warmup`, `join_schedules`, `per_epoch`.
cosine: `cosine_decay`, `cosine_decay_restarts`.
cyclical: `one_cycle`, `cyclic`.
exponential: `exponential_decay`, `step_decay`, `hold_then_decay`.
piecewise: `constant_schedule`, `piecewise_constant`, `warmup_stable_decay`.
polynomial: `inverse_time_decay`, `power_decay`, `polynomial_decay`, `inverse_sqrt_decay`.
"""

from trainlib.schedules.compose import join_schedules, linear_warmup, per_epoch
from trainlib.schedules.cosine import cosine_decay, cosine_decay_restarts
from trainlib.schedules.cyclical import cyclic, one_cycle
from trainlib.schedules.exponential import exponential_decay, hold_then_decay, step_decay
from trainlib.schedules.piecewise import (
    constant_schedule,
    piecewise_constant,
    warmup_stable_decay,
)
from trainlib.schedules.polynomial import (
    inverse_sqrt_decay,
    inverse_time_decay,
    polynomial_decay,
    power_decay,
)

__all__ = [
    "constant_schedule",
    "cosine_decay",
    "cosine_decay_restarts",
    "cyclic",
    "exponential_decay",
    "hold_then_decay",
    "inverse_sqrt_decay",
    "inverse_time_decay",
    "join_schedules",
    "linear_warmup",
    "one_cycle",
    "per_epoch",
    "piecewise_constant",
    "polynomial_decay",
    "power_decay",
    "step_decay",
    "warmup_stable_decay",
]
