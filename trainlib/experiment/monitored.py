"""The result by which runs are compared: it is one on the validation data."""

from __future__ import annotations

from trainlib.monitors.improvement import is_minimized
from trainlib.tools.comparison import VALIDATION_PREFIX


def check_validation_monitor(monitor: str, mode: str) -> None:
    """Raise `ValueError` unless runs can be compared by a result.

    Args:
        monitor: name of the result.
        mode: "min", "max" or "auto", whether lower or higher results are better.
    """
    if not monitor.startswith(VALIDATION_PREFIX):
        raise ValueError(
            f"monitor must be a result on the validation data, such as val_loss, got {monitor!r}"
        )
    try:
        is_minimized(monitor, mode)
    except ValueError as error:
        raise ValueError(f"monitor {monitor}: give monitor_mode, min or max") from error
