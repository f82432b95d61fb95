"""Cases of all functions but the optimizers, a module for each kind.

calibration: metrics of probabilities.
class_losses: cross-entropies and focal losses.
clipping: gradient clipping.
constraints: constraints.
loss_data: inputs of the losses.
loss_peers: helpers that run the losses of the peers.
losses: the other losses.
metric_data: inputs of the metrics.
metric_peers: helpers that run the metrics of Keras.
metrics: metrics.
monitors: `reduce_on_plateau` and `early_stop`.
regularizers: regularizers.
schedule_curves: cosine and cyclic schedules.
schedule_decays: decays.
schedule_peers: helpers that run the schedules of the peers.
schedule_pieces: piecewise and composed schedules.
"""

from trainlib.verify.function_cases import (
    calibration,
    class_losses,
    clipping,
    constraints,
    losses,
    metrics,
    monitors,
    regularizers,
    schedule_curves,
    schedule_decays,
    schedule_pieces,
)

CASES = [
    *schedule_decays.CASES,
    *schedule_curves.CASES,
    *schedule_pieces.CASES,
    *monitors.CASES,
    *regularizers.CASES,
    *constraints.CASES,
    *clipping.CASES,
    *losses.CASES,
    *class_losses.CASES,
    *metrics.CASES,
    *calibration.CASES,
]
