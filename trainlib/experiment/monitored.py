"""Check of the monitored result by which runs are compared."""

from __future__ import annotations

from trainlib.monitors.improvement import is_minimized
from trainlib.tools.comparison import VALIDATION_PREFIX


def check_validation_monitor(monitor: str, mode: str) -> None:
    """Raise `ValueError` unless runs can be compared by a result on the validation data.

    Args:
        monitor: name of the result.
        mode: "min" if lower is better, "max" if higher is, "auto" to infer it from the name.
    """
    if not monitor.startswith(VALIDATION_PREFIX):
        raise ValueError(
            f"monitor must be a result on the validation data, such as val_loss, got {monitor!r}"
        )
    try:
        is_minimized(monitor, mode)
    except ValueError as error:
        raise ValueError(f"monitor {monitor}: give monitor_mode, min or max") from error
