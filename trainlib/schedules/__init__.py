"""Learning-rate schedules: pure functions `step -> rate`.

k is the number of updates made before this one: 0 at the first. Rates are computed in float64,
where k is exact to 2^53, and returned in `dtype`. A vector of steps gives a vector of rates.
"""

from trainlib.schedules.compose import join_schedules, linear_warmup, per_epoch
from trainlib.schedules.cosine import cosine_decay, cosine_decay_restarts
from trainlib.schedules.cycles import cyclic, one_cycle
from trainlib.schedules.decay import (
    constant_schedule,
    exponential_decay,
    hold_then_decay,
    step_decay,
)
from trainlib.schedules.pieces import piecewise_constant, warmup_stable_decay
from trainlib.schedules.powers import (
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
