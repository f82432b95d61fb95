"""Monitors: pure state machines that follow the result of each epoch.

    monitor = tl.reduce_on_plateau("val_loss", patience=5)
    state = monitor.init(learning_rate)
    state = monitor.update(val_loss, state)       after each epoch

A state holds tensors of fixed dtypes and shapes: monitors run eagerly, in a `tf.function`, under
XLA, in a `tf.while_loop` and in `tf.scan`.

base: `Monitor`, the pair of functions.
early_stopping: `early_stop`.
improvement: when a result is better than the best so far.
plateau: `reduce_on_plateau`.
"""

from trainlib.monitors.base import Monitor
from trainlib.monitors.early_stopping import EarlyStopState, early_stop
from trainlib.monitors.plateau import PlateauState, reduce_on_plateau

__all__ = ["EarlyStopState", "Monitor", "PlateauState", "early_stop", "reduce_on_plateau"]
