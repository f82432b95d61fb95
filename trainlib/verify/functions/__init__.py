"""All that is compared beside optimizers: a file of cases for each kind."""

from trainlib.verify.functions import (
    clipping,
    constraints,
    losses,
    metrics,
    monitors,
    regularizers,
    schedules,
)

CASES = [
    *schedules.CASES,
    *monitors.CASES,
    *regularizers.CASES,
    *constraints.CASES,
    *clipping.CASES,
    *losses.CASES,
    *metrics.CASES,
]
